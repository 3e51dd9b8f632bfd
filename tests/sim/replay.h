// Replay: makes the steps of a recording again and compares the effects of each with those
// recorded.
//
// The same program gives the same effects, bit for bit. Where it does not, the recording is of
// another version, or the daemon's memory was damaged, or the engine is not deterministic.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace clusterd::sim {

struct RecordedFile {
  std::string name;  // for people
  std::string bytes;
};

struct ReplayOptions {
  // Gets every line that tells what was decided and why; empty: nothing is told.
  std::function<void(const std::string& line)> say;
  bool every_step = false;  // tells also of steps that only keep the books
  // Steps are counted from 1 over the whole recording; what lies outside is replayed all the same.
  std::uint64_t from = 1;
  std::uint64_t to = std::numeric_limits<std::uint64_t>::max();
  bool cut = false;  // make one segment of the steps from `from` to `to`
};

struct Replayed {
  std::string problem;  // why it cannot be replayed (further); empty: it was, to its end
  std::vector<std::string> warnings;
  std::vector<std::string> differences;  // where the effects differ, the first ones
  std::uint64_t steps = 0;
  std::string cut;  // ends where the daemon does that it begins with; digests are of this replay

  [[nodiscard]] bool equal() const { return problem.empty() && differences.empty(); }
};

// `files`: segments in the order of their recording, also of several daemons one after the other.
// At each checkpoint the replay so far is compared with it, and goes on from it.
[[nodiscard]] Replayed replay(const std::vector<RecordedFile>& files, const ReplayOptions& options);

// The version of this program's engine.
[[nodiscard]] const char* product_version();

}  // namespace clusterd::sim
