// SimCluster: a whole cluster in one process: real drivers and controllers on simulated hosts.
// The scenario tests, the nemesis and clusterd-sim drive it; the checkers watch it all the time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/checkers.h"
#include "tests/sim/node.h"

namespace clusterd::sim {

struct SimOptions {
  std::uint64_t seed = 1;
  std::uint32_t nodes = 4;
  std::uint32_t backups = 1;  // the last ones
  // Behind the BMC a second level of fencing: two outlets, and the host has current from either.
  bool outlets = false;
  std::uint32_t vms = 9;  // spread over the workers by preference
  Resources vm_size{4ULL << 30, 2};
  std::uint32_t degraded_memory = 1000;  // overcommit.degraded_memory in thousandths
  std::uint32_t reserve = 1;
  std::optional<std::uint32_t> fences_per_hour;
  Admission admission = Admission::enforce;
  // An operator whose first declarations are refused for the reserve says `admission: warn`.
  bool warns_if_refused = false;
  SimNodeOptions node;
  SimNetworkOptions network;
  std::size_t trace_lines = 0;
  bool echo = false;
  // May change the declarations before they are applied.
  std::function<void(Declarations&)> adjust;
};

class SimCluster {
 public:
  explicit SimCluster(SimOptions options);
  ~SimCluster();

  // ---- the operator ----
  // Powers everything on, founds the cluster and applies the declarations; waits until every VM
  // runs. Empty, or what did not work.
  [[nodiscard]] std::string found();
  // Sends a request to the daemon on a node and waits for its final reply.
  ControlReply ask(NodeId node, ControlRequest what, SimTime limit = std::chrono::seconds(120));
  // The same without waiting.
  ClientId send(NodeId node, ControlRequest what);
  [[nodiscard]] const ControlReply* reply_to(ClientId client) const;
  // Empty, or who still waits for a final reply of a daemon that lives (L2).
  [[nodiscard]] std::string unanswered() const;
  [[nodiscard]] Declarations declarations() const;
  // A VM with this number, without wishes, and its domain's XML.
  [[nodiscard]] std::pair<VmDeclaration, std::string> new_vm(std::uint32_t number) const;

  // ---- time ----
  // Each stops at the first violation.
  void run_for(SimTime span);
  // True if it came true in time.
  bool run_until(const std::function<bool()>& what, SimTime limit);
  [[nodiscard]] SimTime now() const { return env_.queue.now(); }

  // ---- faults ----
  SimNode& node(std::uint32_t number) { return *nodes_.at(NodeId(number)); }
  SimNode& node(NodeId id) { return *nodes_.at(id); }
  SimNetwork& network() { return network_; }
  SimDevice& device(std::uint32_t number);  // the BMC of node `number`
  SimDevices& devices() { return devices_; }
  void power_cut(std::uint32_t number) { node(number).power_off(); }
  void pull_cord(std::uint32_t number);  // the BMC dies with its host
  void plug_cord(std::uint32_t number);  // ... and answers again; the host stays off
  // Somebody plugs it in and switches it on.
  void power_back(std::uint32_t number);
  // {{1, 2}, {3, 4}}: who hears whom; who is not mentioned is alone with the others like it.
  void partition(const std::vector<std::vector<std::uint32_t>>& sides);
  void heal() { network_.heal(); }

  // ---- the truth ----
  [[nodiscard]] std::vector<NodeId> active_on(std::uint32_t vm) const {
    return env_.world.active_on(vm_id(vm));
  }
  // VMs that are active on this node.
  [[nodiscard]] std::vector<std::uint32_t> vms_of(std::uint32_t number) const;
  [[nodiscard]] bool all_run() const;
  // Empty, or what stands between this cluster and everything being as it should (L1).
  [[nodiscard]] std::string unsettled() const;
  bool settle(SimTime limit);
  // Nodes whose daemon is active in an established view, ascending.
  [[nodiscard]] std::vector<NodeId> active_nodes() const;
  // A node with an active daemon whose state is the newest; none: nullptr.
  [[nodiscard]] const SimNode* authority() const;

  [[nodiscard]] const Checkers& checkers() const { return *checkers_; }
  Checkers& checkers() { return *checkers_; }
  [[nodiscard]] bool violated() const { return checkers_->violation().has_value(); }
  SimEnv& env() { return env_; }
  [[nodiscard]] const SimOptions& options() const { return options_; }
  [[nodiscard]] std::string trace() const;

  // Every VM the declarations have, and what should be known of nodes, as the engine's words:
  // "vm3: reason". For failing tests.
  [[nodiscard]] std::string describe() const;

 private:
  [[nodiscard]] Standing standing(NodeId node) const;
  [[nodiscard]] std::string unwell_guest(const ClusterState& state, VmId id,
                                         const VmState& vm) const;
  void set_hard_rules();
  void tell_history(const ClusterState& state);
  [[nodiscard]] std::vector<std::string> outlets_of(const std::string& node) const;
  void power(NodeId node, bool on);
  void power_on_all();

  SimOptions options_;
  SimEnv env_;
  SimNetwork network_;
  std::unique_ptr<Checkers> checkers_;
  SimDevices devices_;
  std::map<NodeId, std::unique_ptr<SimNode>> nodes_;
  std::map<ClientId, ControlReply> replies_;                    // final ones
  std::map<ClientId, std::pair<NodeId, std::uint32_t>> asked_;  // whom, and which run of it
  std::uint64_t next_client_ = 1;
  std::set<std::pair<std::uint64_t, std::string>> history_;  // told in the trace
};

}  // namespace clusterd::sim
