// SimQueue: virtual time. One queue of things to happen, ordered by (time, sequence), so that
// one seed gives one run. Microseconds, although the engine counts milliseconds: the order of
// messages within one millisecond matters.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace clusterd::sim {

using SimTime = std::chrono::microseconds;  // since the beginning of the run

class SimQueue {
 public:
  [[nodiscard]] SimTime now() const { return now_; }
  [[nodiscard]] std::uint64_t executed() const { return executed_; }
  // Of the times of all that has happened. Source: FNV-1a's prime.
  [[nodiscard]] std::uint64_t fingerprint() const { return fingerprint_; }

  // What lies in the past happens now.
  void at(SimTime when, std::function<void()> what);
  void after(SimTime delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }

  // Runs the next thing if it is due at `limit` or before; false if there is none.
  bool step(SimTime limit);
  // Moves time on when nothing is due before it.
  void advance_to(SimTime when);

 private:
  struct Item {
    SimTime when;
    std::uint64_t sequence;
    std::function<void()> what;
  };
  static bool later(const Item& a, const Item& b) {
    return a.when != b.when ? a.when > b.when : a.sequence > b.sequence;
  }

  std::vector<Item> heap_;
  SimTime now_{0};
  std::uint64_t sequence_ = 0;
  std::uint64_t executed_ = 0;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace clusterd::sim
