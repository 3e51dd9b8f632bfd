#include <catch2/catch.hpp>
#include <map>

#include "clusterd/engine/placement.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

VmOptions bound_to(std::set<std::string> others, std::uint64_t memory = gib(4)) {
  VmOptions options;
  options.memory = memory;
  options.placement.together_with = std::move(others);
  return options;
}

std::vector<StartDemand> demands_of(const ClusterBuilder& cluster,
                                    const std::vector<std::string>& vms, Cause cause) {
  std::vector<StartDemand> demands;
  for (const std::string& vm : vms) {
    demands.push_back({cluster.vm_id(vm), cause, std::nullopt, ""});
  }
  return demands;
}

// Chosen nodes by VM name; VMs without a place are missing.
std::map<std::string, std::string> places(const ClusterState& state,
                                          const std::vector<StartDemand>& demands) {
  std::map<std::string, std::string> result;
  for (const Placement& placement : plan_starts(state, demands, state.time)) {
    const std::string& name = state.vms.at(placement.vm).name;
    if (const auto* chosen = std::get_if<Chosen>(&placement.result)) {
      result[name] = state.nodes.at(chosen->node).name;
    }
  }
  return result;
}

using Places = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("groups: a group goes to one node that fits all of it") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = gib(7)});
  cluster.node("n2", {.memory = gib(12)});
  cluster.vm("a", bound_to({"b"})).vm("b").vm("c", bound_to({"b"}));
  CHECK(places(cluster.build(), demands_of(cluster, {"a", "b", "c"}, Cause::desired)) ==
        Places{{"a", "n2"}, {"b", "n2"}, {"c", "n2"}});
}

TEST_CASE("groups: a group that fits nowhere as a whole starts nowhere, and says why") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = gib(7)});
  cluster.vm("a", bound_to({"b"})).vm("b");
  const ClusterState state = cluster.build();
  const auto plan = plan_starts(state, demands_of(cluster, {"a", "b"}, Cause::desired), {});
  REQUIRE(plan.size() == 2);
  for (const Placement& placement : plan) {
    const auto& none = std::get<NoCandidate>(placement.result);
    REQUIRE(none.excluded.size() == 1);
    CHECK(sentence(none.excluded[0]) ==
          "memory: needs 8 GiB for the 2 VMs of its group, 7 GiB free");
  }
}

TEST_CASE("groups: members that cannot start yet have their room kept") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = gib(10)});
  cluster.node("n2", {.memory = gib(10)});
  cluster.vm("a", bound_to({"b"}, gib(5))).vm("b", {.memory = gib(5)});
  VmOptions other{.memory = gib(5), .priority = 1};
  other.placement.prefer.nodes = {"n1"};
  cluster.vm("other", other);
  CHECK(places(cluster.build(), demands_of(cluster, {"a", "other"}, Cause::desired)) ==
        Places{{"a", "n1"}, {"other", "n2"}});
  SECTION("but not for members that nobody wants running") {
    cluster.order("b", DesiredState::stopped);
    CHECK(places(cluster.build(), demands_of(cluster, {"a", "other"}, Cause::desired)) ==
          Places{{"a", "n1"}, {"other", "n1"}});
  }
}

TEST_CASE("groups: further members follow the one that runs") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").node("n3");
  cluster.vm("a", {.on = "n2"}).vm("b", bound_to({"a"})).vm("c", bound_to({"b"}));
  CHECK(places(cluster.build(), demands_of(cluster, {"b", "c"}, Cause::desired)) ==
        Places{{"b", "n2"}, {"c", "n2"}});
  SECTION("one by one, as far as they fit") {
    cluster.node_state("n2").facts.total.memory = gib(8);
    CHECK(places(cluster.build(), demands_of(cluster, {"b", "c"}, Cause::desired)) ==
          Places{{"b", "n2"}});
  }
}

TEST_CASE("groups: recovery moves the group as one, past a backup node too small for it") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2");
  cluster.backup("n3", {.memory = gib(6)});
  cluster.vm("a", bound_to({"b"})).vm("b").vm("single");
  for (const char* vm : {"a", "b", "single"}) cluster.run(vm, "n1");
  cluster.prove_dead("n1");
  CHECK(places(cluster.build(), demands_of(cluster, {"a", "b", "single"}, Cause::host_lost)) ==
        Places{{"a", "n2"}, {"b", "n2"}, {"single", "n3"}});
}

TEST_CASE("groups: a member of a lost host is no anchor; both are placed as one") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").backup("n3");
  cluster.vm("a", bound_to({"b"})).vm("b").run("b", "n1").lose("n1");
  const ClusterState state = cluster.build();
  const auto plan = plan_starts(state, demands_of(cluster, {"a"}, Cause::host_lost), state.time);
  REQUIRE(plan.size() == 2);
  CHECK(std::get<Chosen>(plan[0].result).node == NodeId(3));
  CHECK(std::get<Waits>(plan[1].result).node == NodeId(3));
}

TEST_CASE("groups: together_with and away_from of the same VMs fit nowhere") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2");
  VmOptions torn = bound_to({"b"});
  torn.placement.away_from = {"b"};
  cluster.vm("a", torn).vm("b");
  CHECK(places(cluster.build(), demands_of(cluster, {"a", "b"}, Cause::desired)).empty());
}

TEST_CASE("groups: VMs kept apart land on different nodes in one plan") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2");
  VmOptions apart;
  apart.placement.away_from = {"a"};
  cluster.vm("a").vm("b", apart).vm("c", apart);
  const auto result = places(cluster.build(), demands_of(cluster, {"a", "b", "c"}, Cause::desired));
  CHECK(result == Places{{"a", "n1"}, {"b", "n2"}, {"c", "n2"}});
}
