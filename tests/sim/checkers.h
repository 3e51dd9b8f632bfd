// Checkers: the rules of architecture.md section 2, judged from above, over the world's truth and
// over what daemons do to the world; never through the engine's own opinion of itself.
//
// The first violation is kept. Every checker has a negative control in tests/unit/sim.
#pragma once

#include <cstdint>
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
  LocalView local;
  bool told_quorate = false;  // by Corosync, last
  SimTime told_for{0};        // since when
};

class Checkers final : public WorldObserver, public DispatchObserver {
 public:
  using Ask = std::function<Standing(NodeId)>;

  Checkers(SimEnv& env, Ask standing) : env_(env), standing_(std::move(standing)) {}

  [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }
  [[nodiscard]] const Activity& activity() const { return activity_; }
  void fail(std::string rule, std::string detail);
  void count_exit() { ++activity_.exits; }
  // What was violated was meant to be: the run goes on.
  void forgive() { violation_.reset(); }

  // S1, S2 (no live host may still start it), S4 (memory).
  void on_active(const SimHost& host, VmId vm) override;
  void on_gone(const SimHost& host, VmId vm) override;
  void on_power(const SimHost& host) override;
  // S2 at dispatch, and S3.
  void on_start(const SimHost& host, const DispatchStart& order) override;
  void on_stop(const SimHost& host, const DispatchStop& order) override;
  void on_power_order(const SimHost& host, const DispatchPower& order) override;
  // S5: after a delivery.
  void on_applied(NodeId node, const ClusterState& state);


 private:
  void check_alone(const SimHost& host, VmId vm, const char* when);
  // An operation is carried out once; whoever takes it over looks instead of doing it again (R4).
  void check_once(const SimHost& host, OpId op, const std::string& what);
  void check_may_act(const SimHost& host, const std::string& what);

  SimEnv& env_;
  Ask standing_;
  std::optional<Violation> violation_;
  Activity activity_;
  std::set<std::pair<Host, OpId>> dispatched_;
  std::map<Digest, Digest> state_of_chain_;
  // (epoch, index, digest of the members) -> chain
  std::map<std::tuple<Epoch, LogIndex, Digest>, Digest> chain_at_;
};

}  // namespace clusterd::sim
