// Checkers: the rules of architecture.md section 2, judged from above, over the world's truth and
// over what daemons do to the world; never through the engine's own opinion of itself.
//
// The first violation is kept. Every checker has a negative control in tests/unit/sim.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "clusterd/engine/controller.h"
#include "tests/sim/hypervisor.h"
#include "tests/sim/world.h"

namespace clusterd::sim {

struct Violation {
  std::string rule;  // "S1"
  std::string detail;
};

// What happened to VMs and hosts, counted; a calm cluster counts nothing (L3).
struct Activity {
  std::uint64_t starts = 0;
  std::uint64_t stops = 0;
  std::uint64_t fences = 0;
  std::uint64_t power_ons = 0;
  std::uint64_t power_changes = 0;
  std::uint64_t appeared = 0;
  std::uint64_t vanished = 0;
  std::uint64_t exits = 0;
  friend bool operator==(const Activity&, const Activity&) = default;
  [[nodiscard]] std::string str() const;
};

// What a daemon believes at the moment it acts.
struct Standing {
  bool known = false;  // false: there is no daemon
  SimTime responsive_for{0};
  LocalView local;
  const ClusterState* state = nullptr;  // what it has applied, if known
  bool told_quorate = false;  // by Corosync, last
  SimTime told_for{0};        // since when
};

// What must hold at every start (S4), told to the checkers by whoever declared it.
struct HardRules {
  std::map<VmId, std::uint64_t> memory;  // bytes
  std::uint64_t host_memory = 0;         // bytes, of each host; 0: not judged
  std::uint64_t degraded_memory = 0;     // the same for guaranteed VMs that were started before
  std::set<VmId> preemptible;
  std::map<VmId, std::set<VmId>> away_from;
};

class Checkers final : public WorldObserver, public DispatchObserver {
 public:
  using Ask = std::function<Standing(NodeId)>;
  // For how long the daemons of two hosts have heard each other.
  using Together = std::function<SimTime(NodeId, NodeId)>;

  Checkers(SimEnv& env, Ask standing, Together together)
      : env_(env), standing_(std::move(standing)), together_(std::move(together)) {}
  void set_rules(HardRules rules) { rules_ = std::move(rules); }

  [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }
  [[nodiscard]] const Activity& activity() const { return activity_; }
  void fail(std::string rule, std::string detail);
  void count_exit() { ++activity_.exits; }
  // What was violated was meant to be: the run goes on.
  void forgive() { violation_.reset(); }

  // S1, S2 (no live host may still start it).
  void on_active(const SimHost& host, VmId vm) override;
  void on_gone(const SimHost& host, VmId vm) override;
  void on_power(const SimHost& host) override;
  // S2 at dispatch, S3, S4; S6 for power; H1: who is stopped for its health is not well.
  void on_start(const SimHost& host, const DispatchStart& order) override;
  void on_stop(const SimHost& host, const DispatchStop& order) override;
  void on_power_order(const SimHost& host, const DispatchPower& order) override;
  // S5 and S7: after a delivery to this run of a daemon.
  void on_applied(NodeId node, std::uint32_t process, const ClusterState& state);

 private:
  void check_alone(const SimHost& host, VmId vm, const char* when);
  // An operation is carried out once; whoever takes it over looks instead of doing it again (R4).
  void check_once(const SimHost& host, OpId op, const std::string& what);
  void check_may_act(const SimHost& host, const std::string& what);
  void check_constraints(const SimHost& host, VmId vm);
  void check_trouble(const SimHost& host, VmId vm);
  void check_armed(const SimHost& host, OpId op, const std::string& what);
  [[nodiscard]] bool is_ordered(const SimHost& host, NodeId target) const;
  void check_fence(const SimHost& host, NodeId target);
  void check_epoch(NodeId node, std::uint32_t process, const ClusterState& state);

  SimEnv& env_;
  Ask standing_;
  Together together_;
  HardRules rules_;
  std::optional<Violation> violation_;
  Activity activity_;
  std::set<std::pair<Host, OpId>> dispatched_;
  std::set<VmId> started_;  // at any time
  std::map<NodeId, std::deque<SimTime>> fenced_;  // when each target was ordered off, last minute
  std::map<NodeId, std::pair<std::uint32_t, Epoch>> epoch_of_;  // of a run of a daemon
  std::map<Digest, Digest> state_of_chain_;
  // (epoch, index, sum of the members' runs) -> chain
  std::map<std::tuple<Epoch, LogIndex, std::uint64_t>, Digest> chain_at_;
};

}  // namespace clusterd::sim
