#include "clusterd/engine/protection.h"

#include <algorithm>
#include <set>

namespace clusterd {

bool can_be_fenced(const ClusterState& state, NodeId id) {
  const NodeDeclaration* declaration = node_declaration(state, id);
  if (declaration == nullptr) return false;
  const NodeState& node = state.nodes.at(id);
  const auto usable = [&](const std::vector<std::string>& level) {
    return !level.empty() && std::all_of(level.begin(), level.end(), [&](const auto& device) {
      return is_calibrated(node, device, node.boot);
    });
  };
  return std::any_of(declaration->fencing.begin(), declaration->fencing.end(), usable);
}

std::size_t unprotected_vms(const ClusterState& state) {
  std::set<NodeId> fenceable;
  for (const auto& [id, node] : state.nodes) {
    if (can_be_fenced(state, id)) fenceable.insert(id);
  }
  const auto synced = std::count_if(
      state.view.members.begin(), state.view.members.end(),
      [](const auto& member) { return member.second.phase == MemberPhase::synced; });
  const bool braked = !may_start(state);
  std::size_t count = 0;
  for (const auto& [id, vm] : state.vms) {
    const auto host = active_on(vm);
    if (!host || !should_run(vm)) continue;
    const bool alone = synced - (synced_member(state, host->node) == nullptr ? 0 : 1) == 0;
    if (braked || alone || !fenceable.contains(host->node)) ++count;
  }
  return count;
}

}  // namespace clusterd
