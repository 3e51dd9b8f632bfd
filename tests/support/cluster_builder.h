// ClusterBuilder: a ClusterState for tests in a few words.
//
//   ClusterState state = ClusterBuilder()
//       .node("n1").node("n2").node("n3").backup("n4")
//       .vm("web1", {.on = "n1", .memory = gib(8)})
//       .lose("n1")
//       .build();
//
// Nodes get the ids 1, 2, 3 in order of mention, are synced members with their inventory done,
// 64 GiB and 32 processors, and nothing reserved for the host. VMs are wanted running; `on` says
// where one runs. For what has no word here: state(), declaration(name), vm_state(name).
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "clusterd/base/assert.h"
#include "clusterd/model/state.h"

namespace clusterd::test {

constexpr std::uint64_t gib(std::uint64_t n) { return n << 30; }

// The same number and kind always give the same id; different ones never do.
inline Uuid numbered_uuid(std::uint8_t kind, std::uint64_t number) {
  Uuid uuid;
  uuid.bytes[0] = kind;
  for (std::size_t i = 0; i < 8; ++i) {
    uuid.bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return uuid;
}

struct NodeOptions {
  std::uint64_t memory = gib(64);
  std::uint32_t vcpus = 32;
  NodeRole role = NodeRole::worker;
  std::set<std::string> provides = {};  // initialised, so that naming a few members is enough
};

struct VmOptions {
  std::string on = {};  // empty: runs nowhere
  std::uint64_t memory = gib(4);
  std::uint32_t vcpus = 2;
  std::uint32_t priority = 500;
  std::set<std::string> needs = {};  // requires
  PlacementRules placement = {};
  std::set<std::string> start_after = {};
  bool preemptible = false;
};

class ClusterBuilder {
 public:
  ClusterBuilder() {
    state_.cluster.uuid = numbered_uuid(1, 1);
    state_.name = "test";
    state_.time = ClusterTime{1'000'000};
    state_.position.epoch = Epoch(1);
    state_.view.authority = Authority::established;
    state_.view.trusted = true;
    state_.config.version = ConfigVersion(1);
    state_.config.cluster.name = "test";
  }

  ClusterBuilder& node(const std::string& name, const NodeOptions& options = {}) {
    const NodeId id(static_cast<std::uint32_t>(state_.nodes.size()) + 1);
    NodeState& node = state_.nodes[id];
    node.name = name;
    node.machine.uuid = numbered_uuid(2, id.value);
    node.boot = boot_id(id, 1);
    node.facts.total = {options.memory, options.vcpus};
    NodeDeclaration& declaration = state_.config.nodes[name];
    declaration.role = options.role;
    declaration.provides = options.provides;
    state_.view.votes[id] = 1;
    Member& member = state_.view.members[id];
    member = {node.boot, Incarnation(id.value), node.machine, MemberPhase::synced, true};
    return *this;
  }
  ClusterBuilder& backup(const std::string& name, NodeOptions options = {}) {
    options.role = NodeRole::backup;
    return node(name, options);
  }

  ClusterBuilder& vm(const std::string& name, const VmOptions& options = {}) {
    const VmId id{numbered_uuid(3, state_.config.vms.size() + 1)};
    VmDeclaration& declaration = state_.config.vms[name];
    declaration.domain.uuid = id;
    declaration.domain.size = {options.memory, options.vcpus};
    declaration.policy.priority = options.priority;
    declaration.policy.requires_ = options.needs;
    declaration.policy.placement = options.placement;
    declaration.policy.start_after = options.start_after;
    declaration.policy.preemptible = options.preemptible;
    VmState& vm = state_.vms[id];
    vm.name = name;
    vm.size = declaration.domain.size;
    if (!options.on.empty()) run(name, options.on);
    return *this;
  }

  // Seen running there; a second call makes a second holder.
  ClusterBuilder& run(const std::string& vm_name, const std::string& node_name) {
    VmState& vm = vm_state(vm_name);
    vm.holders[host(node_name)] = {DomainState::running, true, state_.time};
    vm.last_host = host(node_name);
    return *this;
  }
  ClusterBuilder& order(const std::string& vm_name, DesiredState desired) {
    vm_state(vm_name).ordered = desired;
    return *this;
  }

  // Out of the ring, nothing proven yet: its VMs are unknown.
  ClusterBuilder& lose(const std::string& name) {
    const NodeId id = node_id(name);
    state_.view.members.erase(id);
    NodeState& node = state_.nodes.at(id);
    node.loss.emplace();
    node.loss->boot = node.boot;
    node.loss->since = state_.time;
    return *this;
  }
  // Lost and fenced: its VMs are released and wait to be recovered.
  ClusterBuilder& prove_dead(const std::string& name) {
    const NodeId id = node_id(name);
    NodeState& node = state_.nodes.at(id);
    state_.view.members.erase(id);
    node.loss.reset();
    node.dead[node.boot] = {DeathCause::fenced, state_.time, "test"};
    for (auto& entry : state_.vms) {
      if (entry.second.holders.erase({id, node.boot}) == 0) continue;
      entry.second.next_cause = Cause::host_lost;
    }
    return *this;
  }
  // A dead or lost node comes back as a new boot, which proves the old one dead.
  ClusterBuilder& come_back(const std::string& name) {
    prove_dead(name);
    const NodeId id = node_id(name);
    NodeState& node = state_.nodes.at(id);
    node.boot = boot_id(id, node.dead.size() + 1);
    state_.view.members[id] = {node.boot, Incarnation(id.value), node.machine,
                               MemberPhase::synced, true};
    return *this;
  }

  ClusterBuilder& settings(const std::function<void(ClusterSettings&)>& change) {
    change(state_.config.cluster);
    return *this;
  }

  [[nodiscard]] NodeId node_id(const std::string& name) const {
    for (const auto& [id, node] : state_.nodes) {
      if (node.name == name) return id;
    }
    CLUSTERD_ASSERT(false && "the test names a node that it did not build");
    return {};
  }
  [[nodiscard]] VmId vm_id(const std::string& name) const {
    return state_.config.vms.at(name).domain.uuid;
  }
  [[nodiscard]] Host host(const std::string& name) const {
    const NodeId id = node_id(name);
    return {id, state_.nodes.at(id).boot};
  }
  [[nodiscard]] ClusterState& state() { return state_; }
  [[nodiscard]] VmState& vm_state(const std::string& name) { return state_.vms.at(vm_id(name)); }
  [[nodiscard]] NodeState& node_state(const std::string& name) {
    return state_.nodes.at(node_id(name));
  }
  [[nodiscard]] VmDeclaration& declaration(const std::string& name) {
    return state_.config.vms.at(name);
  }
  [[nodiscard]] NodeDeclaration& node_declaration(const std::string& name) {
    return state_.config.nodes.at(name);
  }
  [[nodiscard]] ClusterState build() const { return state_; }

 private:
  static BootId boot_id(NodeId node, std::uint64_t nth) {
    return {numbered_uuid(4, (std::uint64_t{node.value} << 32) + nth)};
  }

  ClusterState state_;
};

}  // namespace clusterd::test
