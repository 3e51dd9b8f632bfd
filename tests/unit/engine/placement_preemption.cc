// plan_starts when one after the other does not do: the exact search, preemption, degraded mode.
#include <catch2/catch.hpp>
#include <map>

#include "clusterd/engine/apply.h"
#include "clusterd/engine/planner.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

// "n4", "n4 after ci1 ci2", "n4 later", "nowhere" for every VM that the plan speaks of.
std::map<std::string, std::string> places(const ClusterState& state) {
  std::map<std::string, std::string> words;
  const auto node_name = [&](NodeId id) { return state.nodes.at(id).name; };
  for (const Placement& placement : plan_vms(state, state.time).placements) {
    std::string& text = words[state.vms.at(placement.vm).name];
    if (const auto* chosen = std::get_if<Chosen>(&placement.result)) {
      text = node_name(chosen->node);
    } else if (const auto* waits = std::get_if<Waits>(&placement.result)) {
      text = node_name(waits->node) + (waits->kind == WaitKind::preemption ? " after" : " later");
      for (const VmId& vm : waits->preempts) text += " " + state.vms.at(vm).name;
    } else {
      text = "nowhere";
    }
  }
  return words;
}

std::vector<std::string> preempted(const ClusterState& state) {
  std::vector<std::string> names;
  for (const Body& intent : plan_vms(state, state.time).intents) {
    const auto* stop = std::get_if<StopVm>(&intent);
    if (stop == nullptr) continue;
    CHECK(stop->cause == Cause::preempted);
    names.push_back(state.vms.at(stop->vm).name);
  }
  return names;
}

std::string say(ClusterState& state, const Body& body) {
  const LogEntry entry{NodeId(2), {state.position.epoch, Incarnation(2), state.time, body}, {}};
  return apply(state, entry).refusal;
}

using Places = std::map<std::string, std::string>;

PlacementRules apart_from(const std::string& vm) {
  PlacementRules rules;
  rules.away_from = {vm};
  return rules;
}

PlacementRules bound_to(const std::string& vm) {
  PlacementRules rules;
  rules.together_with = {vm};
  return rules;
}

// n1 is dead; its VMs need a place on n2 and n3.
ClusterBuilder two_survivors(std::uint64_t on_n2, std::uint64_t on_n3) {
  ClusterBuilder cluster;
  cluster.node("n1").node("n2", {.memory = gib(on_n2)}).node("n3", {.memory = gib(on_n3)});
  return cluster;
}

}  // namespace

TEST_CASE("placement: free 6 and 5 take VMs of 5, 3 and 3") {
  ClusterBuilder cluster = two_survivors(6, 5);
  cluster.vm("big", {.on = "n1", .memory = gib(5)});
  cluster.vm("small1", {.on = "n1", .memory = gib(3)}).vm("small2", {.on = "n1", .memory = gib(3)});
  cluster.prove_dead("n1");
  CHECK(places(cluster.build()) == Places{{"big", "n3"}, {"small1", "n2"}, {"small2", "n2"}});
}

TEST_CASE("placement: who comes first has a place before all fit") {
  ClusterBuilder cluster = two_survivors(6, 5);
  cluster.vm("first", {.on = "n1", .memory = gib(5), .priority = 900});
  cluster.vm("second", {.on = "n1", .memory = gib(6), .priority = 800});
  cluster.vm("third", {.on = "n1", .memory = gib(5), .priority = 700});
  cluster.prove_dead("n1");
  CHECK(places(cluster.build()) == Places{{"first", "n3"}, {"second", "n2"}, {"third", "nowhere"}});
}

TEST_CASE("preemption: the fewest leave, then the least important, then the smallest") {
  ClusterBuilder cluster = two_survivors(12, 12);
  cluster.vm("web", {.on = "n1", .memory = gib(4)});
  cluster.vm("ci1", {.on = "n2", .memory = gib(2), .preemptible = true});
  cluster.vm("ci2", {.on = "n2", .memory = gib(2), .preemptible = true});
  cluster.vm("ci3", {.on = "n2", .memory = gib(4), .preemptible = true});
  cluster.vm("db", {.on = "n2", .memory = gib(4)});
  cluster.vm("db2", {.on = "n3", .memory = gib(10)});
  cluster.prove_dead("n1");
  SECTION("one large one instead of two small ones") {
    const ClusterState state = cluster.build();
    CHECK(places(state) == Places{{"web", "n2 after ci3"}});
    CHECK(preempted(state) == std::vector<std::string>{"ci3"});
  }
  SECTION("the least important") {
    cluster.vm_state("ci1").size.memory = gib(4);
    cluster.vm_state("ci2").size.memory = 0;
    cluster.declaration("ci3").policy.priority = 501;
    CHECK(preempted(cluster.build()) == std::vector<std::string>{"ci1"});
  }
  SECTION("nobody, while its host is not proven dead") {
    cluster.come_back("n1").lose("n1").run("web", "n1");
    CHECK(places(cluster.build()) == Places{{"web", "n2 later"}});
    CHECK(preempted(cluster.build()).empty());
  }
}

TEST_CASE("preemption: what leaves already makes room for one need, not for two") {
  ClusterBuilder cluster = two_survivors(8, 1);
  cluster.vm("web", {.on = "n1", .memory = gib(4)});
  cluster.vm("ci1", {.on = "n2", .memory = gib(4), .preemptible = true});
  cluster.vm("ci2", {.on = "n2", .memory = gib(4), .preemptible = true});
  cluster.prove_dead("n1");
  ClusterState state = cluster.build();
  REQUIRE(preempted(state) == std::vector<std::string>{"ci1"});
  const StopVm stop{cluster.vm_id("ci1"), Generation(0), cluster.host("n2"), Cause::preempted};
  REQUIRE(say(state, stop) == "");
  CHECK(places(state) == Places{{"web", "n2 after"}});
  CHECK(preempted(state).empty());

  SECTION("when it is gone the VM starts, and it waits for room") {
    const OpId op = state.vms.at(stop.vm).operation->id;
    REQUIRE(say(state, VmClosed{op, stop.vm, Outcome::done, DomainState::absent, ""}) == "");
    CHECK(places(state) == Places{{"web", "n2"}, {"ci1", "nowhere"}});
    CHECK(state.vms.at(stop.vm).next_cause == Cause::preempted);
  }
  SECTION("if it cannot be stopped, another one goes") {
    const OpId op = state.vms.at(stop.vm).operation->id;
    const VmClosed failed{op, stop.vm, Outcome::failed_without_effect, DomainState::running,
                          "hangs"};
    REQUIRE(say(state, failed) == "");
    CHECK(preempted(state) == std::vector<std::string>{"ci2"});
  }
}

TEST_CASE("preemption: a VM that keeps away from a guaranteed one leaves although there is room") {
  ClusterBuilder cluster = two_survivors(32, 1);
  cluster.vm("web", {.on = "n1", .memory = gib(4), .placement = apart_from("ci")});
  cluster.vm("ci", {.on = "n2", .memory = gib(4), .preemptible = true});
  cluster.prove_dead("n1");
  CHECK(places(cluster.build()) == Places{{"web", "n2 after ci"}});
}

TEST_CASE("preemption: preemptible VMs take what is left, and push nobody away") {
  ClusterBuilder cluster = two_survivors(8, 1);
  cluster.vm("ci", {.on = "n1", .memory = gib(4), .priority = 900, .preemptible = true});
  cluster.vm("web", {.on = "n1", .memory = gib(8), .priority = 1});
  cluster.prove_dead("n1");
  CHECK(places(cluster.build()) == Places{{"web", "n2"}, {"ci", "nowhere"}});
  CHECK(preempted(cluster.build()).empty());
}

TEST_CASE("preemption: a group with one guaranteed member is guaranteed") {
  ClusterBuilder cluster = two_survivors(8, 1);
  cluster.vm("web", {.on = "n1", .memory = gib(8)});
  cluster.vm("db", {.on = "n2", .memory = gib(4)});
  cluster.vm("cache",
             {.on = "n2", .memory = gib(4), .placement = bound_to("db"), .preemptible = true});
  cluster.prove_dead("n1");
  CHECK(places(cluster.build()) == Places{{"web", "nowhere"}});
}

TEST_CASE("preemption: apply refuses it for a VM that is not preemptible") {
  ClusterBuilder cluster = two_survivors(8, 8);
  cluster.vm("web", {.on = "n2"});
  ClusterState state = cluster.build();
  const StopVm stop{cluster.vm_id("web"), Generation(0), cluster.host("n2"), Cause::preempted};
  CHECK(say(state, stop) == "it is not preemptible");
}

TEST_CASE("degraded mode: what ran before may overfill a host that new demand may not") {
  ClusterBuilder cluster = two_survivors(8, 1);
  cluster.vm("db", {.on = "n2", .memory = gib(6)}).vm("web", {.on = "n1", .memory = gib(4)});
  cluster.prove_dead("n1");
  CHECK(places(cluster.build()) == Places{{"web", "nowhere"}});
  cluster.settings([](ClusterSettings& s) { s.overcommit.degraded_memory = 1500; });
  ClusterState state = cluster.build();
  CHECK(places(state) == Places{{"web", "n2"}});
  const StartVm start{cluster.vm_id("web"), Generation(0), cluster.host("n2"), Cause::host_lost};
  SECTION("apply agrees") {
    CHECK(say(state, start) == "");
    CHECK(state.history.rbegin()->second.text == "web starts on n2, in degraded mode");
  }
  SECTION("not for a VM that has not run yet") {
    state.vms.at(start.vm).next_cause = Cause::desired;
    CHECK(places(state) == Places{{"web", "nowhere"}});
    CHECK(say(state, start) == "memory: needs 4 GiB, 2 GiB free");
  }
  SECTION("and not beyond the factor") {
    state.vms.at(start.vm).size.memory = gib(7);
    cluster.declaration("web").domain.size.memory = gib(7);
    state.config = cluster.build().config;
    CHECK(places(state) == Places{{"web", "nowhere"}});
  }
}

TEST_CASE("degraded mode: preemptible VMs leave before it is used") {
  ClusterBuilder cluster = two_survivors(8, 1);
  cluster.vm("ci", {.on = "n2", .memory = gib(4), .preemptible = true});
  cluster.vm("web", {.on = "n1", .memory = gib(6)});
  cluster.prove_dead("n1").settings(
      [](ClusterSettings& s) { s.overcommit.degraded_memory = 2000; });
  CHECK(places(cluster.build()) == Places{{"web", "n2 after ci"}});
}

TEST_CASE("degraded mode: three hosts with three VMs each, and n4 that can run six") {
  ClusterBuilder cluster;
  for (const char* host : {"n1", "n2", "n3"}) {
    cluster.node(host, {.memory = gib(12)});
    for (const char* vm : {"a", "b", "c"}) cluster.vm(std::string(host) + vm, {.on = host});
  }
  cluster.backup("n4", {.memory = gib(24)});
  cluster.settings([](ClusterSettings& s) { s.overcommit.degraded_memory = 1500; });
  for (const char* host : {"n1", "n2", "n3"}) cluster.prove_dead(host);
  const Places plan = places(cluster.build());
  CHECK(plan.size() == 9);
  for (const auto& [vm, node] : plan) CHECK(node == "n4");
}
