// Words: events and effects as a person says them, with the names that a state has for its nodes
// and VMs. Pure.
#pragma once

#include <string>

#include "clusterd/model/effect.h"

namespace clusterd::sim {

// One line each.
[[nodiscard]] std::string words(const Event& event, const ClusterState& state);
[[nodiscard]] std::string words(const Effect& effect, const ClusterState& state);

}  // namespace clusterd::sim
