// Planners: what should be done next, from the replicated state alone.
//
// Stateless and pure: any node computes the same plan from the same state, so that a new
// coordinator goes on where the last one stopped. Only the coordinator sends the intents; apply
// checks every one again, so that a wrong plan costs time and never safety (protocol R6).
#pragma once

#include <optional>
#include <vector>

#include "clusterd/engine/placement.h"
#include "clusterd/model/message.h"

namespace clusterd {

struct VmPlan {
  std::vector<Body> intents;          // StartVm and StopVm, most important first
  std::vector<Placement> placements;  // every VM that waits to start, and where or why not
  std::optional<ClusterTime> next;    // when time alone will change the plan
};

// What to start and stop. Starts nothing unless may_start(state).
[[nodiscard]] VmPlan plan_vms(const ClusterState& state, ClusterTime now);

struct PowerPlan {
  std::vector<OperatePower> intents;
  std::optional<ClusterTime> next;
};

// Whom to fence, whose power to read, whom to switch on again. A lost host is fenced when it may
// hold VMs or when the view needs its proof to be established; never a host in the ring.
[[nodiscard]] PowerPlan plan_power(const ClusterState& state, ClusterTime now);

// Why a lost host is not (yet) proven dead, for people. Precondition: node.loss.
[[nodiscard]] std::string fence_wait(const ClusterState& state, NodeId id, ClusterTime now);

}  // namespace clusterd
