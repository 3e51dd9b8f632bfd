// Offline: a ClusterState that no replica ever had, out of what files declare and where a saved
// `status --json` says that things stand. For `clusterctl plan`; pure.
//
// Without a status every declared node is online and no VM runs. With one, nodes and VMs are what
// it says; what it knows and no file declares is taken from it, as far as it goes: apply removes
// nothing either.
#pragma once

#include <vector>

#include "clusterd/model/check.h"
#include "clusterd/model/report.h"
#include "clusterd/model/state.h"

namespace clusterd {

struct OfflineState {
  ClusterState state;             // whole only without an error among the findings
  std::vector<Finding> findings;  // of the configuration (check.h) and of the status
};

// `declared`: as files declare it, VMs with sizes of their own and no XML included. `saved`: may
// be null; must be the daemon's own (codec/json_status.h).
[[nodiscard]] OfflineState offline_state(Configuration declared, const StatusReport* saved);

}  // namespace clusterd
