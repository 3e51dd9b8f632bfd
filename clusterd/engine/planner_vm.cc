#include <algorithm>

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

std::optional<StopVm> plan_stop(const ClusterState& state, const VmId& id, const VmState& vm) {
  const bool restart = vm.restart_ordered && desired(vm) == DesiredState::running;
  if (desired(vm) != DesiredState::stopped && !restart) return std::nullopt;
  const auto host = stoppable_on(state, vm);
  if (!host) return std::nullopt;
  return StopVm{id, vm.generation, *host, restart ? Cause::restart_order : Cause::desired};
}

// A node that has just joined counts its VMs for a moment and can take none: a VM that never ran
// waits for it this long, so that the order of joining does not decide where it lives.
constexpr Duration kCountingGrace{10000};

// The name of a synced member that still counts its VMs; empty: none does.
std::string counting_member(const ClusterState& state) {
  for (const auto& [id, member] : state.view.members) {
    if (member.phase == MemberPhase::synced && !member.inventory_done) return node_name(state, id);
  }
  return {};
}

std::optional<StartDemand> demand(const ClusterState& state, const VmId& id, const VmState& vm,
                                  ClusterTime now, std::optional<ClusterTime>& next) {
  if (!should_run(vm) || !vm.holders.empty() || !holders_reported(state, vm)) return std::nullopt;
  StartDemand wanted;
  wanted.vm = id;
  wanted.cause = vm.next_cause;
  if (vm.next_cause == Cause::restart_in_place && vm.last_host) {
    wanted.stay_on = vm.last_host->node;
  }
  if (vm.failures.next_try > now) {
    sooner(next, vm.failures.next_try);
    const auto left = (vm.failures.next_try - now).count() / 1000 + 1;
    wanted.hold = (vm.failures.given_up ? "failed too often: " : "back-off after a failure: ") +
                  vm.failures.reason + "; next try in " + std::to_string(left) + " s";
  } else if (const auto waits = waits_for(state, id, vm.eligible_since, now)) {
    wanted.hold = *waits;
    sooner(next, vm.eligible_since + state.config.cluster.timers.start_after_timeout);
  } else if (wanted.cause == Cause::desired && vm.eligible_since + kCountingGrace > now) {
    const std::string counting = counting_member(state);
    if (counting.empty()) return wanted;
    wanted.hold = counting + " is still counting its VMs";
    sooner(next, vm.eligible_since + kCountingGrace);
  }
  return wanted;
}

}  // namespace

VmPlan plan_vms(const ClusterState& state, ClusterTime now) {
  VmPlan plan;
  const bool free = may_start(state);
  std::vector<StartDemand> demands;
  for (const auto& [id, vm] : state.vms) {
    if (vm.operation) continue;
    if (const auto stop = plan_stop(state, id, vm); stop && free) plan.intents.push_back(*stop);
    if (const auto wanted = demand(state, id, vm, now, plan.next)) demands.push_back(*wanted);
  }
  plan.placements = plan_starts(state, demands, now);
  for (const auto& [id, node] : state.nodes) {
    if (node.settle_until > now) sooner(plan.next, node.settle_until);
  }
  if (!free) return plan;
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
