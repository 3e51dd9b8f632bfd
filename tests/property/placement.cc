// plan_starts against a second, naive implementation on small random clusters.
//
// The naive one knows nothing of indexes, relations or parties: it holds a plain picture of who
// may be where, and asks every rule of every VM again for every node.
#include <catch2/catch.hpp>
#include <algorithm>
#include <map>
#include <set>

#include "clusterd/base/prng.h"
#include "clusterd/engine/placement.h"
#include "clusterd/engine/queries.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

std::string vm_name(std::uint64_t n) { return "v" + std::to_string(n); }
std::string node_of(std::uint64_t n) { return "n" + std::to_string(n); }

// ---- random clusters -----------------------------------------------------------------------

PlacementRules random_rules(Prng& prng, std::uint64_t nodes, std::uint64_t vms,
                            std::uint64_t self) {
  PlacementRules rules;
  const auto some_node = [&] { return node_of(1 + prng.below(nodes)); };
  const auto other = [&](std::set<std::string>& names) {
    const std::uint64_t vm = prng.below(vms);
    if (vm != self) names.insert(vm_name(vm));
  };
  if (prng.chance(100)) rules.allow = {some_node(), some_node()};
  if (prng.chance(100)) rules.avoid = {some_node()};
  if (prng.chance(250)) other(rules.away_from);
  if (prng.chance(200)) other(rules.together_with);
  if (prng.chance(200)) rules.prefer.nodes = {some_node()};
  if (prng.chance(150)) other(rules.prefer.away_from);
  if (prng.chance(150)) other(rules.prefer.together_with);
  return rules;
}

void break_something(Prng& prng, ClusterBuilder& cluster, const std::string& name) {
  NodeState& node = cluster.node_state(name);
  switch (prng.below(8)) {
    case 0: node.maintenance = true; break;
    case 1: node.settle_until = cluster.state().time + Duration(prng.between(0, 2)); break;
    case 2: cluster.state().view.members.at(cluster.node_id(name)).inventory_done = false; break;
    case 3: node.facts.problem = "down"; break;
    case 4: cluster.lose(name); break;
    case 5: cluster.prove_dead(name); break;
    case 6: cluster.come_back(name); break;
    case 7: cluster.state().config.nodes.erase(name); break;
  }
}

ClusterBuilder random_cluster(Prng& prng) {
  ClusterBuilder cluster;
  const std::uint64_t nodes = 2 + prng.below(4);
  const std::uint64_t vms = 1 + prng.below(9);
  for (std::uint64_t n = 1; n <= nodes; ++n) {
    NodeOptions options;
    options.memory = gib(4 + prng.below(16));
    options.vcpus = static_cast<std::uint32_t>(1 + prng.below(4));
    if (prng.chance(250)) options.role = NodeRole::backup;
    if (prng.chance(700)) options.provides = {"san"};
    cluster.node(node_of(n), options);
    if (prng.chance(80)) cluster.node_declaration(node_of(n)).exclusive = true;
    HostFacts& facts = cluster.node_state(node_of(n)).facts;
    if (prng.chance(350)) facts.virt_type = "kvm";
    if (prng.chance(300)) facts.machines = {"pc-q35-7.2"};
    if (prng.chance(300)) facts.cpu_models = {"qemu64"};
  }
  for (std::uint64_t v = 0; v < vms; ++v) {
    VmOptions options;
    options.memory = gib(1 + prng.below(6));
    options.vcpus = static_cast<std::uint32_t>(1 + prng.below(4));
    options.priority = static_cast<std::uint32_t>(prng.below(3));
    if (prng.chance(300)) options.needs = {"san"};
    options.placement = random_rules(prng, nodes, vms, v);
    if (prng.chance(600)) options.on = node_of(1 + prng.below(nodes));
    cluster.vm(vm_name(v), options);
    DomainFacts& domain = cluster.declaration(vm_name(v)).domain;
    if (prng.chance(350)) domain.virt_type = "kvm";
    domain.machine = prng.chance(700) ? "pc-q35-7.2" : "pc-q35-9.0";
    domain.cpu = {CpuMode::custom, prng.chance(700) ? "qemu64" : "EPYC", "", prng.chance(500)};
    if (prng.chance(50)) cluster.run(vm_name(v), node_of(1 + prng.below(nodes)));
    if (prng.chance(80)) cluster.order(vm_name(v), DesiredState::stopped);
    if (prng.chance(80)) {
      cluster.vm_state(vm_name(v)).failures.avoid_until[NodeId(1)] =
          cluster.state().time + Duration(prng.between(0, 1));
    }
  }
  for (std::uint64_t n = 1; n <= nodes; ++n) {
    if (prng.chance(350)) break_something(prng, cluster, node_of(n));
  }
  cluster.settings([&](ClusterSettings& s) {
    s.parallel_starts_per_node = static_cast<std::uint32_t>(1 + prng.below(4));
  });
  return cluster;
}

std::vector<StartDemand> random_demands(Prng& prng, const ClusterState& state) {
  std::vector<StartDemand> demands;
  for (const auto& [id, vm] : state.vms) {
    if (!vm.holders.empty() || !should_run(vm) || prng.chance(150)) continue;
    StartDemand demand{id, vm.next_cause, std::nullopt, ""};
    if (prng.chance(100)) demand.hold = "held";
    demands.push_back(demand);
  }
  return demands;
}

// ---- the naive second opinion --------------------------------------------------------------

class Oracle {
 public:
  explicit Oracle(const ClusterState& state) : state_(state) {
    for (const auto& [id, vm] : state.vms) {
      for (const auto& [host, sighting] : vm.holders) {
        const NodeState& node = state.nodes.at(host.node);
        if (node.dead.count(host.boot) != 0) continue;
        may_be_[id].insert(host.node);
        if (!node.loss) stays_[id].insert(host.node);
      }
    }
  }

  // Taken only when no other node fits.
  bool last_resort(const std::set<VmId>& vms, NodeId node) const {
    return std::any_of(vms.begin(), vms.end(), [&](const VmId& vm) {
      const auto& failures = state_.vms.at(vm).failures.avoid_until;
      return failures.count(node) != 0 && failures.at(node) > state_.time;
    });
  }

  void put(const VmId& vm, NodeId node) {
    may_be_[vm].insert(node);
    stays_[vm] = {node};
  }

  // True if all of them may start on the node together.
  bool fits(const std::set<VmId>& vms, NodeId node) const {
    if (!takes_vms(node)) return false;
    auto after = may_be_;
    for (const VmId& vm : vms) after[vm].insert(node);
    std::uint64_t memory = 0;
    std::uint64_t vcpus = 0;
    for (const auto& [vm, where] : after) {
      if (where.count(node) == 0) continue;
      memory += state_.vms.at(vm).size.memory;
      vcpus += state_.vms.at(vm).size.vcpus;
    }
    const Resources& total = state_.nodes.at(node).facts.total;
    if (memory > total.memory || vcpus > 4ULL * total.vcpus) return false;
    return std::all_of(vms.begin(), vms.end(),
                       [&](const VmId& vm) { return rules_hold(vm, node, after, vms); });
  }

  // Everybody bound to this VM, by asking all pairs until nothing new is found.
  std::set<VmId> group(const VmId& vm) const {
    std::set<VmId> group{vm};
    for (std::size_t before = 0; before != group.size();) {
      before = group.size();
      for (const auto& [a, ignored_a] : state_.vms) {
        for (const auto& [b, ignored_b] : state_.vms) {
          if (group.count(a) != 0 && bound(a, b)) group.insert(b);
        }
      }
    }
    return group;
  }

  bool stays_somewhere(const VmId& vm) const {
    const auto found = stays_.find(vm);
    return found != stays_.end() && !found->second.empty();
  }

 private:
  const PlacementRules& rules(const VmId& vm) const {
    return *state_.config.vms.at(state_.vms.at(vm).name).policy.placement;
  }
  bool names(const std::set<std::string>& names, const VmId& vm) const {
    return names.count(state_.vms.at(vm).name) != 0;
  }
  bool bound(const VmId& a, const VmId& b) const {
    return names(rules(a).together_with, b) || names(rules(b).together_with, a);
  }

  bool takes_vms(NodeId id) const {
    const NodeState& node = state_.nodes.at(id);
    const auto member = state_.view.members.find(id);
    return member != state_.view.members.end() && member->second.inventory_done &&
           !node.maintenance && node.facts.problem.empty() && node.settle_until <= state_.time &&
           state_.config.nodes.count(node.name) != 0;
  }

  // Only what the host has said, about domains of this type.
  static bool host_has(const HostFacts& facts, const DomainFacts& domain) {
    if (facts.virt_type != "kvm" || domain.virt_type != "kvm") return true;
    const bool machine = facts.machines.empty() || facts.machines.count(domain.machine) == 1;
    const bool cpu = facts.cpu_models.empty() || facts.cpu_models.count(domain.cpu.model) == 1;
    return machine && (cpu || !domain.cpu.checked);
  }

  bool rules_hold(const VmId& vm, NodeId id, const std::map<VmId, std::set<NodeId>>& after,
                  const std::set<VmId>& moving) const {
    const std::string& name = state_.nodes.at(id).name;
    const PlacementRules& own = rules(vm);
    const auto& needs = *state_.config.vms.at(state_.vms.at(vm).name).policy.requires_;
    const auto& provides = state_.config.nodes.at(name).provides;
    if (!std::includes(provides.begin(), provides.end(), needs.begin(), needs.end())) return false;
    if (!own.allow.empty() && own.allow.count(name) == 0) return false;
    if (own.avoid.count(name) != 0) return false;
    if (state_.config.nodes.at(name).exclusive && own.allow.count(name) == 0) return false;
    if (!host_has(state_.nodes.at(id).facts, state_.config.vms.at(state_.vms.at(vm).name).domain)) {
      return false;
    }
    for (const auto& [other, where] : after) {
      const bool apart = names(own.away_from, other) || names(rules(other).away_from, vm);
      if (apart && where.count(id) != 0) return false;
    }
    for (const VmId& other : group(vm)) {
      if (other == vm || moving.count(other) != 0 || !stays_somewhere(other)) continue;
      if (stays_.at(other).count(id) == 0) return false;
    }
    return true;
  }

  const ClusterState& state_;
  std::map<VmId, std::set<NodeId>> may_be_;
  std::map<VmId, std::set<NodeId>> stays_;
};

std::optional<NodeId> place_of(const Placement& placement) {
  if (const auto* chosen = std::get_if<Chosen>(&placement.result)) return chosen->node;
  if (const auto* waits = std::get_if<Waits>(&placement.result)) return waits->node;
  return std::nullopt;
}

// Follows the plan step by step: each place is allowed, and where there is none there was none.
void check_plan(const ClusterState& state, const std::vector<Placement>& plan) {
  Oracle oracle(state);
  std::map<VmId, std::optional<NodeId>> answers;
  for (const Placement& placement : plan) {
    REQUIRE(answers.emplace(placement.vm, place_of(placement)).second);
  }
  const Oracle before = oracle;
  std::set<VmId> settled;
  for (const Placement& placement : plan) {
    if (settled.count(placement.vm) != 0) continue;
    std::set<VmId> moving{placement.vm};
    const std::set<VmId> group = oracle.group(placement.vm);
    const bool anchored = std::any_of(group.begin(), group.end(),
                                      [&](const VmId& vm) { return before.stays_somewhere(vm); });
    if (!anchored) {
      for (const VmId& vm : group) {
        if (should_run(state.vms.at(vm))) moving.insert(vm);
      }
    }
    const auto node = answers.at(placement.vm);
    if (node) {
      REQUIRE(oracle.fits(moving, *node));
      for (const auto& [id, ignored] : state.nodes) {
        // With several VMs to place, one may have to go there so that all have a place.
        if (!oracle.last_resort(moving, *node) || moving.size() != plan.size()) break;
        REQUIRE((oracle.last_resort(moving, id) || !oracle.fits(moving, id)));
      }
      for (const VmId& vm : moving) oracle.put(vm, *node);
    } else {
      for (const auto& [id, ignored] : state.nodes) REQUIRE_FALSE(oracle.fits(moving, id));
    }
    for (const VmId& vm : moving) {
      if (answers.count(vm) != 0) REQUIRE(answers.at(vm) == node);
      settled.insert(vm);
    }
  }
}

void check_complete(const ClusterState& state, const std::vector<StartDemand>& demands,
                    const std::vector<Placement>& plan) {
  std::set<VmId> expected;
  for (const StartDemand& demand : demands) expected.insert(demand.vm);
  for (const auto& [id, vm] : state.vms) {
    std::size_t lost = 0;
    std::size_t alive = 0;
    for (const auto& [host, sighting] : vm.holders) {
      const NodeState& node = state.nodes.at(host.node);
      if (node.dead.count(host.boot) == 0) ++(node.loss ? lost : alive);
    }
    if (lost > 0 && alive == 0 && should_run(vm)) expected.insert(id);
  }
  std::set<VmId> answered;
  for (const Placement& placement : plan) answered.insert(placement.vm);
  REQUIRE(answered == expected);
}

void check_starts(const ClusterState& state, const std::vector<StartDemand>& demands,
                  const std::vector<Placement>& plan) {
  std::map<NodeId, std::uint32_t> starts;
  for (const Placement& placement : plan) {
    const auto* chosen = std::get_if<Chosen>(&placement.result);
    if (chosen == nullptr) continue;
    REQUIRE(++starts[chosen->node] <= *state.config.cluster.parallel_starts_per_node);
    REQUIRE_FALSE(refuses(state, placement.vm, chosen->node, state.time));
    REQUIRE(std::any_of(demands.begin(), demands.end(), [&](const StartDemand& demand) {
      return demand.vm == placement.vm && demand.hold.empty();
    }));
  }
}

template <class T>
void shuffle(Prng& prng, std::vector<T>& items) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[prng.below(i)]);
}

}  // namespace

TEST_CASE("placement property: every plan is allowed, complete and independent of input order") {
  constexpr std::uint64_t kClusters = 3000;
  std::uint64_t placed = 0;
  std::uint64_t refused = 0;
  for (std::uint64_t seed = 1; seed <= kClusters; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    const ClusterState state = random_cluster(prng).build();
    std::vector<StartDemand> demands = random_demands(prng, state);
    const std::vector<Placement> plan = plan_starts(state, demands, state.time);
    check_complete(state, demands, plan);
    check_plan(state, plan);
    check_starts(state, demands, plan);
    shuffle(prng, demands);
    REQUIRE(plan_starts(state, demands, state.time) == plan);
    for (const Placement& placement : plan) ++(place_of(placement) ? placed : refused);
  }
  // A generator that only makes easy or only impossible clusters would prove nothing.
  CHECK(placed > kClusters);
  CHECK(refused > kClusters / 4);
}

TEST_CASE("placement property: n4 takes over any one, two or three of three hosts, proven or not") {
  for (unsigned lost = 1; lost < 8; ++lost) {
    for (unsigned proven = 0; proven < 8; ++proven) {
      if ((proven & ~lost) != 0) continue;
      CAPTURE(lost, proven);
      ClusterBuilder cluster;
      for (unsigned n = 0; n < 3; ++n) cluster.node(node_of(n + 1), {.memory = gib(16)});
      cluster.backup("n4", {.memory = gib(36)});
      for (unsigned v = 0; v < 9; ++v) cluster.vm(vm_name(v), {.on = node_of(v / 3 + 1)});
      for (unsigned n = 0; n < 3; ++n) {
        if ((proven >> n & 1U) != 0) {
          cluster.prove_dead(node_of(n + 1));
        } else if ((lost >> n & 1U) != 0) {
          cluster.lose(node_of(n + 1));
        }
      }
      const ClusterState state = cluster.build();
      std::vector<StartDemand> demands;
      for (const auto& [id, vm] : state.vms) {
        if (vm.holders.empty()) demands.push_back({id, vm.next_cause, std::nullopt, ""});
      }
      const std::vector<Placement> plan = plan_starts(state, demands, state.time);
      for (const Placement& placement : plan) REQUIRE(place_of(placement) == NodeId(4));
      const auto starts = std::count_if(plan.begin(), plan.end(), [](const Placement& p) {
        return std::holds_alternative<Chosen>(p.result);
      });
      REQUIRE(static_cast<std::size_t>(starts) == demands.size());
      check_complete(state, demands, plan);
      check_plan(state, plan);
    }
  }
}
