#include "tests/sim/hypervisor.h"

#include <utility>

namespace clusterd::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- connection --------------------------------------------------------------------------------

void SimHypervisor::connect(Post post) {
  post_ = std::move(post);
  ++session_;
  answered_.clear();
  host_.grants.clear();
  if (!available_) return;
  post_later(env_.between(milliseconds(5), milliseconds(50)), HypervisorConnection{true, ""});
}

void SimHypervisor::disconnect() {
  post_ = nullptr;
  ++session_;
}

void SimHypervisor::set_available(bool available) {
  if (available_ == available) return;
  available_ = available;
  post_later(milliseconds(20),
             HypervisorConnection{available, available ? "" : "libvirtd does not answer"});
}

void SimHypervisor::post(Event event) {
  if (post_) post_(std::move(event));
}

void SimHypervisor::post_later(SimTime delay, Event event) {
  env_.on_host(host_, delay, [this, session = session_, what = std::move(event)] {
    if (session == session_) post(what);
  });
}

// ---- start -------------------------------------------------------------------------------------

void SimHypervisor::hang_next_start(SimTime before_hook, SimTime after_hook) {
  next_plan_ = Plan{before_hook, after_hook, false};
}

SimHypervisor::Plan SimHypervisor::draw_plan() {
  Plan plan{env_.between(milliseconds(10), milliseconds(150)),
            env_.between(milliseconds(50), milliseconds(800)), false};
  if (env_.prng.chance(env_.faults.start_hangs)) {
    SimTime& side = env_.prng.chance(500) ? plan.before_hook : plan.after_hook;
    side = env_.between(seconds(20), seconds(200));
  }
  plan.fails = env_.prng.chance(env_.faults.start_fails);
  if (failing_starts_ > 0) {
    --failing_starts_;
    plan.fails = true;
  }
  if (next_plan_) plan = *std::exchange(next_plan_, std::nullopt);
  return plan;
}

void SimHypervisor::start(const DispatchStart& order) {
  observer_.on_start(host_, order);
  env_.trace.say([&] {
    return name_of(host_.id) + "      start " + name_of(order.vm) + " op " + order.op.str();
  });
  host_.grants[order.vm] = order.op;
  host_.starting[order.vm] = order.op;
  const Plan plan = draw_plan();
  env_.on_host(host_, plan.before_hook,
               [this, order, plan, session = session_] { pass_hook(order, plan, session); });
  env_.on_host(host_, order.timeout, [this, order, session = session_] {
    if (session != session_ || !answered_.insert(order.op).second) return;
    end(order, Outcome::unknown, DomainState::absent, "libvirt did not answer in time");
  });
}

void SimHypervisor::pass_hook(const DispatchStart& order, const Plan& plan,
                              std::uint64_t session) {
  const auto under_way = host_.starting.find(order.vm);
  if (under_way != host_.starting.end() && under_way->second == order.op) {
    host_.starting.erase(under_way);
  }
  const auto grant = host_.grants.find(order.vm);
  const bool granted = grant != host_.grants.end() && grant->second == order.op;
  const bool starts = granted && !plan.fails && !host_.active(order.vm);
  if (starts) appear(order.vm, order.op);
  env_.on_host(host_, plan.after_hook, [this, order, starts, session] {
    if (session != session_ || !answered_.insert(order.op).second) return;
    if (!available_) {
      end(order, Outcome::unknown, DomainState::absent, "the connection to libvirt was lost");
      return;
    }
    if (starts) {
      if (host_.grants[order.vm] == order.op) host_.grants.erase(order.vm);
      end(order, Outcome::done, observe(order.vm).state, "");
      return;
    }
    // Revoked, then looked: what is there now was there before.
    revoke(order.vm, order.op);
    const DomainState state = observe(order.vm).state;
    const Outcome outcome =
        state == DomainState::absent ? Outcome::failed_without_effect : Outcome::unknown;
    end(order, outcome, state, "QEMU did not start");
  });
}

void SimHypervisor::end(const DispatchStart& order, Outcome outcome, DomainState state,
                        std::string detail) {
  if (outcome == Outcome::done && state == DomainState::absent) {
    // It came up and is gone already; the event about it tells the rest.
    state = DomainState::running;
  }
  post(VmOperationEnded{order.op, order.vm, outcome, state, std::move(detail)});
}

void SimHypervisor::appear(VmId vm, OpId op) {
  env_.trace.say([&] { return name_of(host_.id) + "      active " + name_of(vm); });
  env_.world.domain_active(host_, vm, SimDomain{.started_by = op});
  changed(vm, StopCause::none);
  if (!agents_) return;
  env_.on_host(host_, env_.between(seconds(5), seconds(20)), [this, vm, op] {
    const auto domain = host_.domains.find(vm);
    if (domain == host_.domains.end() || domain->second.started_by != op) return;
    domain->second.agent = true;
    changed(vm, StopCause::none);
    if (guest_up_) guest_up_(vm);
  });
}

void SimHypervisor::set_domain_state(VmId vm, DomainState state) {
  const auto domain = host_.domains.find(vm);
  if (domain == host_.domains.end()) return;
  domain->second.state = state;
  changed(vm, StopCause::none);
}

bool SimHypervisor::start_by_hand(VmId vm, Hook hook) {
  if (!host_.powered || host_.active(vm)) return false;
  const bool guarded = host_.guarded.count(vm) != 0 && host_.grants.count(vm) == 0;
  if (hook == Hook::asked && guarded) return false;
  appear(vm, OpId{});
  return true;
}

// ---- stop --------------------------------------------------------------------------------------

void SimHypervisor::stop(const DispatchStop& order) {
  observer_.on_stop(host_, order);
  env_.trace.say([&] {
    return name_of(host_.id) + "      stop " + name_of(order.vm) + " op " + order.op.str();
  });
  const bool obeys = env_.prng.chance(700);
  SimTime delay = env_.between(milliseconds(200), seconds(4));
  if (order.shutdown_timeout == Duration(0)) {
    delay = env_.between(milliseconds(20), milliseconds(300));
  } else if (!obeys || delay > SimTime(order.shutdown_timeout)) {
    delay = SimTime(order.shutdown_timeout) + env_.between(milliseconds(20), milliseconds(300));
  }
  const bool hangs = stop_hangs_ || env_.prng.chance(env_.faults.stop_hangs);
  if (hangs) {
    const SimTime deadline = SimTime(order.shutdown_timeout) + SimTime(order.destroy_timeout);
    post_later(deadline, VmOperationEnded{order.op, order.vm, Outcome::unknown,
                                          DomainState::shutting_down, "destroy did not return"});
    if (!stop_hangs_) {
      env_.on_host(host_, deadline + env_.between(seconds(1), seconds(60)), [this, vm = order.vm] {
        host_.grants.erase(vm);
        vanish(vm, StopCause::destroyed);
      });
    }
    return;
  }
  env_.on_host(host_, delay, [this, order, session = session_] { finish_stop(order, session); });
}

// The grant of a newer operation stays.
void SimHypervisor::revoke(VmId vm, OpId op) {
  const auto grant = host_.grants.find(vm);
  if (grant != host_.grants.end() && grant->second <= op) host_.grants.erase(grant);
}

void SimHypervisor::finish_stop(const DispatchStop& order, std::uint64_t session) {
  revoke(order.vm, order.op);
  vanish(order.vm, StopCause::destroyed);
  if (session != session_) return;
  post_later(env_.between(milliseconds(1), milliseconds(20)),
             VmOperationEnded{order.op, order.vm, Outcome::done, DomainState::absent, ""});
}

void SimHypervisor::vanish(VmId vm, StopCause cause) {
  if (!host_.active(vm)) return;
  env_.trace.say([&] { return name_of(host_.id) + "      gone " + name_of(vm); });
  env_.world.domain_gone(host_, vm);
  changed(vm, cause);
}

void SimHypervisor::changed(VmId vm, StopCause cause) {
  if (!available_) return;
  post_later(env_.between(milliseconds(1), milliseconds(10)), DomainChanged{vm, cause});
}

// ---- looks -------------------------------------------------------------------------------------

DomainObservation SimHypervisor::observe(VmId vm) const {
  DomainObservation seen;
  seen.vm = vm;
  const auto domain = host_.domains.find(vm);
  if (domain == host_.domains.end()) return seen;
  seen.state = domain->second.state;
  seen.agent = domain->second.agent;
  if (domain->second.started_by != OpId{}) seen.started_by = domain->second.started_by;
  return seen;
}

// What is seen is true at some moment between the question and the answer.
void SimHypervisor::answer_look(VmId vm, std::uint64_t look) {
  if (!available_ || env_.prng.chance(env_.faults.look_silent)) {
    post_later(seconds(5), LookedUp{vm, look, std::nullopt});
    return;
  }
  env_.on_host(host_, env_.between(milliseconds(0), milliseconds(5)),
               [this, vm, look, session = session_] {
                 if (session != session_) return;
                 post_later(look_delay_ + env_.between(milliseconds(0), milliseconds(20)),
                            LookedUp{vm, look, observe(vm)});
               });
}

void SimHypervisor::revoke_and_look(const RevokeAndLook& order) {
  // A create call that has not reached its hook finds no grant there any more.
  revoke(order.vm, order.op);
  answer_look(order.vm, order.look);
}

void SimHypervisor::look_up(const LookUp& order) { answer_look(order.vm, order.look); }

void SimHypervisor::list(const ListDomains& order) {
  if (!available_ || env_.prng.chance(env_.faults.look_silent)) {
    post_later(seconds(5), DomainsListed{order.look, false, {}, {}});
    return;
  }
  env_.on_host(host_, env_.between(milliseconds(1), milliseconds(20)),
               [this, order, session = session_] {
                 if (session != session_) return;
                 DomainsListed listed{order.look, true, {}, facts_};
                 std::set<VmId> wanted = order.known;
                 wanted.insert(host_.guarded.begin(), host_.guarded.end());
                 for (const VmId vm : wanted) listed.domains.push_back(observe(vm));
                 post_later(env_.between(milliseconds(1), milliseconds(40)), std::move(listed));
               });
}

Status SimHypervisor::protect(VmId vm) {
  host_.guarded.insert(vm);
  return ok_status();
}

}  // namespace clusterd::sim
