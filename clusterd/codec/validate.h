// Validation: what the types of the model cannot express (protocol R29).
//
// Pure and total: a function of the value alone, so that every member of the group accepts or
// refuses the same message. It bounds lengths, counts, durations and sizes, and asks for UTF-8; it
// knows nothing of the state: what an entry may do is for apply to say.
#pragma once

#include <string>

#include "clusterd/model/control.h"
#include "clusterd/model/limits.h"
#include "clusterd/model/message.h"
#include "clusterd/model/state.h"

namespace clusterd {

// Empty: valid. Otherwise what is wrong, for people.
[[nodiscard]] std::string validate(const Message& message);
[[nodiscard]] std::string validate(const ControlRequest& request);
[[nodiscard]] std::string validate(const ClusterState& state);

}  // namespace clusterd
