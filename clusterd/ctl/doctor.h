// Doctor: what on this host, in its Corosync and in the cluster would fail on the bad night, and
// what to do about it now. It works without a daemon, as that may be what is wrong.
#pragma once

#include "clusterd/ctl/session.h"

namespace clusterd::ctl {

// Examines, prints. Returns the exit code: 1 if there is a problem, 0 if there are warnings at
// most.
[[nodiscard]] int doctor(const Options& options);

}  // namespace clusterd::ctl
