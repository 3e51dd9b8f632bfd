// SimRecording: what the daemons of one host recorded, in memory, without a bound. It begins a new
// segment after a random number of records, so that replay starts at any moment of a life. Chance
// of its own: a run with it is the same run.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clusterd/base/assert.h"
#include "clusterd/base/prng.h"
#include "clusterd/ports/recording.h"

namespace clusterd::sim {

class SimRecording final : public Recording {
 public:
  explicit SimRecording(std::uint64_t seed) : prng_(seed) {}

  [[nodiscard]] Wants wants() const override {
    return left_ == 0 ? Wants::segment : Wants::records;
  }
  void begin(std::string bytes) override {
    segments_.push_back(std::move(bytes));
    left_ = std::uint64_t{1} << prng_.below(10);
  }
  void append(std::string_view bytes) override {
    segments_.back() += bytes;
    if (left_ > 0) --left_;
  }
  // In memory nothing is too large.
  void stop(const std::string&) override { CLUSTERD_ASSERT(false); }

  [[nodiscard]] const std::vector<std::string>& segments() const { return segments_; }

 private:
  Prng prng_;
  std::vector<std::string> segments_;
  std::uint64_t left_ = 0;
};

}  // namespace clusterd::sim
