// Loading: from what the store holds to where the controller starts: the snapshot, and the log
// replayed on it by apply. Damage makes the node amnesiac: it joins empty and witnesses nothing
// (protocol R11).
#pragma once

#include <cstddef>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/engine/controller.h"
#include "clusterd/ports/hypervisor.h"
#include "clusterd/ports/store.h"

namespace clusterd {

struct Loaded {
  StartingPoint start;
  std::size_t records = 0;  // replayed after the snapshot
  std::string problem;      // why the node is amnesiac; empty otherwise
};

// An error: the store cannot be used at all, or not be written. `wall`: wall time now (R15).
[[nodiscard]] Result<Loaded> load(Store& store, const Hypervisor& hypervisor, ClusterTime wall);

}  // namespace clusterd
