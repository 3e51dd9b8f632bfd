// One run of the simulator: found a cluster, let it suffer for a while, then stop the faults: it
// must converge, and then stay calm. Everything follows from the seed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/checkers.h"
#include "tests/sim/schedule.h"

namespace clusterd::sim {

enum class Faults : std::uint8_t {
  none,
  drawn,  // some kinds, as the seed has it
  every,  // all kinds
};

struct RunOptions {
  std::uint64_t seed = 1;
  std::uint32_t nodes = 0;  // 0: drawn from the seed
  std::uint32_t vms = 0;    // 0: drawn from the seed
  SimTime duration{std::chrono::minutes(10)};
  Faults faults = Faults::drawn;
  Selection only;  // of the schedule's entries
  std::size_t trace_lines = 0;
  bool echo = false;
  bool record = false;  // every daemon
};

struct RunResult {
  std::optional<Violation> violation;
  bool liveness = false;  // the violation is one of L1-L3
  SimTime simulated{0};
  SimTime recovery{0};            // from the last fault until all ran again
  SimTime bound{0};               // and the longest that it may take (L1)
  std::uint64_t steps = 0;        // of the event queue
  std::uint64_t fingerprint = 0;  // equal for equal runs, in every build
  std::uint32_t entries = 0;      // of the schedule, up to the end or the violation
  std::string faults;             // the kinds that this seed drew
  std::string trace;              // if lines were asked for
  std::string situation;          // of a violation: every node and VM
  std::map<std::string, std::vector<std::string>> recordings;  // segments by node, if asked for
};

[[nodiscard]] RunResult run_seed(const RunOptions& options);

// The same run with as few entries of the schedule as still violate the same rule: leaves out
// halves, quarters ... single entries. Source: A. Zeller, R. Hildebrandt, "Simplifying and
// Isolating Failure-Inducing Input", IEEE TSE 2002 (the complement half of ddmin).
// Precondition: `result` is that of `run`, with a violation.
[[nodiscard]] RunOptions shrink(RunOptions run, const RunResult& result);

}  // namespace clusterd::sim
