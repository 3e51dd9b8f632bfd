// Negative controls: every checker of the simulator catches the violation it is there for.
#include "tests/sim/checkers.h"

#include <catch2/catch.hpp>

#include "tests/sim/cluster.h"
#include "tests/sim/run.h"

using namespace clusterd;
using namespace clusterd::sim;

namespace {

struct Bench {
  SimEnv env{1};
  Standing standing{true, LocalView{}, true, SimTime(0)};
  Checkers checkers{env, [this](NodeId) { return standing; }};

  Bench() {
    standing.local.quorate = true;
    standing.local.active = true;
    env.world.observe(checkers);
    for (std::uint32_t n = 1; n <= 3; ++n) {
      env.world.power_on(env.world.add(NodeId(n), {}), BootId{env.uuid()});
    }
  }
  SimHost& host(std::uint32_t n) { return env.world.host(NodeId(n)); }
  DispatchStart start(std::uint32_t index) {
    DispatchStart order;
    order.op = OpId{Epoch(1), LogIndex(index)};
    order.vm = vm_id(1);
    return order;
  }
  [[nodiscard]] std::string rule() const {
    return checkers.violation() ? checkers.violation()->rule : "";
  }
};

}  // namespace

TEST_CASE("checkers: S1 catches a VM that is active twice") {
  Bench bench;
  bench.env.world.domain_active(bench.host(1), vm_id(1), {});
  bench.env.world.domain_active(bench.host(2), vm_id(2), {});
  CHECK(bench.rule().empty());
  bench.env.world.domain_active(bench.host(2), vm_id(1), {});
  CHECK(bench.rule() == "S1");
}

TEST_CASE("checkers: S1 counts a frozen host's VM, and not a dead host's") {
  Bench bench;
  bench.env.world.domain_active(bench.host(1), vm_id(1), {});
  bench.env.world.domain_active(bench.host(2), vm_id(2), {});
  bench.env.world.power_off(bench.host(1));
  bench.env.world.domain_active(bench.host(3), vm_id(1), {});
  CHECK(bench.rule().empty());
  bench.env.freeze(bench.host(2));
  bench.env.world.domain_active(bench.host(3), vm_id(2), {});
  CHECK(bench.rule() == "S1");
}

TEST_CASE("checkers: S2 catches a start while another host may still start the VM") {
  Bench bench;
  bench.host(1).grants[vm_id(1)] = bench.start(5).op;
  bench.host(1).starting[vm_id(1)] = bench.start(5).op;
  bench.checkers.on_start(bench.host(2), bench.start(6));
  CHECK(bench.rule() == "S2");

  Bench revoked;
  revoked.host(1).starting[vm_id(1)] = revoked.start(5).op;
  revoked.checkers.on_start(revoked.host(2), revoked.start(6));
  CHECK(revoked.rule().empty());
}

TEST_CASE("checkers: S3 catches whoever acts without quorum or without an active view") {
  Bench idle;
  idle.standing.local.active = false;
  idle.checkers.on_stop(idle.host(1), {});
  CHECK(idle.rule() == "S3");

  Bench minority;
  minority.standing.local.quorate = false;
  minority.checkers.on_start(minority.host(1), minority.start(1));
  CHECK(minority.rule() == "S3");

  Bench deaf;  // believes in a quorum that Corosync took away a second ago
  deaf.standing.told_quorate = false;
  deaf.standing.told_for = std::chrono::seconds(1);
  DispatchPower fence;
  fence.kind = PowerOpKind::fence;
  fence.target = NodeId(2);
  deaf.checkers.on_power_order(deaf.host(1), fence);
  CHECK(deaf.rule() == "S3");

  Bench reader;
  reader.standing.local.quorate = false;
  fence.kind = PowerOpKind::read_power;
  reader.checkers.on_power_order(reader.host(1), fence);
  CHECK(reader.rule().empty());
}

TEST_CASE("checkers: S5 catches another entry, and another state, at the same position") {
  ClusterState state;
  state.position = Position{Epoch(1), Epoch(1), LogIndex(16), Digest(77)};
  Bench bench;
  bench.checkers.on_applied(NodeId(1), state);
  bench.checkers.on_applied(NodeId(2), state);
  CHECK(bench.rule().empty());
  ClusterState other = state;
  other.name = "different";
  bench.checkers.on_applied(NodeId(3), other);
  CHECK(bench.rule() == "S5");

  Bench forked;
  forked.checkers.on_applied(NodeId(1), state);
  state.position.chain = Digest(78);
  forked.checkers.on_applied(NodeId(2), state);
  CHECK(forked.rule() == "S5");
}

TEST_CASE("checkers: L1 sees a VM that should run and does not, and one that should not") {
  SimCluster cluster(SimOptions{});
  REQUIRE(cluster.found() == "");
  REQUIRE(cluster.unsettled().empty());
  // Behind the back of daemons that cannot see it.
  SimHost& host = cluster.env().world.host(cluster.active_on(1).front());
  cluster.env().world.domain_gone(host, vm_id(1));
  CHECK_FALSE(cluster.unsettled().empty());
  cluster.env().world.domain_active(host, vm_id(1), {});
  CHECK(cluster.unsettled().empty());
}

TEST_CASE("checkers: L3 counts what happens to a cluster that is left alone") {
  SimCluster cluster(SimOptions{});
  REQUIRE(cluster.found() == "");
  const Activity before = cluster.checkers().activity();
  cluster.run_for(std::chrono::minutes(2));
  CHECK(cluster.checkers().activity() == before);
  cluster.node(cluster.active_on(1).front()).hypervisor().crash(vm_id(1));
  cluster.run_for(std::chrono::minutes(2));
  CHECK_FALSE(cluster.checkers().activity() == before);
}

TEST_CASE("simulator: one seed gives one run, another seed another") {
  RunOptions options;
  options.seed = 7;
  options.duration = std::chrono::minutes(2);
  options.trace_lines = 100000;
  const RunResult first = run_seed(options);
  const RunResult second = run_seed(options);
  CHECK(first.trace_hash == second.trace_hash);
  CHECK(first.trace == second.trace);
  options.seed = 8;
  CHECK(run_seed(options).trace_hash != first.trace_hash);
}
