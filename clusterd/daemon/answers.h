// Answers: reading requests, answered at once from the local replica.
#pragma once

#include "clusterd/engine/controller.h"
#include "clusterd/model/control.h"
#include "clusterd/runtime/reserve_watch.h"

namespace clusterd {

// Precondition: the request only reads and is no TestFencing.
[[nodiscard]] ControlReply answer(const ControlRequest& request, const ClusterState& state,
                                  const LocalView& local, ClusterTime now, ReserveWatch& reserve);

}  // namespace clusterd
