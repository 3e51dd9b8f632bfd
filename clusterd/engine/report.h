// Report: what an operator is told, computed from the replicated state. Pure.
#pragma once

#include "clusterd/engine/controller.h"
#include "clusterd/engine/reserve.h"
#include "clusterd/model/report.h"

namespace clusterd {

// Without the reserve, which costs more than all the rest: whoever shows it adds it.
[[nodiscard]] StatusReport report_status(const ClusterState& state, const LocalView& local,
                                         ClusterTime now);

// A reserve in words, with the names of `state`.
[[nodiscard]] ReserveReport report_reserve(const ClusterState& state, const Reserve& reserve);

// nullopt: no VM of this name.
[[nodiscard]] std::optional<ExplainReport> explain_vm(const ClusterState& state,
                                                      const LocalView& local,
                                                      const std::string& name, ClusterTime now);

}  // namespace clusterd
