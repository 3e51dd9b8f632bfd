// Report: what an operator is told, computed from the replicated state. Pure.
#pragma once

#include "clusterd/engine/controller.h"
#include "clusterd/model/report.h"

namespace clusterd {

[[nodiscard]] StatusReport report_status(const ClusterState& state, const LocalView& local,
                                         ClusterTime now);

// nullopt: no VM of this name.
[[nodiscard]] std::optional<ExplainReport> explain_vm(const ClusterState& state,
                                                      const LocalView& local,
                                                      const std::string& name, ClusterTime now);

}  // namespace clusterd
