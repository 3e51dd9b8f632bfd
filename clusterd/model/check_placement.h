// What check() says about places: VMs, groups of VMs and VMs that keep apart which no declared
// node, or not enough of them, could ever take. What merely does not fit now is not said here.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "clusterd/model/check.h"
#include "clusterd/model/resolve.h"

namespace clusterd {

// `vms` is every VM of the configuration, resolved. Findings in no special order. Pure and total;
// what is said to be impossible is proven (apart.h). A capacity that is not declared is what
// libvirt will report: nobody knows it here, so everything fits.
[[nodiscard]] std::vector<Finding> check_placement(const Configuration& config,
                                                   const std::map<std::string, ResolvedVm>& vms);

}  // namespace clusterd
