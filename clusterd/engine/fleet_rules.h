// FleetRules: what a Fleet (fleet.h) needs to know of a configuration, read once for all states
// that have it. Refers to nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/engine/packing.h"
#include "clusterd/model/resolve.h"

namespace clusterd {

struct FleetRules {
  using Index = std::uint32_t;

  explicit FleetRules(const Configuration& config);

  struct Vm {
    VmId id;
    std::string name;
    PackingSize need;
    std::uint32_t priority = 0;
    std::uint32_t kind = 0;
    bool may_stop = false;     // it, and everybody bound to it, is preemptible
    std::vector<Index> apart;  // of this list; ascending
    std::optional<std::uint32_t> group;
  };

  std::vector<Vm> vms;                     // ascending by id
  std::vector<ResolvedVm> kinds;           // one VM of each: rule_exclusion answers alike for all
  std::vector<std::vector<Index>> groups;  // bound by together_with; each ascends
};

// As a packing counts it. What is absurdly large counts as kHugeSize, so that no sum wraps; such a
// VM fits nowhere, as no node offers as much.
constexpr std::uint64_t kHugeSize = 1ULL << 50;
[[nodiscard]] PackingSize packing_size(const Resources& size);

}  // namespace clusterd
