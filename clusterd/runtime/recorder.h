// Recorder: writes down what the driver's controller is told and does, so that it can be replayed.
// It decides nothing, and a driver with it behaves exactly like one without.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "clusterd/codec/recording.h"
#include "clusterd/engine/controller.h"
#include "clusterd/ports/recording.h"

namespace clusterd {

class Recorder {
 public:
  // `out` outlives this. `product`: the version that runs. One recorder for each driver.
  Recorder(Recording& out, std::string product) : out_(out), product_(std::move(product)) {}

  // Stands before the step, so that an event which ends the daemon is recorded.
  void before(const Controller& controller, Instant now, const Event& event);
  void after(const Effects& effects);

 private:
  // False if it was too large, and recording has stopped.
  [[nodiscard]] bool fits(const std::string& bytes);

  Recording& out_;
  const std::string product_;
  SegmentWriter writer_;
  bool begun_ = false;
  std::uint64_t steps_ = 0;
};

}  // namespace clusterd
