#include <algorithm>
#include <set>

#include "clusterd/engine/guest_stalls.h"
#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

void sooner(std::optional<ClusterTime>& next, ClusterTime at) {
  if (!next || at < *next) next = at;
}

// The host that may stop this VM now: it holds it and its daemon works.
std::optional<Host> stoppable_on(const ClusterState& state, const VmState& vm) {
  for (const auto& [host, sighting] : vm.holders) {
    const Member* member = synced_member(state, host.node);
    if (member != nullptr && member->boot == host.boot && member->inventory_done) return host;
  }
  return std::nullopt;
}

std::optional<StopVm> plan_stop(const ClusterState& state, const VmId& id, const VmState& vm,
                                ClusterTime now, std::optional<ClusterTime>& next) {
  const bool restart = vm.restart_ordered && desired(vm) == DesiredState::running;
  if (desired(vm) != DesiredState::stopped && !restart) return std::nullopt;
  const auto host = stoppable_on(state, vm);
  if (!host) return std::nullopt;
  if (vm.next_stop > now) {
    sooner(next, vm.next_stop);
    return std::nullopt;
  }
  return StopVm{id, vm.generation, *host, restart ? Cause::restart_order : Cause::desired};
}

// Whose guest fails its checks is stopped, and started again as after a crash.
// `alone`: one of a stall is planned already.
std::optional<StopVm> plan_unhealthy(const ClusterState& state, const VmId& id, const VmState& vm,
                                     ClusterTime now, VmPlan& plan, bool& alone) {
  if (desired(vm) != DesiredState::running) return std::nullopt;
  const auto host = stoppable_on(state, vm);
  if (!host || vm.holders.at(*host).health != Health::unhealthy) return std::nullopt;
  if (!heals(state, vm)) return std::nullopt;
  const HealthBrake brake = health_brake(state, id, *host, now);
  if (brake.next) sooner(plan.next, *brake.next);
  if (!brake.reason.empty() || (brake.alone && alone)) return std::nullopt;
  if (vm.next_stop > now) {
    sooner(plan.next, vm.next_stop);
    return std::nullopt;
  }
  alone = alone || brake.alone;
  return StopVm{id, vm.generation, *host, Cause::unhealthy};
}

// Those who make room for VMs that wait for it, each once.
void plan_preemptions(const ClusterState& state, ClusterTime now, VmPlan& plan) {
  std::set<VmId> leaving;
  for (const Placement& placement : plan.placements) {
    const auto* waits = std::get_if<Waits>(&placement.result);
    if (waits != nullptr) leaving.insert(waits->preempts.begin(), waits->preempts.end());
  }
  for (const VmId& id : leaving) {
    const VmState& vm = state.vms.at(id);
    const auto host = stoppable_on(state, vm);
    if (vm.operation || vm.next_stop > now || !host) continue;
    plan.intents.push_back(StopVm{id, vm.generation, *host, Cause::preempted});
  }
}

// A node that has just joined counts its VMs for a moment and can take none. A VM waits for it this
// long, so that the order of joining does not decide where it lives.
constexpr Duration kCountingGrace{10000};

bool counts(const Member& member) {
  return member.phase == MemberPhase::synced && !member.inventory_done;
}

// It is being given the state, and will count its VMs next.
bool comes(const ClusterState& state, NodeId id, const Member& member) {
  return member.phase == MemberPhase::joining && member.boot != BootId{} &&
         !is_dead(state, {id, member.boot});
}

// The VM's last host has booted again: the VM returns there, not to the backup node. After a power
// cut of everything, all VMs would else pile up on that.
std::optional<NodeId> returned_home(const ClusterState& state, const VmState& vm) {
  if (vm.next_cause != Cause::host_lost || !vm.last_host) return std::nullopt;
  const NodeId home = vm.last_host->node;
  const Member* member = member_of(state, home);
  if (member == nullptr || member->boot == vm.last_host->boot) return std::nullopt;
  const bool there = member->phase == MemberPhase::synced || comes(state, home, *member);
  return there ? std::optional(home) : std::nullopt;
}

// The node that is worth waiting for; nullopt: none.
std::optional<NodeId> counting_node(const ClusterState& state, const StartDemand& wanted) {
  for (const auto& [id, member] : state.view.members) {
    const bool home = wanted.stay_on == id;
    if (home && comes(state, id, member)) return id;
    if ((home || wanted.cause == Cause::desired) && counts(member)) return id;
  }
  return std::nullopt;
}

// Why it should not start yet, or empty; `next`: when time alone will change that.
std::string hold(const ClusterState& state, const StartDemand& wanted, const VmState& vm,
                 ClusterTime now, std::optional<ClusterTime>& next) {
  if (vm.failures.next_try > now) {
    sooner(next, vm.failures.next_try);
    const auto left = (vm.failures.next_try - now).count() / 1000 + 1;
    return (vm.failures.given_up ? "failed too often: " : "back-off after a failure: ") +
           vm.failures.reason + "; next try in " + std::to_string(left) + " s";
  }
  if (const auto waits = waits_for(state, wanted.vm, vm.eligible_since, now)) {
    sooner(next, vm.eligible_since + state.config.cluster.timers.start_after_timeout);
    return *waits;
  }
  if (vm.eligible_since + kCountingGrace <= now) return {};
  const auto counting = counting_node(state, wanted);
  if (!counting) return {};
  sooner(next, vm.eligible_since + kCountingGrace);
  return node_name(state, *counting) + " is still counting its VMs";
}

std::optional<StartDemand> demand(const ClusterState& state, const VmId& id, const VmState& vm,
                                  ClusterTime now, std::optional<ClusterTime>& next) {
  if (!should_run(vm) || !vm.holders.empty() || !holders_reported(state, vm)) return std::nullopt;
  StartDemand wanted;
  wanted.vm = id;
  wanted.cause = vm.next_cause;
  if (vm.next_cause == Cause::restart_in_place && vm.last_host) {
    wanted.stay_on = vm.last_host->node;
  } else {
    wanted.stay_on = returned_home(state, vm);
  }
  wanted.hold = hold(state, wanted, vm, now, next);
  return wanted;
}

}  // namespace

VmPlan plan_vms(const ClusterState& state, ClusterTime now) {
  VmPlan plan;
  const bool free = may_start(state);
  std::vector<StartDemand> demands;
  bool one_of_a_stall = false;
  for (const auto& [id, vm] : state.vms) {
    if (vm.operation) continue;
    auto stop = plan_stop(state, id, vm, now, plan.next);
    if (!stop) stop = plan_unhealthy(state, id, vm, now, plan, one_of_a_stall);
    if (stop && free) plan.intents.push_back(*stop);
    if (const auto wanted = demand(state, id, vm, now, plan.next)) demands.push_back(*wanted);
  }
  // Without demands there may be rooms to keep, for the VMs of lost hosts.
  const bool lost = std::any_of(state.nodes.begin(), state.nodes.end(),
                                [](const auto& node) { return node.second.loss.has_value(); });
  if (!demands.empty() || lost) plan.placements = plan_starts(state, demands, now);
  for (const auto& [id, node] : state.nodes) {
    if (node.settle_until > now) sooner(plan.next, node.settle_until);
  }
  if (!free) return plan;
  plan_preemptions(state, now, plan);
  for (const Placement& placement : plan.placements) {
    const auto* chosen = std::get_if<Chosen>(&placement.result);
    if (chosen == nullptr) continue;
    const Member& member = state.view.members.at(chosen->node);
    plan.intents.push_back(StartVm{placement.vm, state.vms.at(placement.vm).generation,
                                   Host{chosen->node, member.boot}, placement.cause});
  }
  return plan;
}

}  // namespace clusterd
