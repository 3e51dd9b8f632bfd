// ReplayCommand: what clusterd-sim's command line asks of recordings.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "tests/sim/replay.h"
#include "tests/sim/run.h"

namespace clusterd::sim {

// A FILE, or all *.rec of a FOLDER in the order of their names. Throws std::runtime_error.
[[nodiscard]] std::vector<RecordedFile> read_recording(const std::string& path);
void write_file(const std::string& path, const std::string& bytes);

class ReplayCommand {
 public:
  // 1: the replay differs; 2: it cannot be read.
  static constexpr int kDiffers = 1;
  static constexpr int kUnreadable = 2;

  void add_to(CLI::App& app);
  // True: only a replay is asked for, by run(), which gives the exit code.
  [[nodiscard]] bool alone() const { return !path_.empty(); }
  [[nodiscard]] int run() const;

  // True: runs are to record.
  [[nodiscard]] bool records() const { return check_ || !folder_.empty(); }
  // After a run: writes its recordings, and replays them. A difference becomes the run's violation.
  void take(std::uint64_t seed, RunResult& result);
  // What was replayed and recorded in all; empty without records().
  [[nodiscard]] std::string summary() const;

 private:
  std::string path_;
  ReplayOptions options_;
  std::string cut_;
  bool check_ = false;
  std::string folder_;
  std::uint64_t steps_ = 0;
  std::uint64_t segments_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace clusterd::sim
