// The guests of this node: which are watched, what is thought of them, and the one repair that may
// be tried before the cluster acts.
#include <algorithm>

#include "clusterd/engine/controller_impl.h"

namespace clusterd {
namespace {

// After so long in health an earlier repair is forgotten: the next trouble may be repaired again.
constexpr Duration kForgiven{600000};

}  // namespace

void Controller::Impl::on(const GuestChecked& event) {
  const auto found = watches.find(event.vm);
  if (found == watches.end() || found->second.number != event.watch) return;
  note_check(found->second, event);
}

void Controller::Impl::on(const GuestRepaired& event) {
  const auto found = watches.find(event.vm);
  if (found == watches.end() || found->second.number != event.watch) return;
  GuestWatch& watch = found->second;
  if (watch.repair != Repair::running) return;
  watch.repair = Repair::tried;
  log("the repair of " + watch.name + (event.ok ? " ended well" : " failed") +
      (event.detail.empty() ? "" : ": " + event.detail));
  // What was wrong may be wrong no more: it is found wrong as often as before, or not.
  for (auto& [name, memory] : watch.checks) memory.failures = 0;
}

void Controller::Impl::on(const GuestRebooted& event) {
  const auto found = watches.find(event.vm);
  if (found == watches.end()) return;
  // Under another number: what is asked now says nothing about the guest that comes.
  GuestWatch& watch = found->second;
  watch.number = next_watch++;
  watch.since = now;
  watch.checks.clear();
  if (watch.repair == Repair::running) watch.repair = Repair::tried;  // it ended with the guest
  std::string& why = rebooted[event.vm];
  if (!event.reason.empty()) why = event.reason;
  effects.push_back(WatchGuest{event.vm, watch.name, watch.number, watch.policy});
}

// Watched is what runs here, is wanted to run, and has no operation open; a stop for bad health
// is none until it is carried out, as the guest may be well again.
void Controller::Impl::watch_guests() {
  if (!synced_here()) return;
  if (!news && (!watch_due || now < *watch_due)) {
    if (watch_due) wake_at(*watch_due);
    return;
  }
  watch_due.reset();
  for (const auto& [id, vm] : state.vms) {
    const auto policy = watched_policy(id, vm);
    const auto found = watches.find(id);
    if (!policy) {
      if (found == watches.end()) continue;
      effects.push_back(UnwatchGuest{id});
      watches.erase(found);
    } else if (found == watches.end()) {
      begin_watch(id, vm, *policy, *policy);
    } else if (found->second.policy != *policy) {
      begin_watch(id, vm, *policy, HealthPolicy(found->second.policy));
    }
  }
  for (auto watch = watches.begin(); watch != watches.end();) {
    if (state.vms.contains(watch->first)) {
      ++watch;
      continue;
    }
    effects.push_back(UnwatchGuest{watch->first});
    watch = watches.erase(watch);
  }
  for (auto& [id, watch] : watches) judge_guest(id, watch);
}

std::optional<HealthPolicy> Controller::Impl::watched_policy(const VmId& id,
                                                             const VmState& vm) const {
  const auto holder = vm.holders.find(self_host());
  const auto look = seen.find(id);
  const bool runs = holder != vm.holders.end() && look != seen.end() &&
                    holder->second.state == DomainState::running &&
                    look->second.state == DomainState::running;
  const bool to_stop = vm.operation && vm.operation->kind == VmOpKind::stop &&
                       vm.operation->cause == Cause::unhealthy &&
                       !vm_operations.contains(vm.operation->id);
  const bool busy = vm.operation && !to_stop;
  if (!runs || busy || desired(vm) != DesiredState::running) return std::nullopt;
  const auto policy = resolved(state, vm);
  if (!policy || !has_checks(policy->health)) return std::nullopt;
  return policy->health;
}

// `before`: the policy under which the checks of this guest have answered until now.
void Controller::Impl::begin_watch(const VmId& id, const VmState& vm, const HealthPolicy& policy,
                                   const HealthPolicy& before) {
  const Sighting& known = vm.holders.at(self_host());
  GuestWatch& watch = watches[id];
  watch = GuestWatch{};
  watch.number = next_watch++;
  watch.name = vm.name;
  watch.policy = policy;
  watch.since = now;
  watch.verdict = watch.inherited = Verdict{known.health, known.health_reason};
  for (const std::string& name : known.answered) {
    if (same_check(name, before, policy)) watch.checks[name].answered = true;
  }
  effects.push_back(WatchGuest{id, vm.name, watch.number, policy});
}

// Asked once more when it is to be stopped for it. Who is not watched any more is not judged.
bool Controller::Impl::unwell(const VmId& id, const Seen& look) const {
  if (look.state == DomainState::crashed) return true;
  const auto watch = watches.find(id);
  return watch != watches.end() && watch->second.verdict.health == Health::unhealthy;
}

void Controller::Impl::judge_guest(const VmId& id, GuestWatch& watch) {
  const Judgement judgement = clusterd::judge(watch, now);
  if (judgement.next) {
    watch_due = std::min(watch_due.value_or(*judgement.next), *judgement.next);
    wake_at(*judgement.next);
  }
  Verdict verdict = judgement.verdict;
  if (const auto why = rebooted.find(id); why != rebooted.end()) {
    if (verdict.health == Health::booting) {
      verdict.reason = why->second;
    } else {
      rebooted.erase(why);
    }
  }
  if (verdict.health == Health::unhealthy && !watch.policy.repair.empty() && may_act() &&
      state.armed) {
    if (watch.repair == Repair::untried) {
      watch.repair = Repair::running;
      log("the guest of " + watch.name + " is repaired: " + verdict.reason);
      effects.push_back(RepairGuest{id, watch.number});
    }
    if (watch.repair == Repair::running) {
      verdict = Verdict{Health::suspect, "its repair is under way: " + verdict.reason};
    }
  }
  if (verdict.health != Health::healthy) {
    watch.healthy_since = now;
  } else if (watch.repair == Repair::tried && now - watch.healthy_since >= kForgiven) {
    watch.repair = Repair::untried;
  }
  if (verdict == watch.verdict) return;
  news = news || verdict.health != watch.verdict.health;
  watch.verdict = std::move(verdict);
}

}  // namespace clusterd
