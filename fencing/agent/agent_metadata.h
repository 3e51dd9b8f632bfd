// What a fence agent says of itself: its options, with types.
#pragma once

#include <string>

#include "clusterd/base/result.h"

namespace clusterd {

// Runs `AGENT -o metadata` and gives what it prints: XML, possibly with a Python warning around
// it. Blocks for at most ten seconds; for clusterctl, not for the daemon. The error says what to
// do when the agent is not installed.
[[nodiscard]] Result<std::string> agent_metadata(const std::string& agent);

}  // namespace clusterd
