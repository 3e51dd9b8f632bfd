#include "clusterd/engine/capacity.h"

#include <algorithm>
#include <limits>

#include "clusterd/engine/queries.h"
#include "clusterd/model/resolve.h"

namespace clusterd {

namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return a > kMost - b ? kMost : a + b;
}

std::uint64_t less(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

// Calls `on_node(NodeId)` once for every node where the VM may be active. Two boots of one node
// cannot run at a time, so the node counts once; holders ascend by node, so equal ones are
// neighbours.
template <class F>
void for_each_holding_node(const ClusterState& state, const VmState& vm, F&& on_node) {
  std::optional<NodeId> last;
  for (const auto& [host, sighting] : vm.holders) {
    if (last == host.node || is_dead(state, host)) continue;
    last = host.node;
    on_node(host.node);
  }
}

}  // namespace

NodeCapacity offer_of(const ClusterState& state, const NodeState& node) {
  Resources total = node.facts.total;
  Resources reserved;
  const auto declared = state.config.nodes.find(node.name);
  if (declared != state.config.nodes.end()) {
    total = declared->second.capacity.value_or(total);
    reserved = declared->second.host_reserved;
  }
  Overcommit factor = state.config.cluster.overcommit;
  const Resources offer = offered(total, reserved, factor);
  factor.memory = std::max(factor.memory, factor.degraded_memory);
  return {offer.memory, offer.vcpus, 0, 0, offered(total, reserved, factor).memory};
}

void Need::add(const Resources& size) {
  memory = saturating_add(memory, size.memory);
  vcpus = saturating_add(vcpus, size.vcpus);
  ++vms;
}

void NodeCapacity::take(const Resources& size) {
  memory_used = saturating_add(memory_used, size.memory);
  vcpus_used = saturating_add(vcpus_used, size.vcpus);
}

void NodeCapacity::give_back(const Resources& size) {
  memory_used = less(memory_used, size.memory);
  vcpus_used = less(vcpus_used, size.vcpus);
}

Capacity::Capacity(const ClusterState& state) {
  for (const auto& [id, node] : state.nodes) {
    nodes_.emplace_hint(nodes_.end(), id, offer_of(state, node));
  }
  for (const auto& [id, vm] : state.vms) {
    const Resources& size = vm.size;
    for_each_holding_node(state, vm, [&](NodeId node) { reserve(size, node); });
  }
}

NodeCapacity Capacity::of(NodeId node) const {
  const auto found = nodes_.find(node);
  return found == nodes_.end() ? NodeCapacity{} : found->second;
}

void Capacity::reserve(const Resources& size, NodeId node) {
  const auto found = nodes_.find(node);
  if (found != nodes_.end()) found->second.take(size);
}

void Capacity::release(const Resources& size, NodeId node) {
  const auto found = nodes_.find(node);
  if (found != nodes_.end()) found->second.give_back(size);
}

NodeCapacity capacity_of(const ClusterState& state, NodeId node) {
  const auto found = state.nodes.find(node);
  if (found == state.nodes.end()) return {};
  NodeCapacity capacity = offer_of(state, found->second);
  for (const auto& [id, vm] : state.vms) {
    if (may_be_active_on(state, vm, node)) capacity.take(vm.size);
  }
  return capacity;
}

bool is_lost(const ClusterState& state, const Host& host) {
  const auto node = state.nodes.find(host.node);
  return node != state.nodes.end() && node->second.loss && node->second.loss->boot == host.boot &&
         !is_dead(state, host);
}

bool may_be_active_on(const ClusterState& state, const VmState& vm, NodeId node) {
  const Host first{node, BootId{}};  // the nil boot sorts before every other
  for (auto holder = vm.holders.lower_bound(first);
       holder != vm.holders.end() && holder->first.node == node; ++holder) {
    if (!is_dead(state, holder->first)) return true;
  }
  return false;
}

}  // namespace clusterd
