#include "tests/sim/schedule.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {

void Schedule::add(SimTime at, std::string what, std::uint64_t seed, Act act) {
  entries_.push_back({at, std::move(what), seed, std::move(act)});
}

void Schedule::start(SimEnv& env, const Selection& only) {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.at < b.at; });
  std::uint32_t number = 0;
  for (const Entry& entry : entries_) {
    ++number;
    if (only && only->count(number) == 0) continue;
    env.queue.at(entry.at, [&env, &entry, number] {
      env.trace.say([&] { return "#" + std::to_string(number) + " " + entry.what; });
      Prng prng(entry.seed);
      entry.act(prng);
    });
  }
}

std::uint32_t Schedule::before(SimTime when) const {
  return static_cast<std::uint32_t>(std::count_if(
      entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.at < when; }));
}

}  // namespace clusterd::sim
