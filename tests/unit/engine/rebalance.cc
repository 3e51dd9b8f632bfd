#include "clusterd/engine/rebalance.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "clusterd/engine/queries.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

constexpr Duration kMinute{60000};

// "a n1>n2 load", one move a line.
std::vector<std::string> moves_of(const ClusterBuilder& cluster, const RebalanceRules& rules = {}) {
  const ClusterState state = cluster.build();
  std::vector<std::string> lines;
  for (const ProposedMove& one : rebalance(state, state.time, rules).moves) {
    lines.push_back(state.vms.at(one.move.vm).name + " " + node_name(state, one.move.from) + ">" +
                    node_name(state, one.move.to) + " " + std::string(name_of(one.why)));
  }
  return lines;
}

using Lines = std::vector<std::string>;

ClusterBuilder two_hosts() {
  ClusterBuilder cluster;
  cluster.node("n1").node("n2");
  return cluster;
}

TEST_CASE("a full host gives to an empty one, and no more than evens them", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  for (const char* name : {"a", "b", "c", "d"}) cluster.vm(name, {.on = "n1", .memory = gib(8)});
  CHECK(moves_of(cluster) == Lines{"a n1>n2 load", "b n1>n2 load"});

  const ClusterState state = cluster.build();
  const Rebalance result = rebalance(state, state.time);
  CHECK(result.spread_before == 500'000);
  CHECK(result.spread_after == 0);
}

TEST_CASE("a small difference moves nobody", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  // 12 of 64 GiB: less than the threshold of a fifth.
  for (const char* name : {"a", "b", "c"}) cluster.vm(name, {.on = "n1", .memory = gib(4)});
  CHECK(moves_of(cluster).empty());
  CHECK(moves_of(cluster, {.threshold = 100'000}) == Lines{"a n1>n2 load"});
}

TEST_CASE("a move that only swaps the roles does not pay", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  cluster.vm("big", {.on = "n1", .memory = gib(40)});
  CHECK(moves_of(cluster).empty());
}

TEST_CASE("vCPUs are load, too", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  cluster.settings([](ClusterSettings& settings) { settings.overcommit.vcpus = 1000; });
  for (const char* name : {"a", "b"}) {
    cluster.vm(name, {.on = "n1", .memory = gib(1), .vcpus = 12});
  }
  CHECK(moves_of(cluster) == Lines{"a n1>n2 load"});
}

TEST_CASE("a broken wish is worth a move, however even the load", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  PlacementRules rules;
  rules.prefer.nodes = {"n2"};
  cluster.vm("a", {.on = "n1", .placement = rules});
  CHECK(moves_of(cluster) == Lines{"a n1>n2 wish"});

  ClusterBuilder apart = two_hosts();
  PlacementRules away;
  away.prefer.away_from = {"b"};
  apart.vm("a", {.on = "n1", .placement = away}).vm("b", {.on = "n1"});
  CHECK(moves_of(apart) == Lines{"a n1>n2 wish"});
}

TEST_CASE("backup nodes are emptied, unless a VM wants to be there", "[rebalance]") {
  ClusterBuilder cluster;
  cluster.node("n1").node("n2").backup("n3");
  PlacementRules rules;
  rules.prefer.nodes = {"n3"};
  cluster.vm("a", {.on = "n3"}).vm("b", {.on = "n3", .placement = rules}).vm("c", {.on = "n1"});
  CHECK(moves_of(cluster) == Lines{"a n3>n2 backup"});
}

TEST_CASE("who cannot be moved stays", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  for (const char* name : {"a", "b", "c", "d"}) cluster.vm(name, {.on = "n1", .memory = gib(8)});

  SECTION("migration: never") {
    cluster.declaration("a").policy.migration = MigrationPolicy::never;
    CHECK(moves_of(cluster) == Lines{"b n1>n2 load", "c n1>n2 load"});
  }
  SECTION("an operation is open on it") {
    cluster.vm_state("a").operation.emplace();
    CHECK(moves_of(cluster) == Lines{"b n1>n2 load", "c n1>n2 load"});
  }
  SECTION("paused") {
    cluster.vm_state("a").holders.begin()->second.state = DomainState::paused;
    CHECK(moves_of(cluster) == Lines{"b n1>n2 load", "c n1>n2 load"});
  }
  SECTION("not wanted") {
    cluster.order("a", DesiredState::stopped);
    CHECK(moves_of(cluster) == Lines{"b n1>n2 load", "c n1>n2 load"});
  }
  SECTION("perhaps somewhere else, too") {
    cluster.run("a", "n2");
    CHECK(moves_of(cluster) == Lines{"b n1>n2 load"});
  }
  SECTION("bound to another one") {
    cluster.declaration("a").policy.placement.emplace().together_with = {"b"};
    CHECK(moves_of(cluster) == Lines{"c n1>n2 load", "d n1>n2 load"});
  }
}

TEST_CASE("a move breaks no hard rule", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  for (const char* name : {"a", "b", "c"}) cluster.vm(name, {.on = "n1", .memory = gib(8)});

  SECTION("the CPUs differ") {
    HostFacts& one = cluster.node_state("n1").facts;
    HostFacts& two = cluster.node_state("n2").facts;
    one.cpu_model = two.cpu_model = "EPYC";
    one.cpu_features = two.cpu_features = Digest(1);
    CHECK(moves_of(cluster) == Lines{"a n1>n2 load"});
    two.cpu_features = Digest(2);
    CHECK(moves_of(cluster).empty());
  }
  SECTION("the node takes nothing") {
    cluster.node_state("n2").maintenance = true;
    CHECK(moves_of(cluster).empty());
  }
  SECTION("the node is in quarantine") {
    const ClusterTime now = cluster.state().time;
    cluster.node_state("n2").unclean_exits = {now, now, now};
    CHECK(moves_of(cluster).empty());
  }
  SECTION("it failed there") {
    cluster.vm_state("a").failures.avoid_until[cluster.node_id("n2")] =
        cluster.state().time + kMinute;
    CHECK(moves_of(cluster) == Lines{"b n1>n2 load"});
  }
  SECTION("away_from, of the one who is there and of the one who has just been moved") {
    PlacementRules away;
    away.away_from = {"a", "b", "c"};
    cluster.vm("enemy", {.on = "n2", .memory = gib(1), .placement = away});
    CHECK(moves_of(cluster).empty());
  }
}

TEST_CASE("the reserve is not given away", "[rebalance]") {
  ClusterBuilder cluster;
  cluster.node("n1", {.memory = gib(68)}).node("n2", {.memory = gib(64)});
  cluster.node("n3", {.memory = gib(40)});
  // If n1 is lost, only n2 has room for `big`, and only as long as it is empty.
  cluster.vm("big", {.on = "n1", .memory = gib(60)}).vm("small", {.on = "n1", .memory = gib(8)});
  cluster.declaration("big").policy.migration = MigrationPolicy::never;
  CHECK(reserve_of(cluster.build(), cluster.state().time).tolerated == 1);
  CHECK(moves_of(cluster) == Lines{"small n1>n3 load"});
  // Without `big` nothing stands against the emptier host.
  cluster.order("big", DesiredState::stopped);
  CHECK(moves_of(cluster) == Lines{"small n1>n2 load"});
}

TEST_CASE("nothing is moved while a host is lost or nothing may start", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  cluster.node("n3");
  for (const char* name : {"a", "b", "c", "d"}) cluster.vm(name, {.on = "n1", .memory = gib(8)});
  CHECK_FALSE(moves_of(cluster).empty());
  SECTION("lost") { cluster.lose("n3"); }
  SECTION("disarmed") { cluster.state().armed = false; }
  CHECK(moves_of(cluster).empty());
}

TEST_CASE("at most so many moves", "[rebalance]") {
  ClusterBuilder cluster = two_hosts();
  for (const char* name : {"a", "b", "c", "d"}) cluster.vm(name, {.on = "n1", .memory = gib(8)});
  CHECK(moves_of(cluster, {.most_moves = 1}) == Lines{"a n1>n2 load"});
}

}  // namespace
