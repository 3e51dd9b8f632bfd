// Round: one action on every device of a level, in parallel, with repeated attempts at those that
// failed in passing. Its answer has one result for each device, in the level's order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fencing/agent/call_runner.h"

namespace clusterd {

struct RoundOrder {
  std::vector<NamedDevice> level;
  std::string action;
  std::string node;
  Urgency urgency = Urgency::quiet;
  std::uint32_t retries = 0;
  Duration delay{0};  // before the first attempt
  Duration pause{0};  // before each further one
};

// True for an answer that ends the attempts: `off` and `on` succeeded, `status` told a state.
[[nodiscard]] bool succeeded(const std::string& action, const CallResult& result);
// True when asking again soon may help. What used up more than half of its time is most likely
// not there: asking it again would only hold up the next level.
[[nodiscard]] bool worth_retrying(const CallResult& result, Duration timeout);

class Round {
 public:
  using Done = std::function<void(std::vector<CallResult>)>;

  // `runner` outlives this. `done` may destroy this object.
  Round(CallRunner& runner, RoundOrder order, Done done);
  // Kills what runs; nothing more is spawned.
  ~Round();
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

 private:
  struct Slot {
    CallRunner::CallId call = 0;  // 0: ended
    std::uint32_t attempts = 0;
  };

  void attempt(std::size_t index, Duration delay);
  void on_result(std::size_t index, const CallResult& result);

  CallRunner& runner_;
  const RoundOrder order_;
  Done done_;
  std::vector<Slot> slots_;
  std::vector<CallResult> results_;
};

}  // namespace clusterd
