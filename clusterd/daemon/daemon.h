// Daemon: the composition root. It makes the adapters, ties them to the driver, and decides
// nothing.
#pragma once

#include "clusterd/base/result.h"
#include "clusterd/config/node_settings.h"

namespace clusterd {

// Runs until a signal or the controller ends it. Returns the exit code, or why it cannot start.
[[nodiscard]] Result<int> run_daemon(const NodeSettings& settings);

}  // namespace clusterd
