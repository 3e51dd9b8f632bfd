#include "clusterd/engine/eligible_hosts.h"

#include <algorithm>
#include <map>
#include <utility>

#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

struct Bound {
  VmId vm;
  std::string name;
  ResolvedVm rules;
};

// The VM itself in front, then who must be where it is.
std::vector<Bound> bound_together(const ClusterState& state, const Relations& relations,
                                  const VmId& vm) {
  std::vector<Bound> all;
  const auto add = [&](const VmId& one) {
    const auto known = state.vms.find(one);
    if (known == state.vms.end()) return;
    if (auto rules = resolved(state, known->second)) {
      all.push_back({one, known->second.name, std::move(*rules)});
    }
  };
  add(vm);
  if (all.empty()) return all;
  for (const VmId& other : relations.of(vm).group) {
    if (other != vm) add(other);
  }
  return all;
}

// Empty: all may be there.
std::string why_not(const std::vector<Bound>& bound, NodeId id, const NodeState& node,
                    const NodeDeclaration& declaration) {
  for (const Bound& one : bound) {
    const auto no = rule_exclusion(one.rules, id, node, &declaration, Detail::tell);
    if (!no) continue;
    if (&one == &bound.front()) return sentence(*no);
    return std::string(name_of(ExclusionKind::together_with)) + ": " + one.name + " may not (" +
           sentence(*no) + ")";
  }
  return {};
}

// At least two, without a word about the others: nearly every VM, and there may be thousands.
bool has_two(const ClusterState& state, const std::vector<Bound>& bound) {
  std::size_t found = 0;
  for (const auto& [id, node] : state.nodes) {
    const NodeDeclaration* declaration = node_declaration(state, id);
    if (declaration == nullptr) continue;
    const bool all = std::none_of(bound.begin(), bound.end(), [&, &id = id, &node = node](auto& b) {
      return rule_exclusion(b.rules, id, node, declaration, Detail::omit).has_value();
    });
    if (all && ++found == 2) return true;
  }
  return false;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Hosts with one reason stand together: of 64 hosts most have the same.
std::string reasons(const std::vector<EligibleHosts::Other>& others) {
  std::vector<std::pair<std::string, std::vector<std::string>>> by_reason;
  for (const auto& other : others) {
    auto same = std::find_if(by_reason.begin(), by_reason.end(),
                             [&](const auto& entry) { return entry.first == other.reason; });
    if (same == by_reason.end()) same = by_reason.insert(same, {other.reason, {}});
    same->second.push_back(other.node);
  }
  std::string text;
  for (const auto& [reason, nodes] : by_reason) {
    text += (text.empty() ? "" : "; ") + list_of(nodes) + ": " + reason;
  }
  return text;
}

EligibleHosts hosts_of(const ClusterState& state, const std::vector<Bound>& bound) {
  EligibleHosts hosts;
  if (bound.empty()) return hosts;
  for (const auto& [name, declaration] : state.config.nodes) {
    const auto id = node_by_name(state, name);
    NodeState never_seen;
    never_seen.name = name;
    const NodeState& node = id ? state.nodes.at(*id) : never_seen;
    std::string reason = why_not(bound, id.value_or(NodeId()), node, declaration);
    if (reason.empty()) {
      hosts.may.push_back(name);
    } else {
      hosts.others.push_back({name, std::move(reason)});
    }
  }
  return hosts;
}

}  // namespace

EligibleHosts eligible_hosts(const ClusterState& state, const Relations& relations,
                             const VmId& vm) {
  return hosts_of(state, bound_together(state, relations, vm));
}

std::string few_hosts(const ClusterState& state, const Relations& relations, const VmId& vm) {
  if (state.config.nodes.size() < 2) return {};
  const std::vector<Bound> bound = bound_together(state, relations, vm);
  if (bound.empty() || desired(state.vms.at(vm)) == DesiredState::ignored) return {};
  if (has_two(state, bound)) return {};
  const EligibleHosts hosts = hosts_of(state, bound);
  if (hosts.may.size() >= 2) return {};  // some were never seen
  const std::string who = hosts.may.empty() ? "no host" : "only " + hosts.may.front();
  return who + " may run it: " + reasons(hosts.others);
}

std::vector<Finding> few_hosts_of_all(const ClusterState& state) {
  const Relations relations(state.config);
  std::vector<Finding> findings;
  for (const auto& [name, declaration] : state.config.vms) {
    std::string text = few_hosts(state, relations, declaration.domain.uuid);
    if (!text.empty()) findings.push_back({"vms." + name, std::move(text), Severity::warning});
  }
  return findings;
}

}  // namespace clusterd
