// Recovery bound: how long a cluster may take to get well again.
#pragma once

#include "clusterd/model/declarations.h"

namespace clusterd {

// The longest time from the last fault until every VM that should run and fits runs, by the
// cluster's own timers (architecture.md, L1): what was begun with a faulty part is waited for, told
// as failed, and done once more. A sum of waits that rarely all happen, so far above what a
// failover takes; the simulator holds every run to it.
//
// Counts from the moment when Corosync's ring is whole and the hosts that take part are booted:
// neither time is known here. Answers that only a person can give are not in it either.
// O(configuration); saturates at limits::kDuration.
[[nodiscard]] Duration recovery_bound(const Configuration& configuration);

}  // namespace clusterd
