// Protection: which VMs nobody would recover if their host failed now, whatever room there is
// elsewhere: that is the reserve's matter. Pure; for alarms and metrics, decides nothing.
#pragma once

#include <cstddef>

#include "clusterd/engine/queries.h"

namespace clusterd {

// The host's death could be proven without a person: every device of one of its fence levels is
// calibrated for its present boot (R17).
[[nodiscard]] bool can_be_fenced(const ClusterState& state, NodeId node);

// VMs that should run, are active somewhere, and have a host that cannot be fenced, or nobody
// who would start them again: no other synced member, or starts are braked. O(VMs + nodes).
[[nodiscard]] std::size_t unprotected_vms(const ClusterState& state);

}  // namespace clusterd
