// Moves are valid, pay, and do not swing: on random clusters, in whatever order they come.
#include "clusterd/engine/rebalance.h"

#include <catch2/catch.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "clusterd/base/prng.h"
#include "clusterd/engine/constraints.h"
#include "clusterd/engine/queries.h"
#include "tests/support/cases.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

std::string numbered(const char* letter, std::uint64_t n) { return letter + std::to_string(n); }

PlacementRules random_rules(Prng& prng, std::uint64_t nodes, std::uint64_t vms) {
  PlacementRules rules;
  if (prng.chance(150)) rules.prefer.nodes = {numbered("n", 1 + prng.below(nodes))};
  if (prng.chance(150)) rules.prefer.away_from = {numbered("v", prng.below(vms))};
  if (prng.chance(100)) rules.prefer.together_with = {numbered("v", prng.below(vms))};
  if (prng.chance(150)) rules.away_from = {numbered("v", prng.below(vms))};
  if (prng.chance(100)) rules.avoid = {numbered("n", 1 + prng.below(nodes))};
  return rules;
}

// Everything runs; how full the hosts are differs widely.
ClusterBuilder random_cluster(Prng& prng) {
  ClusterBuilder cluster;
  const std::uint64_t nodes = 2 + prng.below(4);
  const std::uint64_t vms = 1 + prng.below(14);
  for (std::uint64_t n = 1; n <= nodes; ++n) {
    NodeOptions options;
    options.memory = gib(24 + prng.below(64));
    if (prng.chance(200)) options.role = NodeRole::backup;
    cluster.node(numbered("n", n), options);
    if (prng.chance(80)) cluster.node_declaration(numbered("n", n)).exclusive = true;
    if (prng.chance(80)) cluster.node_state(numbered("n", n)).maintenance = true;
  }
  const std::uint64_t favourite = 1 + prng.below(nodes);
  for (std::uint64_t v = 0; v < vms; ++v) {
    VmOptions options;
    options.memory = gib(1 + prng.below(10));
    options.vcpus = static_cast<std::uint32_t>(1 + prng.below(8));
    options.placement = random_rules(prng, nodes, vms);
    options.preemptible = prng.chance(200);
    options.on = numbered("n", prng.chance(500) ? favourite : 1 + prng.below(nodes));
    cluster.vm(numbered("v", v), options);
  }
  cluster.settings([&](ClusterSettings& s) {
    s.reserve_host_failures = static_cast<std::uint32_t>(prng.below(2));
  });
  return cluster;
}

void make(ClusterState& state, const MoveVm& move) {
  VmState& vm = state.vms.at(move.vm);
  const Sighting sighting = vm.holders.begin()->second;
  vm.holders = {{Host{move.to, state.view.members.at(move.to).boot}, sighting}};
}

std::vector<NodeId> layout(const ClusterState& state) {
  std::vector<NodeId> nodes;
  for (const auto& [id, vm] : state.vms) nodes.push_back(vm.holders.begin()->first.node);
  return nodes;
}

TEST_CASE("plan after plan comes to an end, and never round in circles", "[property][rebalance]") {
  const std::uint64_t count = cases(1000);
  std::uint64_t moved = 0;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    ClusterState state = random_cluster(prng).build();
    const std::uint32_t tolerated = reserve_of(state, state.time).tolerated;
    RebalanceRules rules;
    rules.most_moves = 1 + static_cast<std::size_t>(prng.below(6));
    rules.threshold = static_cast<std::uint32_t>(prng.below(4)) * 100'000;

    // Plan after plan, as an executor would have it: never twice the same layout, so never round
    // in circles, and no VM twice in one plan.
    std::set<std::vector<NodeId>> layouts{layout(state)};
    ClusterState before_last;
    std::optional<MoveVm> last;
    std::size_t rounds = 0;
    for (;; ++rounds) {
      REQUIRE(rounds < 200);
      const Rebalance plan = rebalance(state, state.time, rules);
      REQUIRE(plan == rebalance(state, state.time, rules));
      if (plan.moves.empty()) break;
      REQUIRE(plan.moves.size() <= rules.most_moves);
      std::set<VmId> moving;
      for (const ProposedMove& one : plan.moves) {
        REQUIRE(moving.insert(one.move.vm).second);
        const VmState& vm = state.vms.at(one.move.vm);
        REQUIRE(active_on(vm)->node == one.move.from);
        // The guard of apply is asked as if it started there, with nothing left behind.
        ClusterState without = state;
        without.vms.at(one.move.vm).holders.clear();
        const auto no = refuses(without, one.move.vm, one.move.to, state.time);
        CAPTURE(no ? sentence(*no) : "");
        REQUIRE_FALSE(no);
        before_last = state;
        last = one.move;
        make(state, one.move);
        REQUIRE(layouts.insert(layout(state)).second);
        REQUIRE(reserve_of(state, state.time).tolerated >= tolerated);
        ++moved;
      }
    }

    // Where one move has just paid, a little more or less in use does not pay for the way back.
    ClusterState later = before_last;
    if (!last) continue;
    make(later, *last);
    for (auto& [id, vm] : later.vms) vm.size.memory += gib(1) / 8;
    rules.most_moves = 1;
    for (const ProposedMove& one : rebalance(later, later.time, rules).moves) {
      CHECK_FALSE(one.move == MoveVm{last->vm, last->to, last->from});
    }
  }
  // Else nothing was tested.
  CHECK(moved > count / 4);
}

}  // namespace
