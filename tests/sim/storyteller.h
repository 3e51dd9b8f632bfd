// Storyteller: says what a controller's steps decided, and why: the cluster's own history, the
// reasons that `status` and `explain` would have shown at that moment.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "clusterd/engine/controller.h"

namespace clusterd::sim {

class Storyteller {
 public:
  using Say = std::function<void(const std::string& line)>;

  Storyteller(Say say, bool every_step) : say_(std::move(say)), every_step_(every_step) {}

  // After the step. Lines: step number and time of day (UTC, the cluster's), the event, the
  // effects; indented below: history, changed reasons, why a VM goes to a node.
  void tell(std::uint64_t step, const Controller& controller, Instant now, const Event& event,
            const Effects& effects);
  // Another daemon, or the same after a gap: what was told of its state counts no more.
  void begin(const Controller& controller, const std::string& product);

 private:
  bool tell_history(const ClusterState& state, std::string& below);
  bool tell_reasons(const Controller& controller, Instant now, std::string& below);

  const Say say_;
  const bool every_step_;
  std::uint64_t next_event_ = 0;
  std::map<std::string, std::string> reasons_;  // told last, digits left out; by name
};

}  // namespace clusterd::sim
