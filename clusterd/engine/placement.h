// Placement: on which node a VM starts. Pure, deterministic, independent of the order of input.
//
// Hard constraints (constraints.h) first, then one lexicographic integer score, ties by node id.
// It starts nothing and judges no holders: apply does (R5), and asks constraints.h once more. The
// planners call plan_starts, `explain` shows what it returns.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/engine/constraints.h"

namespace clusterd {

// A VM that should be started now; the planner has made sure that nothing else holds it. At most
// one a VM: of several the first counts.
struct StartDemand {
  VmId vm;
  Cause cause = Cause::desired;
  // Tried before all others whatever the score says (a restart in place); hard rules still hold.
  std::optional<NodeId> stay_on;
  // Not empty: give it a place that nobody else takes, but do not start it yet, for this reason
  // (back-off, start_after, a brake).
  std::string hold;
};

struct Chosen {
  NodeId node;
  friend bool operator==(const Chosen&, const Chosen&) = default;
};

enum class WaitKind : std::uint8_t {
  proof,        // its host is lost and not proven dead: the place is reserved (R27)
  start_limit,  // parallel_starts_per_node
  held,         // StartDemand::hold
  preemption,   // others have to leave the node first
};
constexpr WaitKind enum_last(WaitKind) {
  return WaitKind::preemption;
}

// It has a place, which is reserved for it, and may not start yet.
struct Waits {
  NodeId node;
  WaitKind kind = WaitKind::proof;
  std::string reason;
  std::vector<VmId> preempts;  // preemption: whom to stop for it, if not under way; ascending
  friend bool operator==(const Waits&, const Waits&) = default;
};

struct NoCandidate {
  std::string reason;               // about the VM itself ("not declared"); mostly empty
  std::vector<Exclusion> excluded;  // every known node, ascending
  friend bool operator==(const NoCandidate&, const NoCandidate&) = default;
};

struct Placement {
  VmId vm;
  Cause cause = Cause::desired;
  std::variant<Chosen, Waits, NoCandidate> result;
  friend bool operator==(const Placement&, const Placement&) = default;
};

// Places all demands at once, each against what the ones before it left over.
//
// VMs of hosts that are lost and not proven dead (should_run, held by nobody else) take part
// unasked: they get a reservation where they would go, so that no new start can take the backup
// node from them while the fence is under way (R27). They come back as Waits{proof} or NoCandidate,
// with Cause::host_lost, beside the demands; a VM that is demanded is not reserved for twice.
//
// Order: guaranteed VMs before preemptible ones; what ran before (every cause but `desired`, and
// the reservations) before new demand, even of higher priority: new demand can wait, a service that
// people use should come back; then priority, then bigger memory, then VM id. VMs bound by
// together_with go as one to a node that fits every wanted member that does not run yet; once one
// of them runs, the others follow it one by one.
//
// One after the other takes the best place that is left. If a guaranteed VM finds none that way,
// all guaranteed ones are packed anew by an exact search (packing.h), in which preemptible VMs that
// run may be sent away; if even so not all fit, each in that order is given a place as long as all
// before it keep one. Who then still has none and ran before may have memory in degraded mode.
//
// The answers come in that order, after those about VMs that are not declared.
// O(VMs + demands * nodes).
[[nodiscard]] std::vector<Placement> plan_starts(const ClusterState& state,
                                                 const std::vector<StartDemand>& demands,
                                                 ClusterTime now);

// One node as placement sees it, looked up once instead of once a VM.
struct PlacementNode {
  NodeId id;
  const NodeState* state = nullptr;
  const NodeDeclaration* declaration = nullptr;  // null: undeclared
  std::optional<Exclusion> excluded;             // for every VM
};

// What placements look at. Refers to the state, which must outlive it unchanged.
struct PlacementInput {
  PlacementInput(const ClusterState& cluster, ClusterTime time);

  // From now on the VM counts on the node, and rules between VMs see it there.
  void take(const VmId& vm, const Resources& size, NodeId node);
  // Undoes take().
  void give_back(const VmId& vm, const Resources& size, NodeId node);

  const ClusterState& state;
  ClusterTime now;
  Capacity capacity;
  Relations relations;
  Whereabouts whereabouts;
  std::vector<PlacementNode> nodes;  // ascending
};

// One VM by itself; does not take. Waits and holds are plan_starts' business.
[[nodiscard]] std::variant<Chosen, NoCandidate> place(const PlacementInput& input,
                                                      const StartDemand& demand);

}  // namespace clusterd
