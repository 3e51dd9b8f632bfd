#include <algorithm>

#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

constexpr Duration kReadAgain{60000};  // a device of a member that did not say "on"

void sooner(std::optional<ClusterTime>& next, ClusterTime at) {
  if (!next || at < *next) next = at;
}

// Attempt k goes to the k-th synced member, so that one host's dead fence network blocks nobody.
std::optional<NodeId> executor(const ClusterState& state, NodeId target, std::uint32_t attempt) {
  std::vector<NodeId> able;
  for (const auto& [id, member] : state.view.members) {
    if (id != target && member.phase == MemberPhase::synced) able.push_back(id);
  }
  if (able.empty()) return std::nullopt;
  return able[attempt % able.size()];
}

bool holds_vms(const ClusterState& state, const Host& host) {
  return std::any_of(state.vms.begin(), state.vms.end(),
                     [&](const auto& vm) { return vm.second.holders.contains(host); });
}

// Why nothing may be done to this lost host now; empty: go on.
std::string power_brake(const ClusterState& state, NodeId id, ClusterTime now) {
  const Loss& loss = *state.nodes.at(id).loss;
  if (!state.accepted) return start_brake(state);
  const NodeDeclaration* declaration = node_declaration(state, id);
  if (declaration == nullptr || declaration->fencing.empty()) {
    return "it has no fence device: `clusterctl node confirm-dead " + node_name(state, id) +
           "` when it is off";
  }
  if (loss.ordered) return {};
  if (loss.held) {
    return "an operator called its fence off: `clusterctl node fence " + node_name(state, id) +
           "` goes on";
  }
  if (!state.armed) return disarm_text(state);
  return fence_brake(state, now);
}

bool needs_proof(const ClusterState& state, NodeId id) {
  const Loss& loss = *state.nodes.at(id).loss;
  return loss.ordered || state.view.authority == Authority::restricted ||
         holds_vms(state, Host{id, loss.boot});
}

void plan_lost(const ClusterState& state, NodeId id, ClusterTime now, PowerPlan& plan) {
  const NodeState& node = state.nodes.at(id);
  const Loss& loss = *node.loss;
  if (node.power || !needs_proof(state, id)) return;
  if (!power_brake(state, id, now).empty()) {
    sooner(plan.next, now + kReadAgain);
    return;
  }
  const ClusterTime first = loss.ordered ? now : loss.since + fence_delay(state, id);
  if (const ClusterTime due = std::max(loss.next_attempt, first); due > now) {
    sooner(plan.next, due);
    return;
  }
  // At a cold start a missing host may still be booting: look first, act after startup_wait
  // (R19). A host that reads off is fenced at once: that costs it nothing and proves its death.
  const ClusterTime patience = loss.since + state.config.cluster.startup_wait;
  const bool wait = (loss.cold_start || loss.look_first) && !loss.ordered &&
                    loss.last_reading != Power::off && now < patience;
  if (wait) sooner(plan.next, patience);
  const auto by = executor(state, id, wait ? loss.readings : loss.attempts);
  if (!by) return;
  plan.intents.push_back(OperatePower{wait ? PowerOpKind::read_power : PowerOpKind::fence,
                                      Host{id, loss.boot}, *by});
}

void plan_power_on(const ClusterState& state, NodeId id, ClusterTime now, PowerPlan& plan) {
  const NodeState& node = state.nodes.at(id);
  if (!node.power_on_due || node.power || !state.armed || member_of(state, id) != nullptr) return;
  if (node.power_on_attempts > 0 && node.settle_until > now) {
    sooner(plan.next, node.settle_until);
    return;
  }
  const auto by = executor(state, id, node.power_on_attempts);
  if (!by) return;
  plan.intents.push_back(OperatePower{PowerOpKind::power_on, Host{id, *node.power_on_due}, *by});
}

// The operator wants a host off that is alive.
void plan_ordered(const ClusterState& state, NodeId id, PowerPlan& plan) {
  const NodeState& node = state.nodes.at(id);
  const bool there = node.fence_ordered && (in_view(state, {id, *node.fence_ordered}) ||
                                            state.view.ring_only.contains(id));
  if (!there || node.loss || node.power) return;
  const auto by = executor(state, id, 0);
  if (by) plan.intents.push_back(OperatePower{PowerOpKind::fence, {id, *node.fence_ordered}, *by});
}

// Every device of a member is asked at join and then hourly: only a device that has said "on" for
// a living host is believed when it says "off" (R17).
void plan_calibration(const ClusterState& state, NodeId id, ClusterTime now, PowerPlan& plan) {
  const NodeState& node = state.nodes.at(id);
  const NodeDeclaration* declaration = node_declaration(state, id);
  const Member* member = member_of(state, id);
  if (declaration == nullptr || member == nullptr || member->boot == BootId{} || node.power) return;
  bool due = false;
  for (const auto& level : declaration->fencing) {
    for (const std::string& device : level) {
      const auto found = node.calibration.find(device);
      if (found == node.calibration.end() || found->second.boot != member->boot) {
        due = true;
        continue;
      }
      const Duration interval = found->second.reading == Power::on
                                    ? state.config.cluster.timers.calibration_interval
                                    : kReadAgain;
      if (now - found->second.at >= interval) due = true;
      sooner(plan.next, found->second.at + interval);
    }
  }
  if (!due) return;
  // Another node than the target asks: that is the path a fence would take. Alone, it asks itself.
  const auto by = executor(state, id, id.value);
  plan.intents.push_back(
      OperatePower{PowerOpKind::read_power, Host{id, member->boot}, by.value_or(id)});
}

}  // namespace

PowerPlan plan_power(const ClusterState& state, ClusterTime now) {
  PowerPlan plan;
  if (!state.accepted) return plan;
  bool calm = true;
  for (const auto& [id, node] : state.nodes) {
    if (!node.loss) continue;
    calm = calm && !needs_proof(state, id);
    plan_lost(state, id, now, plan);
  }
  for (const auto& [id, node] : state.nodes) {
    plan_ordered(state, id, plan);
    plan_power_on(state, id, now, plan);
    if (calm) plan_calibration(state, id, now, plan);
  }
  return plan;
}

std::string fence_wait(const ClusterState& state, NodeId id, ClusterTime now) {
  const NodeState& node = state.nodes.at(id);
  const Loss& loss = *node.loss;
  if (const std::string brake = power_brake(state, id, now); !brake.empty()) return brake;
  std::string text;
  if (node.power && node.power->kind == PowerOpKind::fence) {
    text = "it is being fenced by " + node_name(state, node.power->executor.node);
    return loss.last_failure.empty() ? text : text + "; last: " + loss.last_failure;
  }
  if (!needs_proof(state, id)) return "nothing needs its proof of death";
  const ClusterTime patience = loss.since + state.config.cluster.startup_wait;
  if ((loss.cold_start || loss.look_first) && loss.attempts == 0 && now < patience) {
    text = "it may be on its way back: it is fenced in " +
           std::to_string((patience - now).count() / 1000 + 1) + " s";
  } else if (const ClusterTime first = loss.since + fence_delay(state, id);
             loss.attempts == 0 && now < first) {
    text = "it goes first if it is alive, as its VMs matter more: it is fenced in " +
           std::to_string((first - now).count() / 1000 + 1) + " s (priority_delay)";
  } else {
    text = "fencing attempt " + std::to_string(loss.attempts + 1) + " follows";
  }
  if (!loss.last_failure.empty()) text += "; last: " + loss.last_failure;
  return text;
}

}  // namespace clusterd
