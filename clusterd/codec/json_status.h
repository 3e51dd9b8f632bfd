// A saved `status --json`, read back for `clusterctl plan --state`.
//
// Bounded and total: whatever the text says, the result is a report whose names are good, unique
// and refer to each other, or every problem found. Keys that are not needed for a plan are passed
// over; what older versions do not say stays at its default.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "clusterd/model/report.h"

namespace clusterd {

struct StatusProblem {
  std::size_t offset = 0;  // byte of the text where it ends to be JSON; 0: about its content
  std::string message;     // "nodes[2].state: ..."

  friend bool operator==(const StatusProblem&, const StatusProblem&) = default;
};

// Of a VM: name, uuid, desired, declared, state, node, health, priority, size, preemptible; of a
// node: all but its fence devices.
[[nodiscard]] std::variant<StatusReport, std::vector<StatusProblem>> read_status(
    std::string_view text);

}  // namespace clusterd
