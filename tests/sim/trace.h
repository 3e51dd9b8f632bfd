// SimTrace: one line a transition, only kept when asked for: a run is fast without it, and a seed
// that fails is simply run again with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "tests/sim/queue.h"

namespace clusterd::sim {

class SimTrace {
 public:
  explicit SimTrace(const SimQueue& queue) : queue_(queue) {}

  // Keeps the newest `lines`; 0: none.
  void keep(std::size_t lines) { keep_ = lines; }
  // Writes every line to standard error as it happens, too.
  void echo(bool on) { echo_ = on; }

  // `text` is a function that makes the line, called only when somebody reads it.
  template <class F>
  void say(F&& text) {
    if (keep_ > 0) add(text());
  }
  [[nodiscard]] const std::deque<std::string>& lines() const { return lines_; }

 private:
  void add(std::string line);

  const SimQueue& queue_;
  std::size_t keep_ = 0;
  bool echo_ = false;
  std::deque<std::string> lines_;
};

}  // namespace clusterd::sim
