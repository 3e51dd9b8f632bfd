#include "tests/sim/fencer.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<std::string> SimDevices::names() const {
  std::vector<std::string> names;
  for (const auto& [name, device] : devices_) names.push_back(name);
  return names;
}

void SimDevices::repair() {
  for (auto& [name, device] : devices_) {
    device.answers = true;
    device.acts_late = device.refuses = device.ignores = device.says_off = false;
    device.on = true;
  }
}

void SimDevices::plug_in(NodeId target) {
  for (auto& [name, device] : devices_) {
    if (device.target == target) device.on = true;
  }
}

// A host without outlets of ours has current always.
bool SimDevices::has_current(NodeId target) const {
  bool any = false;
  for (const auto& [name, device] : devices_) {
    if (device.target != target || !device.outlet) continue;
    if (device.on) return true;
    any = true;
  }
  return !any;
}

void SimDevices::turn(SimDevice& device, bool on) {
  if (!device.outlet) {
    power_(device.target, on);
    return;
  }
  const bool before = has_current(device.target);
  device.on = on;
  // A host that gets current again starts, as servers are set to.
  if (has_current(device.target) != before) power_(device.target, !before);
}

bool SimDevices::operate(const std::string& name, bool on) {
  SimDevice& device = devices_.at(name);
  if (!answers(device)) {
    if (device.acts_late) {
      env_.queue.after(env_.between(seconds(1), seconds(30)), [this, &device, on] {
        if (device.outlet || has_current(device.target)) turn(device, on);
      });
    }
    return false;
  }
  if (device.refuses) return false;
  if (!device.ignores) turn(device, on);
  return true;
}

Power SimDevices::read(const std::string& name) const {
  const SimDevice& device = devices_.at(name);
  if (!answers(device)) return Power::unknown;
  if (device.says_off) return Power::off;
  if (device.outlet) return device.on ? Power::on : Power::off;
  return env_.world.hosts().at(device.target).powered ? Power::on : Power::off;
}

void SimFencer::connect(Post post) { post_ = std::move(post); }

void SimFencer::disconnect() {
  post_ = nullptr;
  for (auto& [op, run] : runs_) run->over = true;
  runs_.clear();
}

void SimFencer::operate(const DispatchPower& order) {
  observer_.on_power_order(host_, order);
  env_.trace.say([&] {
    static constexpr const char* kNames[] = {"fence ", "read power of ", "power on "};
    return name_of(host_.id) + "      " + kNames[static_cast<int>(order.kind)] +
           name_of(order.target) + " op " + order.op.str();
  });
  const auto run = std::make_shared<Run>();
  run->order = order;
  run->status_pass = order.kind == PowerOpKind::read_power;
  runs_[order.op] = run;
  if (order.levels.empty()) {
    run->problem = "no device";
    env_.on_host(host_, milliseconds(1), [this, run] { end(run, Outcome::unknown, {}); });
    return;
  }
  next(run);
}

void SimFencer::next(const RunPtr& run) {
  if (run->over) return;
  const auto& level = run->order.levels[run->level];
  if (run->device < level.size()) {
    call(run, level[run->device]);
  } else if (run->status_pass) {
    level_read(run);
  } else {
    run->status_pass = true;
    run->device = 0;
    run->readings.clear();
    next(run);
  }
}

void SimFencer::call(const RunPtr& run, const NamedDevice& device) {
  const bool known = devices_.knows(device.name);
  const SimDevice none{};
  const SimDevice& model = known ? devices_.device(device.name) : none;
  const bool dies = env_.prng.chance(env_.faults.agent_dies);
  SimTime delay = model.latency + env_.between(SimTime(0), model.latency);
  if (known && !model.answers) delay = SimTime(device.device.timeout);
  env_.on_host(host_, delay, [this, run, device, known, dies] {
    if (run->over) return;
    std::string problem = known ? devices_.device(device.name).agent_problem : "unknown";
    if (problem.empty() && dies) problem = "the agent ended without an answer";
    if (!problem.empty()) {
      run->problem = device.name + ": " + problem;
      level_failed(run);
    } else {
      acted(run, device);
    }
  });
}

void SimFencer::acted(const RunPtr& run, const NamedDevice& device) {
  if (run->status_pass) {
    run->readings[device.name] = devices_.read(device.name);
  } else if (!devices_.operate(device.name, run->order.kind == PowerOpKind::power_on)) {
    run->problem = device.name + " does not answer";
    level_failed(run);
    return;
  }
  ++run->device;
  // The switch may have hit the host on which this agent runs.
  if (host_.powered) next(run);
}

void SimFencer::level_read(const RunPtr& run) {
  const auto& level = run->order.levels[run->level];
  std::vector<std::string> names;
  bool all_off = true;
  bool all_on = true;
  bool clear = true;
  for (const NamedDevice& device : level) {
    names.push_back(device.name);
    const Power reading = run->readings[device.name];
    all_off = all_off && reading == Power::off;
    all_on = all_on && reading == Power::on;
    clear = clear && reading != Power::unknown;
  }
  const bool done = (run->order.kind == PowerOpKind::fence && all_off) ||
                    (run->order.kind == PowerOpKind::power_on && all_on) ||
                    (run->order.kind == PowerOpKind::read_power && clear);
  if (done) {
    end(run, Outcome::done, std::move(names));
    return;
  }
  run->problem = "not every device of the level said so";
  level_failed(run);
}

void SimFencer::level_failed(const RunPtr& run) {
  run->device = 0;
  run->status_pass = run->order.kind == PowerOpKind::read_power;
  const bool more_levels = run->order.kind == PowerOpKind::fence &&
                           run->level + 1 < run->order.levels.size();
  if (more_levels) {
    ++run->level;
    next(run);
    return;
  }
  run->level = 0;
  if (run->attempt < run->order.retries) {
    ++run->attempt;
    env_.on_host(host_, seconds(1), [this, run] { next(run); });
    return;
  }
  end(run, Outcome::unknown, {});
}

void SimFencer::end(const RunPtr& run, Outcome outcome, std::vector<std::string> level) {
  if (run->over) return;
  run->over = true;
  runs_.erase(run->order.op);
  if (!post_) return;
  post_(PowerOperationEnded{run->order.op, run->order.target, outcome, run->readings,
                            std::move(level), run->problem});
}

void SimFencer::cancel(OpId op) {
  const auto found = runs_.find(op);
  if (found == runs_.end()) return;
  const RunPtr run = found->second;
  run->over = true;
  runs_.erase(found);
  env_.on_host(host_, milliseconds(1), [this, run] {
    if (!post_) return;
    post_(PowerOperationEnded{run->order.op, run->order.target, Outcome::unknown, run->readings,
                              {}, "cancelled"});
  });
}

void SimFencer::test(const RunFenceTest& order) {
  env_.on_host(host_, milliseconds(200), [this, client = order.client] {
    if (post_) post_(FenceTestEnded{client, "{}", true});
  });
}

}  // namespace clusterd::sim
