#include "tests/sim/queue.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {

void SimQueue::at(SimTime when, std::function<void()> what) {
  heap_.push_back({std::max(when, now_), sequence_++, std::move(what)});
  std::push_heap(heap_.begin(), heap_.end(), later);
}

bool SimQueue::step(SimTime limit) {
  if (heap_.empty() || heap_.front().when > limit) return false;
  std::pop_heap(heap_.begin(), heap_.end(), later);
  Item item = std::move(heap_.back());
  heap_.pop_back();
  now_ = item.when;
  ++executed_;
  fingerprint_ = (fingerprint_ ^ static_cast<std::uint64_t>(now_.count())) * 0x100000001b3ULL;
  item.what();
  return true;
}

void SimQueue::advance_to(SimTime when) { now_ = std::max(now_, when); }

}  // namespace clusterd::sim
