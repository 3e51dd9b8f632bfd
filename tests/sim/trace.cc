#include "tests/sim/trace.h"

#include <cinttypes>
#include <cstdio>

namespace clusterd::sim {

void SimTrace::add(std::string line) {
  char time[32];
  const auto us = static_cast<std::int64_t>(queue_.now().count());
  std::snprintf(time, sizeof(time), "%8" PRId64 ".%06" PRId64 " ", us / 1000000, us % 1000000);
  lines_.push_back(time + line);
  if (lines_.size() > keep_) lines_.pop_front();
  if (echo_) std::fprintf(stderr, "%s\n", lines_.back().c_str());
}

}  // namespace clusterd::sim
