#include "clusterd/engine/placement.h"

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

ClusterBuilder three_nodes() { return ClusterBuilder().node("n1").node("n2").node("n3"); }

// Three hosts with three VMs each, and n4, which can run all nine.
ClusterBuilder classic() {
  ClusterBuilder cluster = three_nodes();
  cluster.backup("n4", {.memory = gib(36)});
  for (const char* host : {"n1", "n2", "n3"}) {
    for (const char* vm : {"a", "b", "c"}) cluster.vm(std::string(host) + vm, {.on = host});
  }
  return cluster;
}

// Everything that should run and that nobody holds.
std::vector<StartDemand> all_demands(const ClusterState& state) {
  std::vector<StartDemand> demands;
  for (const auto& [id, vm] : state.vms) {
    if (vm.holders.empty()) demands.push_back({id, vm.next_cause, std::nullopt, ""});
  }
  return demands;
}

// "n4", "wait n4: reason" or "none: n1 memory: ...; n2 ..." for each VM by name.
std::map<std::string, std::string> plan_of(const ClusterState& state,
                                           const std::vector<StartDemand>& demands) {
  std::map<std::string, std::string> words;
  const auto node_name = [&](NodeId id) { return state.nodes.at(id).name; };
  for (const Placement& placement : plan_starts(state, demands, state.time)) {
    std::string& text = words[state.vms.at(placement.vm).name];
    REQUIRE(text.empty());  // one answer a VM
    if (const auto* chosen = std::get_if<Chosen>(&placement.result)) {
      text = node_name(chosen->node);
    } else if (const auto* waits = std::get_if<Waits>(&placement.result)) {
      text = "wait " + node_name(waits->node) + ": " + waits->reason;
    } else {
      const auto& none = std::get<NoCandidate>(placement.result);
      text = "none:" + none.reason;
      for (const Exclusion& exclusion : none.excluded) {
        text += " " + node_name(exclusion.node) + " " + sentence(exclusion) + ";";
      }
    }
  }
  return words;
}

std::map<std::string, std::string> plan_of(const ClusterState& state) {
  return plan_of(state, all_demands(state));
}

using Words = std::map<std::string, std::string>;

}  // namespace

TEST_CASE("placement: a lost host's VMs go to the backup node") {
  const ClusterState state = classic().prove_dead("n1").build();
  CHECK(plan_of(state) == Words{{"n1a", "n4"}, {"n1b", "n4"}, {"n1c", "n4"}});
}

TEST_CASE("placement: two and three lost hosts fit on the backup node as well") {
  ClusterBuilder cluster = classic().prove_dead("n1").prove_dead("n2");
  CHECK(plan_of(cluster.build()).size() == 6);
  cluster.prove_dead("n3");
  const Words plan = plan_of(cluster.build());
  CHECK(plan.size() == 9);
  for (const auto& [vm, where] : plan) CHECK(where == "n4");
}

TEST_CASE("placement: when the backup node is full, recovery spreads over the workers") {
  ClusterBuilder cluster = classic();
  cluster.node_state("n4").facts.total.memory = gib(4);
  cluster.node_state("n3").facts.total.memory = gib(128);
  const Words plan = plan_of(cluster.prove_dead("n1").build());
  CHECK(plan == Words{{"n1a", "n4"}, {"n1b", "n3"}, {"n1c", "n3"}});
}

TEST_CASE("placement: VMs of a host not proven dead are reserved for, not started") {
  const ClusterState state = classic().lose("n1").build();
  const std::string wait = "wait n4: n1 is lost and not yet proven dead";
  CHECK(plan_of(state) == Words{{"n1a", wait}, {"n1b", wait}, {"n1c", wait}});
}

TEST_CASE("placement: a new start of higher priority cannot steal the reserved backup node") {
  ClusterBuilder cluster = classic();
  for (const char* worker : {"n1", "n2", "n3"}) {
    cluster.node_state(worker).facts.total.memory = gib(12);
  }
  cluster.node_state("n4").facts.total.memory = gib(14);
  cluster.vm("new", {.priority = 900}).lose("n1");
  const Words plan = plan_of(cluster.build());
  CHECK(plan.at("new") ==
        "none: n1 lost: not yet proven dead; n2 memory: needs 4 GiB, 0 GiB free; "
        "n3 memory: needs 4 GiB, 0 GiB free; n4 memory: needs 4 GiB, 2 GiB free;");
  CHECK(plan.at("n1c") == "wait n4: n1 is lost and not yet proven dead");
}

TEST_CASE("placement: nothing is reserved for VMs that are not wanted running") {
  ClusterBuilder cluster = classic().order("n1a", DesiredState::stopped);
  cluster.vm_state("n1b").guest_off = true;
  const Words plan = plan_of(cluster.lose("n1").build());
  CHECK(plan == Words{{"n1c", "wait n4: n1 is lost and not yet proven dead"}});
}

TEST_CASE("placement: a VM that another host may still run is not reserved for") {
  const ClusterState state = classic().run("n1a", "n2").lose("n1").build();
  CHECK(plan_of(state).count("n1a") == 0);
}

TEST_CASE("placement: a new VM takes a worker, and the backup node only if no worker fits") {
  ClusterBuilder cluster = classic().vm("new").vm("huge", {.memory = gib(60)});
  cluster.node_state("n4").facts.total.memory = gib(256);
  cluster.vm("wide", {.memory = gib(60)});
  const Words plan = plan_of(cluster.build());
  CHECK(plan.at("new") == "n1");
  CHECK(plan.at("huge") == "n4");
  CHECK(plan.at("wide") == "n4");
}

TEST_CASE("placement: a worker comes before the backup node even against a soft rule") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").backup("n2").vm("a", {.on = "n1"});
  VmOptions options;
  options.placement.prefer.away_from = {"a"};
  CHECK(plan_of(cluster.vm("b", options).build()) == Words{{"b", "n1"}});
}

TEST_CASE("placement: prefer names nodes in order, and yields to what is impossible") {
  ClusterBuilder cluster = three_nodes();
  VmOptions options;
  options.placement.prefer.nodes = {"n3", "n2"};
  cluster.vm("a", options);
  CHECK(plan_of(cluster.build()) == Words{{"a", "n3"}});
  cluster.node_state("n3").maintenance = true;
  CHECK(plan_of(cluster.build()) == Words{{"a", "n2"}});
  cluster.node_state("n2").maintenance = true;
  CHECK(plan_of(cluster.build()) == Words{{"a", "n1"}});
}

TEST_CASE("placement: soft rules count in both directions") {
  ClusterBuilder cluster = three_nodes();
  VmOptions shy;
  shy.on = "n1";
  shy.placement.prefer.away_from = {"b"};
  cluster.vm("a", shy).vm("b");
  CHECK(plan_of(cluster.build()) == Words{{"b", "n2"}});
  VmOptions friendly;
  friendly.placement.prefer.together_with = {"a"};
  cluster.vm("c", friendly);
  CHECK(plan_of(cluster.build()) == Words{{"b", "n2"}, {"c", "n1"}});
}

TEST_CASE("placement: a VM goes back to where it ran last, else to the emptiest node") {
  ClusterBuilder cluster = three_nodes().vm("a", {.on = "n1"}).vm("b", {.on = "n2"});
  cluster.vm("c");
  CHECK(plan_of(cluster.build()) == Words{{"c", "n3"}});
  cluster.vm_state("c").last_host = cluster.host("n2");
  CHECK(plan_of(cluster.build()) == Words{{"c", "n2"}});
}

TEST_CASE("placement: a restart in place stays while the node is fit for it") {
  ClusterBuilder cluster = three_nodes().vm("a");
  StartDemand demand{cluster.vm_id("a"), Cause::restart_in_place, cluster.node_id("n3"), ""};
  CHECK(plan_of(cluster.build(), {demand}) == Words{{"a", "n3"}});
  cluster.node_state("n3").facts.problem = "libvirt does not answer";
  CHECK(plan_of(cluster.build(), {demand}) == Words{{"a", "n1"}});
}

TEST_CASE("placement: what ran before comes first, then priority, then size") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = gib(8)});
  cluster.vm("new", {.memory = gib(8), .priority = 900});
  cluster.vm("small", {.memory = gib(3), .priority = 100});
  cluster.vm("large", {.memory = gib(4), .priority = 100});
  cluster.vm("vital", {.memory = gib(2), .priority = 200});
  for (const char* vm : {"small", "large", "vital"}) {
    cluster.vm_state(vm).next_cause = Cause::host_lost;
  }
  const ClusterState state = cluster.build();
  std::vector<std::string> order;
  for (const Placement& placement : plan_starts(state, all_demands(state), state.time)) {
    order.push_back(state.vms.at(placement.vm).name);
  }
  CHECK(order == std::vector<std::string>{"vital", "large", "small", "new"});
  CHECK(plan_of(state).at("small") == "none: n1 memory: needs 3 GiB, 2 GiB free;");
}

TEST_CASE("placement: starts beyond parallel_starts_per_node wait with their place kept") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").vm("busy", {.on = "n1"});
  VmOperation start;
  start.executor = cluster.host("n1");
  cluster.vm_state("busy").operation = start;
  cluster.vm("a").vm("b");
  cluster.settings([](ClusterSettings& s) { s.parallel_starts_per_node = 2; });
  const std::string wait = "wait n1: n1 starts 2 VMs already (parallel_starts_per_node)";
  CHECK(plan_of(cluster.build()) == Words{{"a", "n1"}, {"b", wait}});
  SECTION("a start whose end is unknown blocks nobody") {
    cluster.vm_state("busy").operation->unknown = true;
    CHECK(plan_of(cluster.build()) == Words{{"a", "n1"}, {"b", "n1"}});
  }
  SECTION("null means no limit") {
    cluster.settings([](ClusterSettings& s) { s.parallel_starts_per_node.reset(); });
    CHECK(plan_of(cluster.build()) == Words{{"a", "n1"}, {"b", "n1"}});
  }
}

TEST_CASE("placement: a held VM keeps its place and does not start") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = gib(6)}).vm("a").vm("b");
  const ClusterState state = cluster.build();
  std::vector<StartDemand> demands = all_demands(state);
  demands[0].hold = "start_after: db1 does not run yet";
  CHECK(plan_of(state, demands) ==
        Words{{"a", "wait n1: start_after: db1 does not run yet"},
              {"b", "none: n1 memory: needs 4 GiB, 2 GiB free;"}});
}

TEST_CASE("placement: a VM that is not declared has no candidate") {
  ClusterBuilder cluster = three_nodes().vm("a");
  const StartDemand demand{VmId{numbered_uuid(9, 9)}, Cause::desired, std::nullopt, ""};
  const auto plan = plan_starts(cluster.build(), {demand}, ClusterTime{});
  REQUIRE(plan.size() == 1);
  CHECK(std::get<NoCandidate>(plan[0].result).reason == "it is not declared");
}

TEST_CASE("placement: a single VM can be placed against a plan in the making") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").vm("a").vm("b");
  cluster.declaration("a").policy.placement->away_from = {"b"};
  const ClusterState state = cluster.build();
  PlacementInput input(state, state.time);
  const StartDemand demand{cluster.vm_id("a"), Cause::desired, std::nullopt, ""};
  CHECK(std::get<Chosen>(place(input, demand)).node == NodeId(1));
  input.take(cluster.vm_id("b"), {gib(1), 1}, NodeId(1));
  CHECK(std::get<Chosen>(place(input, demand)).node == NodeId(2));
}
