// Which QEMU processes does this pid namespace have? libvirt's "no such domain" alone is weak: a
// daemon that lost /run forgets domains whose processes run on (R23, trace 8.2).
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/model/ids.h"

namespace clusterd::libvirt {

// Processes that carry `-uuid UUID` in their command line, by VM. Zombies have none. Reading the
// command line of a process may block with it: call it on a worker.
[[nodiscard]] Result<std::map<VmId, pid_t>> processes_by_uuid(
    const std::string& proc_directory = "/proc");

}  // namespace clusterd::libvirt
