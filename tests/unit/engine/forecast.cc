// What would happen, told before it does: the planner itself, on a copy.
#include "clusterd/engine/forecast.h"

#include <catch2/catch.hpp>

#include "clusterd/engine/queries.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

// "web1 start n1 n4", one a line of the forecast.
std::vector<std::string> told(const ClusterState& state, const Forecast& forecast) {
  std::vector<std::string> lines;
  for (const auto& action : report_forecast(state, forecast).actions) {
    lines.push_back(action.vm + " " + action.action + " " +
                    (action.from.empty() ? "-" : action.from) + " " +
                    (action.to.empty() ? "-" : action.to));
  }
  return lines;
}

std::vector<std::string> homeless(const ClusterState& state, const Forecast& forecast) {
  std::vector<std::string> names;
  for (const auto& vm : report_forecast(state, forecast).unplaced) names.push_back(vm.vm);
  return names;
}

struct Asked {
  ClusterBuilder cluster;

  [[nodiscard]] Forecast down(const std::set<std::string>& names) const {
    const ClusterState state = cluster.build();
    const auto nodes = nodes_named(state, names);
    REQUIRE(std::holds_alternative<std::set<NodeId>>(nodes));
    return forecast(state, std::get<std::set<NodeId>>(nodes), state.time);
  }
  [[nodiscard]] std::vector<std::string> actions(const std::set<std::string>& names) const {
    return told(cluster.build(), down(names));
  }
};

// Three hosts with three VMs each, and one backup node for all of them.
Asked classic() {
  Asked asked;
  for (const char* name : {"n1", "n2", "n3"}) asked.cluster.node(name, {.memory = gib(32)});
  asked.cluster.backup("n4", {.memory = gib(36)});
  for (int i = 0; i < 9; ++i) {
    asked.cluster.vm("vm" + std::to_string(i + 1),
                     {.on = "n" + std::to_string(i / 3 + 1), .memory = gib(4)});
  }
  return asked;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("forecast: VMs of a lost host go to the backup node") {
  const Asked asked = classic();
  const Forecast forecast = asked.down({"n1"});
  CHECK(told(asked.cluster.build(), forecast) ==
        Lines{"vm1 start n1 n4", "vm2 start n1 n4", "vm3 start n1 n4"});
  CHECK(forecast.feasible);
  CHECK(forecast.unplaced.empty());
  CHECK(forecast.degraded.empty());
}

TEST_CASE("forecast: three hosts on one backup node") {
  const Asked asked = classic();
  CHECK(asked.down({"n1", "n2"}).feasible);
  const Forecast all = asked.down({"n1", "n2", "n3"});
  CHECK(all.feasible);
  CHECK(all.actions.size() == 9);
}

TEST_CASE("forecast: in a calm cluster nothing happens") {
  const Asked asked = classic();
  const Forecast forecast = asked.down({});
  CHECK(forecast.actions.empty());
  CHECK(forecast.feasible);
  CHECK(forecast.after.vms == asked.cluster.build().vms);
}

TEST_CASE("forecast: what finds no place is told with every node's reason") {
  Asked asked = classic();
  asked.cluster.vm("big", {.on = "n1", .memory = gib(38), .priority = 100});
  const ClusterState state = asked.cluster.build();
  const Forecast forecast = asked.down({"n1"});
  CHECK_FALSE(forecast.feasible);
  REQUIRE(homeless(state, forecast) == Lines{"big"});
  const ForecastReport report = report_forecast(state, forecast);
  REQUIRE(report.unplaced[0].reasons.size() == 4);
  CHECK(report.unplaced[0].reasons[0].node == "n1");
  CHECK(report.unplaced[0].reasons[0].reason == "not_a_member: is not in the cluster now");
  CHECK(report.unplaced[0].reasons[1].reason == "memory: needs 38 GiB, 20 GiB free");
}

TEST_CASE("forecast: a preemptible VM without a place leaves a plan feasible") {
  Asked asked = classic();
  asked.cluster.vm("ci", {.on = "n1", .memory = gib(34), .priority = 100});
  asked.cluster.declaration("ci").policy.preemptible = true;
  const Forecast forecast = asked.down({"n1"});
  CHECK(forecast.feasible);
  REQUIRE(forecast.unplaced.size() == 1);
  CHECK_FALSE(forecast.unplaced[0].guaranteed);
  SECTION("but not if a guaranteed one must be together with it") {
    asked.cluster.declaration("vm1").policy.placement->together_with = {"ci"};
    CHECK_FALSE(asked.down({"n1"}).feasible);
  }
}

TEST_CASE("forecast: a preemptible VM leaves, and starts again where there is room") {
  Asked asked;
  asked.cluster.node("n1", {.memory = gib(16)}).node("n2", {.memory = gib(16)});
  asked.cluster.node("n3", {.memory = gib(7)});
  asked.cluster.vm("web", {.on = "n1", .memory = gib(8)}).vm("db", {.on = "n2", .memory = gib(8)});
  asked.cluster.vm("ci", {.on = "n2", .memory = gib(6)});
  asked.cluster.declaration("ci").policy.preemptible = true;
  CHECK(asked.actions({"n1"}) == Lines{"ci preempt n2 -", "web start n1 n2", "ci start n2 n3"});
  asked.cluster.vm("other", {.on = "n3", .memory = gib(4)});
  const Forecast forecast = asked.down({"n1"});
  CHECK(told(asked.cluster.build(), forecast) == Lines{"ci preempt n2 -", "web start n1 n2"});
  CHECK(homeless(asked.cluster.build(), forecast) == Lines{"ci"});
  CHECK(forecast.feasible);
}

TEST_CASE("forecast: nodes that would run in degraded mode are named") {
  Asked asked;
  asked.cluster.node("n1", {.memory = gib(8)}).node("n2", {.memory = gib(12)});
  asked.cluster.vm("a", {.on = "n1", .memory = gib(8)}).vm("b", {.on = "n2", .memory = gib(8)});
  CHECK_FALSE(asked.down({"n1"}).feasible);
  asked.cluster.settings([](ClusterSettings& s) { s.overcommit.degraded_memory = 1500; });
  const Forecast forecast = asked.down({"n1"});
  CHECK(forecast.feasible);
  CHECK(forecast.degraded == std::vector<NodeId>{asked.cluster.node_id("n2")});
}

TEST_CASE("forecast: survivors stay where they are") {
  Asked asked;
  asked.cluster.node("n1", {.memory = gib(8)}).node("n2", {.memory = gib(8)});
  asked.cluster.node("n3", {.memory = gib(8)});
  asked.cluster.vm("a", {.on = "n1", .memory = gib(6)});
  asked.cluster.vm("b", {.on = "n2", .memory = gib(3)}).vm("c", {.on = "n3", .memory = gib(3)});
  CHECK_FALSE(asked.down({"n1"}).feasible);  // although b and c together would leave n2 to a
}

TEST_CASE("forecast: what waits for time or a slot only has its place") {
  Asked asked = classic();
  asked.cluster.settings([](ClusterSettings& settings) { settings.parallel_starts_per_node = 1; });
  asked.cluster.declaration("vm2").policy.start_after = std::set<std::string>{"vm1"};
  asked.cluster.vm_state("vm3").failures.next_try =
      asked.cluster.state().time + std::chrono::minutes(9);
  CHECK(asked.actions({"n1"}).size() == 3);
}

TEST_CASE("forecast: it needs no quorum, and nobody's consent") {
  Asked asked = classic();
  asked.cluster.state().view.authority = Authority::restricted;
  asked.cluster.state().accepted = false;
  asked.cluster.state().armed = false;
  CHECK(asked.actions({"n1"}).size() == 3);
}

TEST_CASE("forecast: a lost host's VMs go where room is kept for them") {
  Asked asked = classic();
  asked.cluster.lose("n2");
  CHECK(asked.actions({}) == Lines{"vm4 start n2 n4", "vm5 start n2 n4", "vm6 start n2 n4"});
  CHECK(asked.actions({"n2"}) == asked.actions({}));
}

TEST_CASE("forecast: a host that is dead already changes nothing") {
  Asked asked = classic();
  asked.cluster.prove_dead("n2");
  CHECK(asked.actions({"n2"}) == asked.actions({}));
  CHECK(asked.actions({"n2"}).size() == 3);
}

TEST_CASE("forecast: a host that settles after a fence takes VMs once nobody else does") {
  Asked asked = classic();
  asked.cluster.lose("n2").lose("n3").prove_dead("n2").prove_dead("n3");
  asked.cluster.node_state("n4").settle_until =
      asked.cluster.state().time + std::chrono::seconds(9);
  const Forecast forecast = asked.down({"n1"});
  CHECK(forecast.feasible);
  CHECK(forecast.actions.size() == 9);
}

TEST_CASE("forecast: open operations end well") {
  Asked asked = classic();
  const auto open = [&](const std::string& vm, const std::string& node, VmOpKind kind) {
    VmOperation operation;
    operation.id = {Epoch(1), LogIndex(7)};
    operation.kind = kind;
    operation.executor = asked.cluster.host(node);
    asked.cluster.vm_state(vm).operation = operation;
  };
  open("vm1", "n1", VmOpKind::start);
  asked.cluster.vm_state("vm1").holders[asked.cluster.host("n1")] = Sighting{};
  open("vm9", "n3", VmOpKind::stop);
  asked.cluster.order("vm9", DesiredState::stopped);
  const Forecast calm = asked.down({});
  CHECK(calm.actions.empty());
  CHECK(active_on(calm.after.vms.at(asked.cluster.vm_id("vm1"))) == asked.cluster.host("n1"));
  CHECK(calm.after.vms.at(asked.cluster.vm_id("vm9")).holders.empty());
  CHECK(asked.actions({"n1"}).size() == 3);
  CHECK(asked.actions({"n3"}).size() == 2);
}

TEST_CASE("forecast: what is to be stopped or restarted is told in the order of its steps") {
  Asked asked = classic();
  asked.cluster.order("vm1", DesiredState::stopped);
  asked.cluster.vm_state("vm5").restart_ordered = true;
  CHECK(asked.actions({}) == Lines{"vm1 stop n1 -", "vm5 stop n2 -", "vm5 start n2 n2"});
}

TEST_CASE("forecast: a VM that somebody waits to hear of is planned as if it ran nowhere") {
  Asked asked = classic();
  asked.cluster.vm("new");
  asked.cluster.vm_state("new").awaiting.insert(asked.cluster.host("n2"));
  REQUIRE(asked.actions({}).size() == 1);
  CHECK(asked.actions({})[0].rfind("new start - n", 0) == 0);
}

TEST_CASE("forecast: all hosts down leave no place to anybody") {
  const Asked asked = classic();
  const Forecast forecast = asked.down({"n1", "n2", "n3", "n4"});
  CHECK(forecast.unplaced.size() == 9);
  CHECK(forecast.actions.empty());
}

TEST_CASE("forecast: it does what a failover does") {
  // The same loss, once foreseen and once as the planner sees it when it has happened.
  Asked asked = classic();
  const Lines foreseen = asked.actions({"n1", "n3"});
  asked.cluster.prove_dead("n1").prove_dead("n3");
  CHECK(asked.actions({}) == foreseen);
}

TEST_CASE("forecast: unknown nodes are named, with the known ones") {
  const ClusterState state = classic().cluster.build();
  const auto named = nodes_named(state, {"n1", "n7", "n9"});
  REQUIRE(std::holds_alternative<std::string>(named));
  CHECK(std::get<std::string>(named) == "there is no node n7, n9; known are n1, n2, n3, n4");
}

TEST_CASE("forecast: the reserve is that of the cluster as it then is") {
  Asked asked = classic();
  CHECK(asked.down({}).reserve.ok);
  const Forecast forecast = asked.down({"n4"});
  CHECK(forecast.feasible);
  CHECK(forecast.reserve == reserve_of(forecast.after, forecast.after.time));
  // Three hosts with 20 GiB free each: one more may be lost. Two with nine VMs: none.
  CHECK(forecast.reserve.tolerated >= 1);
  CHECK_FALSE(asked.down({"n4", "n3"}).reserve.ok);
}
