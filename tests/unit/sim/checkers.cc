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
  ClusterState state;
  Standing standing{true, std::chrono::seconds(60), LocalView{}, &state, true, SimTime(0)};
  SimTime together{0};
  Checkers checkers{env, [this](NodeId) { return standing; },
                    [this](NodeId, NodeId) { return together; }};

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

TEST_CASE("checkers: S4 catches a start without memory, and one beside a VM it must not meet") {
  HardRules rules;
  rules.host_memory = 10;
  rules.memory = {{vm_id(1), 5}, {vm_id(2), 5}, {vm_id(3), 1}};
  rules.away_from[vm_id(1)] = {vm_id(3)};
  const OpId op{Epoch(1), LogIndex(1)};

  Bench full;
  full.checkers.set_rules(rules);
  full.env.world.domain_active(full.host(2), vm_id(2), {DomainState::running, op, false});
  full.checkers.on_start(full.host(2), full.start(2));
  CHECK(full.rule().empty());
  full.host(2).starting[vm_id(3)] = full.host(2).grants[vm_id(3)] = op;
  full.checkers.on_start(full.host(2), full.start(3));
  CHECK(full.rule() == "S4");

  Bench apart;
  rules.host_memory = 0;
  apart.checkers.set_rules(rules);
  apart.env.world.domain_active(apart.host(2), vm_id(3), {});  // by hand: nobody's decision
  apart.checkers.on_start(apart.host(2), apart.start(2));
  CHECK(apart.rule().empty());
  apart.env.world.domain_gone(apart.host(2), vm_id(3));
  apart.env.world.domain_active(apart.host(2), vm_id(3), {DomainState::running, op, false});
  apart.checkers.on_start(apart.host(2), apart.start(3));
  CHECK(apart.rule() == "S4");
}

TEST_CASE("checkers: S6 catches a fence of oneself, of a host that is heard, and a storm") {
  DispatchPower fence;
  fence.kind = PowerOpKind::fence;
  fence.op = OpId{Epoch(1), LogIndex(1)};
  fence.target = NodeId(1);
  Bench own;
  own.checkers.on_power_order(own.host(1), fence);
  CHECK(own.rule() == "S6");

  Bench heard;
  fence.target = NodeId(2);
  heard.checkers.on_power_order(heard.host(1), fence);
  CHECK(heard.rule().empty());
  heard.together = std::chrono::minutes(1);
  fence.op.index = LogIndex(2);
  heard.checkers.on_power_order(heard.host(1), fence);
  CHECK(heard.rule() == "S6");

  Bench storm;
  for (std::uint64_t index = 1; index <= 40; ++index) {
    fence.op.index = LogIndex(index);
    storm.checkers.on_power_order(storm.host(1), fence);
  }
  CHECK(storm.rule() == "S6");
}

TEST_CASE("checkers: S7 catches a daemon whose epoch goes back") {
  ClusterState state;
  state.position = Position{Epoch(5), Epoch(5), LogIndex(17), Digest(77)};
  Bench bench;
  bench.checkers.on_applied(NodeId(1), 1, state);
  state.position.epoch = Epoch(4);
  bench.checkers.on_applied(NodeId(1), 2, state);  // another run of it, after its disk lost a tail
  CHECK(bench.rule().empty());
  state.position.epoch = Epoch(3);
  bench.checkers.on_applied(NodeId(1), 2, state);
  CHECK(bench.rule() == "S7");
}

TEST_CASE("checkers: L2 sees a client whom a living daemon never answers") {
  SimCluster cluster(SimOptions{});
  REQUIRE(cluster.found() == "");
  const ClientId client = cluster.send(NodeId(1), VmCommand{"vm1", VmOrderKind::restart, true});
  CHECK_FALSE(cluster.unanswered().empty());
  cluster.run_for(std::chrono::minutes(1));
  CHECK(cluster.unanswered().empty());
  REQUIRE(cluster.reply_to(client) != nullptr);
  CHECK(cluster.reply_to(client)->code == ReplyCode::done);
  cluster.send(NodeId(2), VmCommand{"vm1", VmOrderKind::restart, true});
  cluster.node(2).kill_daemon();
  CHECK(cluster.unanswered().empty());
}

TEST_CASE("checkers: S5 catches another entry, and another state, at the same position") {
  ClusterState state;
  state.position = Position{Epoch(1), Epoch(1), LogIndex(64), Digest(77)};
  Bench bench;
  bench.checkers.on_applied(NodeId(1), 1, state);
  bench.checkers.on_applied(NodeId(2), 1, state);
  CHECK(bench.rule().empty());
  ClusterState other = state;
  other.name = "different";
  bench.checkers.on_applied(NodeId(3), 1, other);
  CHECK(bench.rule() == "S5");

  Bench forked;
  forked.checkers.on_applied(NodeId(1), 1, state);
  state.position.chain = Digest(78);
  forked.checkers.on_applied(NodeId(2), 1, state);
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

TEST_CASE("what was decided after a disarm is a violation, what was decided before is not") {
  Bench bench;
  bench.state.armed = false;
  bench.state.disarm.index = LogIndex(7);
  bench.checkers.on_start(bench.host(1), bench.start(7));
  CHECK(bench.rule().empty());
  bench.checkers.on_start(bench.host(1), bench.start(8));
  CHECK(bench.rule() == "R28");
}

TEST_CASE("simulator: one seed gives one run, another seed another") {
  RunOptions options;
  options.seed = 7;
  options.duration = std::chrono::minutes(2);
  options.trace_lines = 100000;
  const RunResult first = run_seed(options);
  const RunResult second = run_seed(options);
  CHECK(first.fingerprint == second.fingerprint);
  CHECK(first.trace == second.trace);
  options.seed = 8;
  CHECK(run_seed(options).fingerprint != first.fingerprint);
}
