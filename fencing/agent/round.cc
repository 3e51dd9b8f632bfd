#include "fencing/agent/round.h"

#include <algorithm>
#include <utility>

#include "clusterd/base/assert.h"

namespace clusterd {

bool succeeded(const std::string& action, const CallResult& result) {
  if (action == "status") return power_of(result) != Power::unknown;
  const auto* exited = std::get_if<Exited>(&result.end);
  return exited != nullptr && exited->code == 0;
}

bool worth_retrying(const CallResult& result, Duration timeout) {
  const bool answered =
      std::holds_alternative<Exited>(result.end) || std::holds_alternative<Crashed>(result.end);
  return answered && result.ran < timeout / 2;
}

Round::Round(CallRunner& runner, RoundOrder order, Done done)
    : runner_(runner),
      order_(std::move(order)),
      done_(std::move(done)),
      slots_(order_.level.size()),
      results_(order_.level.size()) {
  CLUSTERD_ASSERT(!order_.level.empty());
  for (std::size_t i = 0; i < slots_.size(); ++i) attempt(i, order_.delay);
}

Round::~Round() {
  for (const Slot& slot : slots_) {
    if (slot.call != 0) runner_.cancel(slot.call);
  }
}

void Round::attempt(std::size_t index, Duration delay) {
  ++slots_[index].attempts;
  slots_[index].call = runner_.start(
      CallOrder{order_.level[index], order_.action, order_.node, order_.urgency, delay},
      [this, index](const CallResult& result) { on_result(index, result); });
}

void Round::on_result(std::size_t index, const CallResult& result) {
  Slot& slot = slots_[index];
  slot.call = 0;
  const Duration timeout = order_.level[index].device.timeout;
  if (!succeeded(order_.action, result) && slot.attempts <= order_.retries &&
      worth_retrying(result, timeout)) {
    attempt(index, order_.pause);
    return;
  }
  results_[index] = result;
  const bool open =
      std::any_of(slots_.begin(), slots_.end(), [](const Slot& s) { return s.call != 0; });
  if (open) return;
  const Done done = std::move(done_);
  done(std::move(results_));  // may destroy this: nothing stands after it
}

}  // namespace clusterd
