// Eligible hosts: where a VM's rules and what its domain demands let it run, whatever room there
// is and whoever is up now. With fewer than two nothing takes the VM over when its host is lost:
// `apply` warns, and `explain` says so. Pure.
#pragma once

#include <string>
#include <vector>

#include "clusterd/engine/constraints.h"
#include "clusterd/model/check.h"

namespace clusterd {

// Of every declared node one of both; a VM bound by together_with goes where all of its group may.
struct EligibleHosts {
  struct Other {
    std::string node;
    std::string reason;  // "requires: lacks san-a"
  };
  std::vector<std::string> may;  // ascending by name, as the others
  std::vector<Other> others;
};

// A VM that is not declared has none. O(nodes x VMs of the group).
[[nodiscard]] EligibleHosts eligible_hosts(const ClusterState& state, const Relations& relations,
                                           const VmId& vm);

// "only n1 may run it: n2, n3: requires: lacks san-a", if there are fewer than two; empty
// otherwise, for a VM that is left alone, and in a cluster of one node.
[[nodiscard]] std::string few_hosts(const ClusterState& state, const Relations& relations,
                                    const VmId& vm);

// The same of all declared VMs, as warnings for a review, ascending by name.
[[nodiscard]] std::vector<Finding> few_hosts_of_all(const ClusterState& state);

}  // namespace clusterd
