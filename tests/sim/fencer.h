// SimFencer: fence agents on one host, and the power devices they talk to.
//
// A device really switches its host. A call may be slow, be refused, stay unanswered (the agent
// ends in `unknown`, and what it asked for may happen late), or find the device dead with its
// host: a BMC has no current when all outlets of its host are off.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clusterd/ports/fencer.h"
#include "clusterd/ports/sink.h"
#include "tests/sim/hypervisor.h"
#include "tests/sim/world.h"

namespace clusterd::sim {

struct SimDevice {
  NodeId target;              // whom it is wired to
  bool outlet = false;        // of a power distribution unit; otherwise a BMC
  bool on = true;             // of an outlet
  bool answers = true;        // on the network, and alive
  bool acts_late = false;     // while it does not answer: what was asked happens afterwards
  bool refuses = false;       // answers: failed
  bool ignores = false;       // answers: done; does nothing
  bool says_off = false;      // it lies
  std::string agent_problem;  // not empty: the agent cannot ask the device at all
  SimTime latency{std::chrono::milliseconds(150)};
};

// All devices, by name, and what switches hosts.
class SimDevices {
 public:
  using Switch = std::function<void(NodeId, bool on)>;

  SimDevices(SimEnv& env, Switch power) : env_(env), power_(std::move(power)) {}

  SimDevice& add(const std::string& name, NodeId target, bool outlet = false) {
    SimDevice& device = devices_[name];
    device.target = target;
    device.outlet = outlet;
    return device;
  }
  [[nodiscard]] std::vector<std::string> names() const;
  // Everything answers again and has current; switches nothing on.
  void repair();
  // The outlets of this host have current.
  void plug_in(NodeId target);
  [[nodiscard]] SimDevice& device(const std::string& name) { return devices_.at(name); }
  [[nodiscard]] bool knows(const std::string& name) const { return devices_.count(name) != 0; }
  // Asks for off or on; false: no answer, but it may happen all the same, later.
  [[nodiscard]] bool operate(const std::string& name, bool on);
  [[nodiscard]] Power read(const std::string& name) const;
  // By a hand at the outlet, or by what was asked.
  void turn(SimDevice& device, bool on);

 private:
  [[nodiscard]] bool has_current(NodeId target) const;
  [[nodiscard]] bool answers(const SimDevice& device) const {
    return device.answers && (device.outlet || has_current(device.target));
  }

  SimEnv& env_;
  Switch power_;
  std::map<std::string, SimDevice> devices_;
};

class SimFencer final : public Fencer {
 public:
  using Post = std::function<void(Event)>;

  SimFencer(SimEnv& env, SimHost& host, SimDevices& devices, DispatchObserver& observer)
      : env_(env), host_(host), devices_(devices), observer_(observer) {}

  void connect(Post post);
  // The daemon died; its agents die with it.
  void disconnect();

  void operate(const DispatchPower& order) override;
  void cancel(OpId op) override;
  void test(const RunFenceTest& order) override;

 private:
  struct Run {
    DispatchPower order;
    std::size_t level = 0;
    std::size_t device = 0;
    bool status_pass = false;
    std::uint32_t attempt = 0;
    bool over = false;
    std::map<std::string, Power> readings;
    std::string problem;
  };
  using RunPtr = std::shared_ptr<Run>;

  void next(const RunPtr& run);
  void call(const RunPtr& run, const NamedDevice& device);
  void acted(const RunPtr& run, const NamedDevice& device);
  void level_failed(const RunPtr& run);
  void level_read(const RunPtr& run);
  void end(const RunPtr& run, Outcome outcome, std::vector<std::string> level);

  SimEnv& env_;
  SimHost& host_;
  SimDevices& devices_;
  DispatchObserver& observer_;
  Post post_;
  std::map<OpId, RunPtr> runs_;
};

}  // namespace clusterd::sim
