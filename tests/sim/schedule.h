// Schedule: what goes wrong in a run and what operators do, as a numbered list drawn before the
// run begins. Each entry draws what it needs from a seed of its own: leaving one out changes none
// of the others, and so a violation can be shrunk to the few that it needs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace clusterd::sim {

// Numbers of entries, from 1; nothing: all of them.
using Selection = std::optional<std::set<std::uint32_t>>;

class Schedule {
 public:
  using Act = std::function<void(Prng&)>;

  void add(SimTime at, std::string what, std::uint64_t seed, Act act);
  // Numbers the entries by time and lets the selected ones happen. Precondition: called once.
  void start(SimEnv& env, const Selection& only);
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(entries_.size()); }
  // How many lie before `when`.
  [[nodiscard]] std::uint32_t before(SimTime when) const;

 private:
  struct Entry {
    SimTime at;
    std::string what;
    std::uint64_t seed;
    Act act;
  };
  std::vector<Entry> entries_;
};

}  // namespace clusterd::sim
