// Questions about one ClusterState that several parts of the engine ask. Pure; no side effects.
#pragma once

#include <optional>
#include <string>

#include "clusterd/model/resolve.h"
#include "clusterd/model/state.h"

namespace clusterd {

// The member of the active view on this node, or nullptr.
[[nodiscard]] const Member* member_of(const ClusterState& state, NodeId node);
// The same, but only if it is synced.
[[nodiscard]] const Member* synced_member(const ClusterState& state, NodeId node);
[[nodiscard]] bool is_dead(const ClusterState& state, const Host& host);
// The device said "on" while this boot was a member: only then does its "off" prove a death (R17).
[[nodiscard]] bool is_calibrated(const NodeState& node, const std::string& device, BootId boot);
// The host is in the active view, with or without a synced daemon.
[[nodiscard]] bool in_view(const ClusterState& state, const Host& host);
// "n1", or "node 7" when Corosync never told its name.
[[nodiscard]] std::string node_name(const ClusterState& state, NodeId node);
[[nodiscard]] std::optional<NodeId> node_by_name(const ClusterState& state,
                                                 const std::string& name);
[[nodiscard]] const NodeDeclaration* node_declaration(const ClusterState& state, NodeId node);
[[nodiscard]] const VmDeclaration* vm_declaration(const ClusterState& state, const VmState& vm);
// nullopt for a tombstone.
[[nodiscard]] std::optional<ResolvedVm> resolved(const ClusterState& state, const VmState& vm);

// What the cluster is asked to do with this VM: the operator's order before the file's word; a
// tombstone is to be stopped.
[[nodiscard]] DesiredState desired(const VmState& vm);
// True when it should run and nothing but placement and time stands against it.
[[nodiscard]] bool should_run(const VmState& vm);
// How long its guest may take to shut down before it is destroyed: what is declared, or less if it
// is stopped to make room (timers.preempt_timeout) or is unhealthy (timers.unhealthy_timeout). A
// tombstone gets a minute.
[[nodiscard]] Duration shutdown_patience(const ClusterState& state, const VmState& vm, Cause cause);
// It ran, and it was not by order or declaration that it stopped: people miss it.
[[nodiscard]] bool ran_before(const VmState& vm);
// A host that reported it active (running or paused, but not an incoming migration).
[[nodiscard]] std::optional<Host> active_on(const VmState& vm);
[[nodiscard]] bool is_active(DomainState state);
// Why a VM in this state stands still, for people; empty: it does not.
[[nodiscard]] std::string pause_reason(DomainState state);

// The lowest synced member: it plans (protocol section 3). nullopt without an active view.
[[nodiscard]] std::optional<NodeId> coordinator(const ClusterState& state);
// Why this view may do nothing to VMs, for people: not established, not accepted; empty: it may.
[[nodiscard]] std::string view_brake(const ClusterState& state);
// True when intents of this kind may be planned at all: established, accepted, armed.
[[nodiscard]] bool may_start(const ClusterState& state);
// Why may_start is false, for people; empty when it is true.
[[nodiscard]] std::string start_brake(const ClusterState& state);
// "the cluster is disarmed (WHY): ..."; empty: it is armed.
[[nodiscard]] std::string disarm_text(const ClusterState& state);
// At least half of the nodes are synced members, not counting `without`: then the others are no
// strict majority, and no state of theirs can be trusted without one of these (R10).
[[nodiscard]] bool synced_half(const ClusterState& state,
                               std::optional<NodeId> without = std::nullopt);
// More than half of the nodes: two such sets always have one in common, whatever an arbiter does.
[[nodiscard]] bool synced_most(const ClusterState& state);
// So are more than half of the votes, a cast device vote included (R8).
[[nodiscard]] bool synced_majority(const ClusterState& state,
                                   std::optional<NodeId> without = std::nullopt);
// What min_healthy says against fencing now; empty: nothing. Counts hosts lost and unproven (S6).
[[nodiscard]] std::string fence_brake(const ClusterState& state, ClusterTime now);

// How long after its loss this host is not to be fenced yet: zero, but for the lesser of two nodes
// that have lost each other (priority_delay).
[[nodiscard]] Duration fence_delay(const ClusterState& state, NodeId target);
// Until when the node is in quarantine, as it went without a goodbye three times within an hour
// (flapping); nullopt: it is not. It gets VMs only when nothing else has room.
[[nodiscard]] std::optional<ClusterTime> quarantined_until(const NodeState& node, ClusterTime now);

// A host holds this VM whose daemon is in the view but has not yet told its inventory.
[[nodiscard]] bool holders_reported(const ClusterState& state, const VmState& vm);

}  // namespace clusterd
