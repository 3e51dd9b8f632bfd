// Apply: declarations into the cluster, objects out of it.
#pragma once

#include <string>

#include "clusterd/ctl/session.h"

namespace clusterd::ctl {

// Reads a file or a folder, has the cluster review it, shows the difference and what will follow,
// and applies it unless `dry_run`. Every error is told at once as "file:line:column: message" and
// nothing is applied then. Returns the exit code.
[[nodiscard]] int apply(const Options& options, const std::string& path, bool dry_run);

// Deletes what `request` names, with the same review.
[[nodiscard]] int remove(const Options& options, ApplyConfiguration request, bool dry_run);

}  // namespace clusterd::ctl
