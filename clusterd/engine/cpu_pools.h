// CPU pools: groups of hosts between which live migration is possible, whatever a VM's domain says
// of its CPU. A running guest keeps the CPU it was started with, so the hosts of a pool are those
// whose host-model is the same: vendor, model and every feature.
//
// Cautious: host-model is printed by libvirt, and another version of it may print the same
// hardware differently. A VM of one custom model may migrate further; a start needs no pool
// (constraints.h). Pure; what a host reported last counts, also while it is away.
#pragma once

#include <string>
#include <vector>

#include "clusterd/model/state.h"

namespace clusterd {

struct CpuPool {
  std::string name;           // of the CPU, so that it stays as hosts come and go
  std::vector<NodeId> nodes;  // ascending, at least one

  friend bool operator==(const CpuPool&, const CpuPool&) = default;
};

// In the order of their first nodes. A host whose libvirt tells no host-model is in none.
[[nodiscard]] std::vector<CpuPool> cpu_pools(const ClusterState& state);

// A running guest could go from one host to the other, as far as both have told what they are.
[[nodiscard]] bool may_share_pool(const HostFacts& a, const HostFacts& b);

}  // namespace clusterd
