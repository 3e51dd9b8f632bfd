// FailoverPhases: when a failover reached its phases, counted from the new ring. The names and
// their order are those of contract.md section 3: JSON, metrics and benchmarks show the same.
#pragma once

#include <array>
#include <optional>

#include "clusterd/model/state.h"

namespace clusterd {

struct FailoverPhase {
  const char* name = "";
  std::optional<Duration> at;  // nullopt: not reached (yet) by all that it speaks of
};
using FailoverPhases = std::array<FailoverPhase, 8>;

// Once reached, a phase of a record keeps its time. O(lost hosts + VMs of the record).
[[nodiscard]] FailoverPhases phases_of(const FailoverRecord& record);

}  // namespace clusterd
