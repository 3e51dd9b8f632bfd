#include "fencing/agent/power_run.h"

#include <algorithm>
#include <utility>

#include "clusterd/base/assert.h"

namespace clusterd {
namespace {

// Within what a message may carry of it; the rest would be cut by the driver.
constexpr std::size_t kMaxDetail = 1000;

bool not_started(const CallResult& result) {
  return std::holds_alternative<NotStarted>(result.end);
}
bool timed_out(const CallResult& result) { return std::holds_alternative<TimedOut>(result.end); }

const char* word(Power power) { return power == Power::on ? "on" : "off"; }

}  // namespace

PowerRun::PowerRun(CallRunner& runner, DispatchPower order, Duration pause,
                               Ended ended)
    : runner_(runner), order_(std::move(order)), pause_(pause), ended_(std::move(ended)) {}

void PowerRun::begin() {
  if (order_.levels.empty()) {
    problems_["no fence device"] = "no fence device is declared for " + order_.target_name;
    finish(Outcome::failed_without_effect);
    return;
  }
  begin_level();
}

void PowerRun::cancel() {
  round_.reset();
  problems_ = {{"", "cancelled"}};
  finish(Outcome::unknown);
}

void PowerRun::begin_level() {
  passes_ = 0;
  names_.clear();
  for (const NamedDevice& device : level()) {
    names_.push_back(device.name);
    readings_.emplace(device.name, Power::unknown);
  }
  if (level().empty()) {
    // "All of none say off" would be a proof of nothing.
    problems_["level " + std::to_string(level_ + 1)] =
        "level " + std::to_string(level_ + 1) + " has no device";
    give_up_level();
  } else if (order_.kind == PowerOpKind::read_power) {
    verify(Duration(0));
  } else {
    act();
  }
}

void PowerRun::round(const char* action, std::uint32_t retries, Duration delay,
                           void (PowerRun::*next)(const std::vector<CallResult>&)) {
  RoundOrder order;
  order.level = level();
  order.action = action;
  order.node = order_.target_name;
  order.urgency =
      order_.kind == PowerOpKind::read_power ? Urgency::quiet : Urgency::urgent;
  order.retries = retries;
  order.delay = delay;
  order.pause = pause_;
  round_ = std::make_unique<Round>(
      runner_, std::move(order),
      [this, next](std::vector<CallResult> results) { (this->*next)(results); });
}

void PowerRun::act() {
  const char* action = order_.kind == PowerOpKind::fence ? "off" : "on";
  round(action, order_.retries, Duration(0), &PowerRun::acted);
}

void PowerRun::acted(const std::vector<CallResult>& results) {
  const bool fence = order_.kind == PowerOpKind::fence;
  note(fence ? "off" : "on", results);
  if (!std::all_of(results.begin(), results.end(), not_started)) touched_ = true;
  const bool silent = std::any_of(results.begin(), results.end(), timed_out);
  const bool last = !fence || level_ + 1 == order_.levels.size();
  // The usual silent device is a BMC that lost its power together with its host. Waiting for its
  // status as well would hold up the level that can still prove it.
  const bool hopeless = std::any_of(results.begin(), results.end(), not_started) ||
                        (silent && !last);
  if (hopeless) {
    give_up_level();
  } else {
    verify(Duration(0));
  }
}

void PowerRun::verify(Duration delay) {
  ++passes_;
  // A reading may ask one device again. A verification may not: all its answers belong to one
  // pass, so that the whole pass is repeated instead.
  const std::uint32_t retries = order_.kind == PowerOpKind::read_power ? order_.retries : 0;
  round("status", retries, delay, &PowerRun::verified);
}

void PowerRun::verified(const std::vector<CallResult>& results) {
  const bool reading = order_.kind == PowerOpKind::read_power;
  const Power wanted = order_.kind == PowerOpKind::fence ? Power::off : Power::on;
  bool good = true;
  bool again = !reading && passes_ <= order_.retries;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const NamedDevice& device = level()[i];
    const Power power = power_of(results[i]);
    readings_[device.name] = power;
    if (reading ? power != Power::unknown : power == wanted) continue;
    good = false;
    again = again && worth_retrying(results[i], device.device.timeout);
    if (power != Power::unknown) {
      problems_.emplace(device.name, device.name + " still says " + word(power));
    }
  }
  if (good) {
    if (!reading) problems_.clear();
    finish(Outcome::done);
    return;
  }
  note("status", results);
  if (again) {
    verify(pause_);
  } else {
    give_up_level();
  }
}

void PowerRun::give_up_level() {
  if (order_.kind == PowerOpKind::fence && level_ + 1 < order_.levels.size()) {
    ++level_;
    begin_level();
    return;
  }
  const bool harmless = order_.kind != PowerOpKind::read_power && !touched_;
  finish(harmless ? Outcome::failed_without_effect : Outcome::unknown);
}

void PowerRun::note(const std::string& action, const std::vector<CallResult>& results) {
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (succeeded(action, results[i])) continue;
    const NamedDevice& device = level()[i];
    // Why `off` failed says more than what its status said afterwards.
    problems_.emplace(device.name,
                      describe(device.name, action, device.device.timeout, results[i]));
  }
}

void PowerRun::finish(Outcome outcome) {
  CLUSTERD_ASSERT(ended_);
  PowerOperationEnded event;
  event.op = order_.op;
  event.target = order_.target;
  event.outcome = outcome;
  event.readings = readings_;
  event.level = names_;
  for (const auto& [device, problem] : problems_) {
    if (!event.detail.empty()) event.detail += "; ";
    event.detail += problem;
  }
  if (event.detail.size() > kMaxDetail) event.detail.resize(kMaxDetail);
  const Ended ended = std::exchange(ended_, nullptr);
  ended(std::move(event));
}

}  // namespace clusterd
