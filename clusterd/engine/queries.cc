#include "clusterd/engine/queries.h"

#include <algorithm>

namespace clusterd {

const Member* member_of(const ClusterState& state, NodeId node) {
  const auto found = state.view.members.find(node);
  return found == state.view.members.end() ? nullptr : &found->second;
}

const Member* synced_member(const ClusterState& state, NodeId node) {
  const Member* member = member_of(state, node);
  return member != nullptr && member->phase == MemberPhase::synced ? member : nullptr;
}

bool is_dead(const ClusterState& state, const Host& host) {
  const auto node = state.nodes.find(host.node);
  return node != state.nodes.end() && node->second.dead.contains(host.boot);
}

bool is_calibrated(const NodeState& node, const std::string& device, BootId boot) {
  const auto found = node.calibration.find(device);
  return found != node.calibration.end() && found->second.boot == boot &&
         found->second.reading == Power::on;
}

bool in_view(const ClusterState& state, const Host& host) {
  const Member* member = member_of(state, host.node);
  return member != nullptr && member->boot == host.boot;
}

std::string node_name(const ClusterState& state, NodeId node) {
  const auto found = state.nodes.find(node);
  if (found != state.nodes.end() && !found->second.name.empty()) return found->second.name;
  return "node " + std::to_string(node.value);
}

std::optional<NodeId> node_by_name(const ClusterState& state, const std::string& name) {
  for (const auto& [id, node] : state.nodes) {
    if (node.name == name) return id;
  }
  return std::nullopt;
}

const NodeDeclaration* node_declaration(const ClusterState& state, NodeId node) {
  const auto known = state.nodes.find(node);
  if (known == state.nodes.end()) return nullptr;
  const auto found = state.config.nodes.find(known->second.name);
  return found == state.config.nodes.end() ? nullptr : &found->second;
}

const VmDeclaration* vm_declaration(const ClusterState& state, const VmState& vm) {
  if (vm.tombstone) return nullptr;
  const auto found = state.config.vms.find(vm.name);
  return found == state.config.vms.end() ? nullptr : &found->second;
}

std::optional<ResolvedVm> resolved(const ClusterState& state, const VmState& vm) {
  const VmDeclaration* declaration = vm_declaration(state, vm);
  if (declaration == nullptr) return std::nullopt;
  return resolve(state.config, *declaration);
}

DesiredState desired(const VmState& vm) {
  if (vm.tombstone) return DesiredState::ignored;
  return vm.ordered.value_or(vm.declared);
}

bool should_run(const VmState& vm) {
  return desired(vm) == DesiredState::running && !vm.guest_off;
}

bool ran_before(const VmState& vm) {
  return vm.last_host.has_value() && vm.next_cause != Cause::desired;
}

Duration shutdown_patience(const ClusterState& state, const VmState& vm, Cause cause) {
  static constexpr Duration kUndeclared{60000};
  const auto policy = resolved(state, vm);
  const Duration patience = policy ? policy->shutdown_timeout : kUndeclared;
  const Timers& timers = state.config.cluster.timers;
  if (cause == Cause::preempted) return std::min(patience, timers.preempt_timeout);
  if (cause == Cause::unhealthy) return std::min(patience, timers.unhealthy_timeout);
  return patience;
}

bool is_active(DomainState state) {
  switch (state) {
    case DomainState::absent:
    case DomainState::paused_incoming:
      return false;
    case DomainState::running:
    case DomainState::paused:
    case DomainState::paused_io_error:
    case DomainState::shutting_down:
    case DomainState::crashed:
      return true;
  }
  return false;
}

std::string pause_reason(DomainState state) {
  switch (state) {
    case DomainState::paused:
      return "somebody paused it";
    case DomainState::paused_io_error:
      return "an I/O error of its disk paused it";
    case DomainState::crashed:
      return "its guest has panicked, or hung until its watchdog fired";
    case DomainState::absent:
    case DomainState::paused_incoming:
    case DomainState::running:
    case DomainState::shutting_down:
      return {};
  }
  return {};
}

std::optional<Host> active_on(const VmState& vm) {
  for (const auto& [host, sighting] : vm.holders) {
    if (is_active(sighting.state)) return host;
  }
  return std::nullopt;
}

std::optional<NodeId> coordinator(const ClusterState& state) {
  for (const auto& [id, member] : state.view.members) {
    if (member.phase == MemberPhase::synced) return id;
  }
  return std::nullopt;
}

bool may_start(const ClusterState& state) { return start_brake(state).empty(); }

std::string disarm_text(const ClusterState& state) {
  if (state.armed) return {};
  const std::string& reason = state.disarm.reason;
  return "the cluster is disarmed" + (reason.empty() ? "" : " (" + reason + ")") +
         ": `clusterctl arm` ends it";
}

std::string start_brake(const ClusterState& state) {
  const std::string brake = view_brake(state);
  return brake.empty() ? disarm_text(state) : brake;
}

std::string view_brake(const ClusterState& state) {
  if (!state.accepted) {
    return "this state came back without a majority of intact copies: compare the nodes and give "
           "your word with `clusterctl recover --accept-state NODE`";
  }
  switch (state.view.authority) {
    case Authority::restricted:
      return "synced daemons are not a strict majority of nodes and votes, and not every other "
             "node is proven dead";
    case Authority::entitled:
      return "not every synced member has written this view down yet";
    case Authority::established:
      break;
  }
  return {};
}

namespace {

// Synced nodes, without this one, and all nodes.
std::pair<std::size_t, std::size_t> count_synced(const ClusterState& state,
                                                 std::optional<NodeId> without) {
  std::size_t synced = 0;
  for (const auto& [id, votes] : state.view.votes) {
    if (id != without && synced_member(state, id) != nullptr) ++synced;
  }
  return {synced, std::max(state.view.votes.size(), state.config.nodes.size())};
}

}  // namespace

bool synced_half(const ClusterState& state, std::optional<NodeId> without) {
  const auto [synced, all] = count_synced(state, without);
  return synced * 2 >= all;
}

bool synced_most(const ClusterState& state) {
  const auto [synced, all] = count_synced(state, std::nullopt);
  return synced * 2 > all;
}

bool synced_majority(const ClusterState& state, std::optional<NodeId> without) {
  std::uint64_t all = state.view.device_votes;
  std::uint64_t ours = state.view.device_votes;
  for (const auto& [id, votes] : state.view.votes) {
    all += votes;
    if (id != without && synced_member(state, id) != nullptr) ours += votes;
  }
  return ours * 2 > all && synced_half(state, without);
}

namespace {

// Empty, or why no further host may be fenced now: fences that are open count, too.
std::string too_many_fences(const ClusterState& state, ClusterTime now) {
  static constexpr Duration kHour{3600000};
  const auto& most = state.config.cluster.fences_per_hour;
  if (!most) return {};
  std::uint32_t fences = 0;
  for (const auto& [id, node] : state.nodes) {
    if (node.power && node.power->kind == PowerOpKind::fence) ++fences;
    for (const auto& [boot, death] : node.dead) {
      if (death.cause == DeathCause::fenced && now - death.at < kHour) ++fences;
    }
  }
  if (fences < *most) return {};
  return "fencing.per_hour: " + std::to_string(fences) +
         " hosts were fenced within the last hour, and no more than " + std::to_string(*most) +
         " may be (override: `clusterctl node fence`)";
}

// The priorities of the VMs that this node may run, added up.
std::uint64_t weight_of(const ClusterState& state, NodeId node) {
  std::uint64_t weight = 0;
  for (const auto& [id, vm] : state.vms) {
    const bool here = std::any_of(vm.holders.begin(), vm.holders.end(),
                                  [&](const auto& holder) { return holder.first.node == node; });
    const auto rules = here ? resolved(state, vm) : std::nullopt;
    if (rules) weight += rules->priority;
  }
  return weight;
}

}  // namespace

Duration fence_delay(const ClusterState& state, NodeId target) {
  const bool arbitrated = state.view.device_votes > 0;
  if (state.view.votes.size() != 2 || state.view.members.size() != 1 || arbitrated) {
    return Duration(0);
  }
  const NodeId self = state.view.members.begin()->first;
  const std::uint64_t ours = weight_of(state, self);
  const std::uint64_t theirs = weight_of(state, target);
  const bool better = ours != theirs ? ours > theirs : self < target;
  if (better) return Duration(0);
  // Each may know of the other's VMs what is a moment old, and both wait: then the lower one goes.
  const Duration delay = state.config.cluster.priority_delay;
  return self < target ? delay : delay + delay / 2;
}

std::string fence_brake(const ClusterState& state, ClusterTime now) {
  static constexpr Duration kWindow{600000};  // contract.md: lost and unproven within 10 minutes
  std::uint64_t configured = state.view.votes.size();
  std::uint64_t lost = 0;
  for (const auto& [id, node] : state.nodes) {
    if (!state.view.votes.contains(id)) continue;
    if (node.loss && !node.loss->cold_start && now - node.loss->since <= kWindow) ++lost;
    // A host already proven dead leaves the denominator: sequential losses are no storm.
    if (!node.loss && member_of(state, id) == nullptr && node.dead.contains(node.boot)) {
      --configured;
    }
  }
  if (std::string no = too_many_fences(state, now); !no.empty()) return no;
  const std::uint64_t healthy = configured - std::min(lost, configured);
  if (healthy * 100 >= configured * state.config.cluster.min_healthy_percent) return {};
  return "min_healthy: only " + std::to_string(healthy) + " of " + std::to_string(configured) +
         " hosts are healthy, " + std::to_string(state.config.cluster.min_healthy_percent) +
         "% are demanded before anything is fenced (override: `clusterctl node fence`)";
}

std::optional<ClusterTime> quarantined_until(const NodeState& node, ClusterTime now) {
  const auto& exits = node.unclean_exits;
  if (exits.size() < kUncleanExits) return std::nullopt;
  // Over when the oldest of the last three is too old to count.
  const ClusterTime until = exits[exits.size() - kUncleanExits] + kUncleanWindow;
  return until > now ? std::optional(until) : std::nullopt;
}

bool holders_reported(const ClusterState& state, const VmState& vm) {
  const auto silent = [&](const Host& host) {
    const Member* member = member_of(state, host.node);
    return member != nullptr && member->boot == host.boot && !member->inventory_done;
  };
  for (const auto& [host, sighting] : vm.holders) {
    if (silent(host)) return false;
  }
  return std::none_of(vm.awaiting.begin(), vm.awaiting.end(),
                      [&](const Host& host) { return in_view(state, host); });
}

}  // namespace clusterd
