// PowerRun: one fence, reading or power-on of one host, step by step.
//
// A host counts as off only when one pass of `status` over all devices of a level, begun after
// the last `off` of that level has ended, says off throughout: of two power supplies the first may
// be back on when the second goes off (protocol trace 4.6). What `off` itself returned decides
// nothing, so a host that was off already is fenced (R17).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fencing/agent/round.h"

namespace clusterd {

class PowerRun {
 public:
  using Ended = std::function<void(PowerOperationEnded)>;

  // `runner` outlives this. `ended` is called once, from the runner or from begin(), and must not
  // destroy this object.
  PowerRun(CallRunner& runner, DispatchPower order, Duration pause, Ended ended);
  void begin();
  // Kills what runs and answers unknown.
  void cancel();

 private:
  [[nodiscard]] const std::vector<NamedDevice>& level() const { return order_.levels[level_]; }
  void begin_level();
  void act();
  void acted(const std::vector<CallResult>& results);
  void verify(Duration delay);
  void verified(const std::vector<CallResult>& results);
  void give_up_level();
  void note(const std::string& action, const std::vector<CallResult>& results);
  void finish(Outcome outcome);
  void round(const char* action, std::uint32_t retries, Duration delay,
             void (PowerRun::*next)(const std::vector<CallResult>&));

  CallRunner& runner_;
  const DispatchPower order_;
  const Duration pause_;
  Ended ended_;
  std::size_t level_ = 0;
  std::uint32_t passes_ = 0;   // status passes over this level
  bool touched_ = false;       // an `off` or `on` may have had an effect
  std::map<std::string, Power> readings_;
  std::map<std::string, std::string> problems_;  // of each device, its first
  std::vector<std::string> names_;               // of the level tried last
  std::unique_ptr<Round> round_;
};

}  // namespace clusterd
