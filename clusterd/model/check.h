// Check: what is wrong with a configuration as a whole. The one implementation, used by
// clusterctl with line numbers and by apply on what arrives.
#pragma once

#include <string>
#include <vector>

#include "clusterd/model/declarations.h"

namespace clusterd {

enum class Severity : std::uint8_t { error, warning };

struct Finding {
  std::string path;  // "vms.web1.placement.prefer.nodes[0]": where it was said
  std::string message;
  Severity severity = Severity::error;
};

// What it is for: a plan starts nothing, so that a VM with a size of its own needs no XML.
enum class Purpose : std::uint8_t { apply, plan };

// All findings, in the order of their paths. Pure and total.
[[nodiscard]] std::vector<Finding> check(const Configuration& config,
                                         Purpose purpose = Purpose::apply);

}  // namespace clusterd
