#include "tests/sim/prober.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

void SimProber::connect(Post post) {
  post_ = std::move(post);
  ++session_;
  watches_.clear();
}

void SimProber::disconnect() {
  post_ = nullptr;
  ++session_;
  watches_.clear();
}

SimDomain* SimProber::guest(VmId vm) {
  const auto found = host_.domains.find(vm);
  return found == host_.domains.end() ? nullptr : &found->second;
}

SimProber::Question* SimProber::question(VmId vm, std::uint64_t number, const std::string& check) {
  const auto watch = watches_.find(vm);
  if (watch == watches_.end() || watch->second.number != number) return nullptr;
  const auto found = watch->second.questions.find(check);
  return found == watch->second.questions.end() ? nullptr : &found->second;
}

// ---- checks ------------------------------------------------------------------------------------

void SimProber::watch(const WatchGuest& order) {
  Watch watch;
  watch.number = order.watch;
  if (const auto& agent = order.policy.guest_agent) {
    watch.questions[kAgentCheck] = {agent->interval, agent->timeout, false, false, false, false};
  }
  for (const Probe& probe : order.policy.probes) {
    const bool exec = probe.kind == ProbeKind::exec;
    watch.questions[probe.name] = {probe.interval, probe.timeout, exec, false, false, false};
  }
  watches_[order.vm] = std::move(watch);
  changed(order.vm);
}

void SimProber::unwatch(const UnwatchGuest& order) { watches_.erase(order.vm); }

void SimProber::changed(VmId vm) {
  const auto watch = watches_.find(vm);
  if (watch == watches_.end()) return;
  for (auto& [check, asked] : watch->second.questions) {
    if (!asked.asked) ask_later(vm, check, env_.between(SimTime(0), SimTime(asked.interval)));
  }
}

void SimProber::ask_later(VmId vm, const std::string& check, SimTime delay) {
  Watch& watch = watches_.at(vm);
  watch.questions.at(check).asked = true;
  env_.on_host(host_, delay, [this, vm, check, number = watch.number, session = session_] {
    if (session == session_ && question(vm, number, check) != nullptr) ask(vm, check);
  });
}

// Precondition: there is this question.
void SimProber::ask(VmId vm, const std::string& check) {
  Watch& watch = watches_.at(vm);
  Question& asked = watch.questions.at(check);
  asked.asked = false;
  SimDomain* domain = guest(vm);
  if (domain == nullptr || !post_) return;
  const bool alive = domain->agent && !domain->hung && domain->state == DomainState::running;
  const bool agent = alive && !domain->agent_dead;
  const auto broken = env_.broken_apps.find(vm);
  const bool mended = broken == env_.broken_apps.end() || broken->second <= env_.queue.now();
  const bool app = alive && !domain->app_dead && mended;
  const bool needs_agent = check == kAgentCheck || asked.exec;
  const bool passes = (check == kAgentCheck || app) && (agent || !needs_agent);
  CheckOutcome outcome = passes ? CheckOutcome::passed : CheckOutcome::failed;
  // Counters are compared with those of the failure before.
  const bool silent = needs_agent && alive && !agent;
  if (silent && asked.silent) outcome = CheckOutcome::busy;
  asked.silent = silent;
  if (!passes) ask_later(vm, check, SimTime(std::max(asked.interval, asked.timeout)));
  if (passes && std::exchange(asked.told_pass, true)) return;
  asked.told_pass = passes;
  const SimTime takes = passes ? env_.between(milliseconds(1), milliseconds(20))
                               : SimTime(asked.timeout);
  GuestChecked ended{vm, watch.number, check, outcome, passes ? "" : "no answer"};
  env_.on_host(host_, takes, [this, what = std::move(ended), session = session_] {
    if (session != session_ || !post_) return;
    if (question(what.vm, what.watch, what.check) != nullptr) post_(what);
  });
}

void SimProber::repair(const RepairGuest& order) {
  env_.on_host(host_, env_.between(seconds(1), seconds(5)), [this, order, session = session_] {
    const auto watch = watches_.find(order.vm);
    if (session != session_ || watch == watches_.end() || watch->second.number != order.watch) {
      return;
    }
    SimDomain* domain = guest(order.vm);
    const bool works = domain != nullptr && domain->agent && !domain->hung && !domain->agent_dead;
    if (works) domain->app_dead = false;
    post_(GuestRepaired{order.vm, order.watch, works, works ? "" : "the agent does not answer"});
  });
}

// ---- the world ---------------------------------------------------------------------------------

void SimProber::set_hung(VmId vm, bool hung) {
  SimDomain* domain = guest(vm);
  if (domain == nullptr) return;
  domain->hung = hung;
  domain->troubled = env_.queue.now();
  changed(vm);
}

void SimProber::set_agent_dead(VmId vm, bool dead) {
  SimDomain* domain = guest(vm);
  if (domain == nullptr) return;
  domain->agent_dead = dead;
  changed(vm);
}

void SimProber::set_app_dead(VmId vm, bool dead) {
  SimDomain* domain = guest(vm);
  if (domain == nullptr) return;
  domain->app_dead = dead;
  domain->troubled = env_.queue.now();
  changed(vm);
}

void SimProber::break_app(VmId vm, SimTime until) {
  env_.broken_apps[vm] = until;
  changed(vm);
}

void SimProber::reboot(VmId vm, const std::string& reason) {
  SimDomain* domain = guest(vm);
  if (domain == nullptr) return;
  const OpId start = domain->started_by;
  const std::uint64_t boot = ++domain->boots;
  domain->agent = domain->hung = domain->agent_dead = domain->app_dead = false;
  domain->troubled = env_.queue.now();
  if (post_) post_(GuestRebooted{vm, reason});
  env_.on_host(host_, env_.between(seconds(5), seconds(20)), [this, vm, start, boot] {
    SimDomain* guest_now = guest(vm);
    if (guest_now == nullptr || guest_now->started_by != start || guest_now->boots != boot) return;
    guest_now->agent = true;
    guest_now->troubled = env_.queue.now();
    changed(vm);
  });
  changed(vm);
}

}  // namespace clusterd::sim
