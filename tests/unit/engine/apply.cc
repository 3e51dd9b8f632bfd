// The guards that stand in apply: whatever is planned, these hold (S1, S2, S4, S6).
#include <catch2/catch.hpp>

#include "clusterd/engine/apply.h"
#include "tests/support/cluster_builder.h"

using namespace clusterd;
using clusterd::test::ClusterBuilder;

namespace {

// Speaks as the present daemon of a node.
Applied say(ClusterState& state, NodeId from, Body body) {
  const auto member = state.view.members.find(from);
  Message message;
  message.epoch = state.position.epoch;
  message.incarnation = member == state.view.members.end() ? Incarnation(99)
                                                            : member->second.incarnation;
  message.stamp = state.time + Duration(10);
  message.body = std::move(body);
  return apply(state, {from, message, Digest(1)});
}

constexpr NodeId n1{1};
constexpr NodeId n2{2};
constexpr NodeId n3{3};

Host host_of(const ClusterState& state, NodeId id) { return {id, state.nodes.at(id).boot}; }

StartVm start(const ClusterState& state, VmId vm, NodeId on) {
  return {vm, state.vms.at(vm).generation, host_of(state, on), Cause::desired};
}

struct Lab {
  ClusterBuilder builder;
  ClusterState state;
  VmId web;

  explicit Lab(const std::string& on = "") {
    builder.node("n1").node("n2").node("n3");
    builder.vm("web", {.on = on});
    for (const char* name : {"n1", "n2", "n3"}) {
      FenceDevice device;
      device.agent = "fence_test";
      builder.state().config.fence_devices[std::string("bmc-") + name] = device;
      builder.node_declaration(name).fencing = {{std::string("bmc-") + name}};
    }
    state = builder.build();
    web = state.vms.begin()->first;
  }
  // n1 leaves the ring: the survivors install the next view.
  void lose_n1() {
    Activate activate;
    activate.epoch = state.position.epoch.next();
    activate.members = state.view.members;
    activate.members.erase(n1);
    activate.votes = state.view.votes;
    activate.trusted = true;
    activate.ring = state.time;
    for (const auto& [id, node] : state.nodes) activate.names[id] = node.name;
    REQUIRE(say(state, n2, activate).refusal.empty());
    REQUIRE(say(state, n2, Establish{}).refusal.empty());
  }
  OpId fence_n1() {
    REQUIRE(say(state, n2, OperatePower{PowerOpKind::fence, host_of(state, n1), n2})
                .refusal.empty());
    return state.nodes.at(n1).power->id;
  }
  void calibrate(Power reading) {
    state.nodes.at(n1).calibration["bmc-n1"] = {state.nodes.at(n1).boot, reading, state.time, ""};
  }
};

PowerClosed off(OpId op) {
  return {op, n1, Outcome::done, {{"bmc-n1", Power::off}}, {"bmc-n1"}, ""};
}

// The newest event of this kind.
const HistoryEvent& last_event(const ClusterState& state, EventKind kind) {
  for (auto event = state.history.rbegin(); event != state.history.rend(); ++event) {
    if (event->second.kind == kind) return event->second;
  }
  FAIL("no such event in the history");
  return state.history.begin()->second;
}

using Answers = std::map<std::string, Outcome>;

}  // namespace

TEST_CASE("apply: a VM that another host may run is not started") {
  Lab lab("n2");
  const Applied applied = say(lab.state, n1, start(lab.state, lab.web, n1));
  CHECK(applied.refusal.find("n2 may still run it") != std::string::npos);
  CHECK(lab.state.vms.at(lab.web).holders.size() == 1);
}

TEST_CASE("apply: of two coordinators with the same plan only the first one's start counts") {
  Lab lab;
  const StartVm first = start(lab.state, lab.web, n1);
  const StartVm second = start(lab.state, lab.web, n2);
  CHECK(say(lab.state, n1, first).refusal.empty());
  CHECK_FALSE(say(lab.state, n2, second).refusal.empty());
  const VmState& vm = lab.state.vms.at(lab.web);
  CHECK(vm.holders.contains(host_of(lab.state, n1)));
  CHECK(vm.holders.size() == 1);
}

TEST_CASE("apply: an intent of another epoch does nothing but moves the position") {
  Lab lab;
  Message message;
  message.epoch = Epoch(lab.state.position.epoch.value + 1);
  message.incarnation = lab.state.view.members.at(n1).incarnation;
  message.body = start(lab.state, lab.web, n1);
  const LogIndex before = lab.state.position.index;
  CHECK_FALSE(apply(lab.state, {n1, message, Digest(1)}).refusal.empty());
  CHECK(lab.state.position.index == before.next());
  CHECK(lab.state.vms.at(lab.web).holders.empty());
}

TEST_CASE("apply: an absence seen before the last intent does not release a holder") {
  Lab lab;
  const Generation old = lab.state.vms.at(lab.web).generation;
  REQUIRE(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
  const OpId op = lab.state.vms.at(lab.web).operation->id;
  REQUIRE(say(lab.state, n1, VmClosed{op, lab.web, Outcome::done, DomainState::running, ""})
              .refusal.empty());
  CHECK_FALSE(say(lab.state, n1, Report{lab.web, old, DomainState::absent, StopCause::none, false})
                  .refusal.empty());
  CHECK(lab.state.vms.at(lab.web).holders.size() == 1);

  const Generation now = lab.state.vms.at(lab.web).generation;
  CHECK(say(lab.state, n1, Report{lab.web, now, DomainState::absent, StopCause::failed, false})
            .refusal.empty());
  CHECK(lab.state.vms.at(lab.web).holders.empty());
}

TEST_CASE("apply: an unknown start keeps its holder until it is closed") {
  Lab lab;
  REQUIRE(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
  const OpId op = lab.state.vms.at(lab.web).operation->id;
  CHECK(say(lab.state, n1, VmClosed{op, lab.web, Outcome::unknown, DomainState::absent, "hangs"})
            .refusal.empty());
  const VmState& vm = lab.state.vms.at(lab.web);
  CHECK(vm.holders.size() == 1);
  REQUIRE(vm.operation);
  CHECK(vm.operation->unknown);
  CHECK_FALSE(say(lab.state, n2, start(lab.state, lab.web, n2)).refusal.empty());
}

TEST_CASE("apply: a calibrated device that says off proves the lost boot dead and frees its VMs") {
  Lab lab("n1");
  lab.calibrate(Power::on);
  lab.lose_n1();
  CHECK(lab.state.nodes.at(n1).loss);
  CHECK_FALSE(say(lab.state, n2, start(lab.state, lab.web, n2)).refusal.empty());
  const OpId op = lab.fence_n1();
  CHECK(say(lab.state, n2, off(op)).refusal.empty());
  CHECK(lab.state.nodes.at(n1).dead.contains(lab.state.nodes.at(n1).boot));
  CHECK(lab.state.vms.at(lab.web).holders.empty());
  CHECK(lab.state.durable_floor == lab.state.position.index);
  CHECK(last_event(lab.state, EventKind::node_dead).devices == Answers{{"bmc-n1", Outcome::done}});
  StartVm again = start(lab.state, lab.web, n2);
  again.cause = Cause::host_lost;
  CHECK(say(lab.state, n2, again).refusal.empty());
  CHECK(last_event(lab.state, EventKind::vm_starting).cause == Cause::host_lost);
  CHECK(lab.state.failovers.size() == 1);
}

TEST_CASE("apply: off from a device that never said on for this boot is no proof") {
  Lab lab("n1");
  const Power reading = GENERATE(Power::off, Power::unknown);
  lab.calibrate(reading);
  lab.lose_n1();
  CHECK(say(lab.state, n2, off(lab.fence_n1())).refusal.empty());
  CHECK(lab.state.nodes.at(n1).dead.empty());
  CHECK(lab.state.nodes.at(n1).loss->last_failure.find("no proof") != std::string::npos);
  CHECK(last_event(lab.state, EventKind::fence_failed).devices ==
        Answers{{"bmc-n1", Outcome::unknown}});
  CHECK(lab.state.vms.at(lab.web).holders.size() == 1);
}

TEST_CASE("apply: a fence that timed out is never a death") {
  Lab lab("n1");
  lab.calibrate(Power::on);
  lab.lose_n1();
  PowerClosed closed = off(lab.fence_n1());
  closed.outcome = Outcome::unknown;
  closed.readings = {{"bmc-n1", Power::unknown}, {"pdu", Power::on}};
  CHECK(say(lab.state, n2, closed).refusal.empty());
  CHECK(lab.state.nodes.at(n1).dead.empty());
  CHECK(last_event(lab.state, EventKind::fence_failed).devices ==
        Answers{{"bmc-n1", Outcome::unknown}, {"pdu", Outcome::failed_without_effect}});
  CHECK(lab.state.nodes.at(n1).loss->attempts == 1);
  CHECK(lab.state.nodes.at(n1).loss->next_attempt > lab.state.time);
}

TEST_CASE("apply: the return of a boot cancels its fence, and a late answer proves nothing") {
  Lab lab("n1");
  lab.calibrate(Power::on);
  const std::map<NodeId, Member> all = lab.state.view.members;
  lab.lose_n1();
  const OpId op = lab.fence_n1();
  Activate back;
  back.epoch = lab.state.position.epoch.next();
  back.members = all;
  back.votes = lab.state.view.votes;
  back.trusted = true;
  REQUIRE(say(lab.state, n2, back).refusal.empty());
  CHECK_FALSE(lab.state.nodes.at(n1).power);
  CHECK_FALSE(lab.state.nodes.at(n1).loss);
  CHECK(lab.state.nodes.at(n1).settle_until > lab.state.time);
  CHECK_FALSE(say(lab.state, n2, off(op)).refusal.empty());
  CHECK(lab.state.nodes.at(n1).dead.empty());
  CHECK(lab.state.vms.at(lab.web).holders.contains(host_of(lab.state, n1)));
}

TEST_CASE("apply: a new boot of the same machine proves the old one dead") {
  Lab lab("n1");
  std::map<NodeId, Member> members = lab.state.view.members;
  members.at(n1).boot.uuid = test::numbered_uuid(9, 9);
  members.at(n1).incarnation = Incarnation(77);
  const Host old = host_of(lab.state, n1);
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members = members;
  activate.votes = lab.state.view.votes;
  activate.trusted = true;
  SECTION("the same machine") {
    REQUIRE(say(lab.state, n2, activate).refusal.empty());
    CHECK(lab.state.nodes.at(n1).dead.contains(old.boot));
    CHECK(lab.state.vms.at(lab.web).holders.empty());
  }
  SECTION("another machine under the same node id proves nothing and stays out") {
    activate.members.at(n1).machine.uuid = test::numbered_uuid(9, 10);
    REQUIRE(say(lab.state, n2, activate).refusal.empty());
    CHECK(lab.state.nodes.at(n1).dead.empty());
    CHECK(lab.state.vms.at(lab.web).holders.contains(old));
    CHECK(lab.state.view.members.at(n1).phase == MemberPhase::joining);
  }
}

TEST_CASE("apply: a condemned boot that comes back proves nothing about those after it") {
  Lab lab("n1");
  const Host living = host_of(lab.state, n1);
  const BootId condemned{test::numbered_uuid(4, 999)};
  lab.state.nodes.at(n1).dead[condemned] = {DeathCause::fenced, lab.state.time, "test"};
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members = lab.state.view.members;
  activate.members.at(n1).boot = condemned;
  activate.votes = lab.state.view.votes;
  activate.trusted = true;
  REQUIRE(say(lab.state, n2, activate).refusal.empty());
  CHECK(lab.state.view.members.at(n1).phase == MemberPhase::joining);
  CHECK_FALSE(lab.state.nodes.at(n1).dead.contains(living.boot));
  CHECK(lab.state.vms.at(lab.web).holders.contains(living));
}

TEST_CASE("apply: an order to fence a living host is carried out once") {
  Lab lab("n1");
  lab.calibrate(Power::on);
  const Host host = host_of(lab.state, n1);
  const OrderNode order{host, NodeOrderKind::fence, false, 1};
  REQUIRE_FALSE(say(lab.state, n2, order).refusal.empty());
  REQUIRE(say(lab.state, n2, OrderNode{host, NodeOrderKind::fence, true, 1}).refusal.empty());
  const OpId op = lab.fence_n1();
  REQUIRE(say(lab.state, n2, off(op)).refusal.empty());
  // It is in the view: its VMs stay held, and nothing is left of the order.
  CHECK(lab.state.vms.at(lab.web).holders.contains(host));
  CHECK_FALSE(lab.state.nodes.at(n1).fence_ordered);
  CHECK_FALSE(say(lab.state, n2, OperatePower{PowerOpKind::fence, host, n2}).refusal.empty());
  lab.lose_n1();
  CHECK(lab.state.nodes.at(n1).loss);
}

TEST_CASE("apply: a host whose daemon is gone but which is in the ring is not lost") {
  Lab lab("n1");
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members = lab.state.view.members;
  activate.members.erase(n1);
  activate.ring_only = {n1};
  activate.votes = lab.state.view.votes;
  activate.trusted = true;
  REQUIRE(say(lab.state, n2, activate).refusal.empty());
  CHECK_FALSE(lab.state.nodes.at(n1).loss);
  CHECK_FALSE(say(lab.state, n2, OperatePower{PowerOpKind::fence, host_of(lab.state, n1), n2})
                  .refusal.empty());
}

TEST_CASE("apply: confirm-dead is refused for a member and against a device that says on") {
  Lab lab("n1");
  OrderNode order{host_of(lab.state, n1), NodeOrderKind::confirm_dead, false, 1};
  CHECK_FALSE(say(lab.state, n2, order).refusal.empty());
  lab.lose_n1();
  lab.state.nodes.at(n1).loss->last_reading = Power::on;
  CHECK_FALSE(say(lab.state, n2, order).refusal.empty());
  order.force = true;
  CHECK(say(lab.state, n2, order).refusal.empty());
  CHECK(lab.state.vms.at(lab.web).holders.empty());
}

// Found by tests/property/apply_invariants.cc, seed 15.
TEST_CASE("apply: confirm-dead is refused for a host that is back in the ring and still silent") {
  Lab lab("n1");
  lab.lose_n1();
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members = lab.state.view.members;
  activate.members[n1] = Member{};
  activate.votes = lab.state.view.votes;
  activate.trusted = true;
  REQUIRE(say(lab.state, n2, activate).refusal.empty());
  const OrderNode order{host_of(lab.state, n1), NodeOrderKind::confirm_dead, true, 1};
  CHECK(say(lab.state, n2, order).refusal == "n1 is alive in the ring");
  CHECK(lab.state.vms.at(lab.web).holders.contains(host_of(lab.state, n1)));
}

TEST_CASE("apply: a guest that shut itself down stays off, one that crashed is wanted back") {
  Lab lab("n1");
  const Generation now = lab.state.vms.at(lab.web).generation;
  SECTION("shut down from inside") {
    say(lab.state, n1, Report{lab.web, now, DomainState::absent, StopCause::guest_shutdown, false});
    CHECK(lab.state.vms.at(lab.web).guest_off);
    CHECK_FALSE(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
  }
  SECTION("crashed: restarted in place at once, then later, then elsewhere, then given up") {
    VmState& vm = lab.state.vms.at(lab.web);
    const auto crash = [&] {
      vm.holders[host_of(lab.state, n1)] = {DomainState::running, false, lab.state.time};
      say(lab.state, n1,
          Report{lab.web, vm.generation, DomainState::absent, StopCause::failed, false});
    };
    crash();
    CHECK(vm.next_cause == Cause::restart_in_place);
    CHECK(vm.failures.next_try <= lab.state.time);
    crash();
    CHECK(vm.failures.next_try > lab.state.time);
    crash();
    crash();
    CHECK(vm.next_cause == Cause::relocation);
    CHECK(vm.failures.avoid_until.contains(n1));
    for (int i = 0; i < 4; ++i) crash();
    CHECK(vm.failures.given_up);
  }
}

TEST_CASE("apply: a view without a majority may not start, and gets its right by proofs") {
  Lab lab("n2");
  lab.state.view.wait_for_all = true;
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members[n1] = lab.state.view.members.at(n1);
  activate.votes = lab.state.view.votes;
  activate.trusted = true;
  const bool wait_for_all = GENERATE(true, false);
  activate.wait_for_all = wait_for_all;
  REQUIRE(say(lab.state, n1, activate).refusal.empty());
  CHECK(lab.state.view.authority == Authority::restricted);
  for (const NodeId id : {n2, n3}) {
    say(lab.state, n1, OrderNode{host_of(lab.state, id), NodeOrderKind::confirm_dead, false, 1});
  }
  CHECK((lab.state.view.authority == Authority::entitled) == wait_for_all);
  CHECK_FALSE(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
  CHECK(lab.state.position.established < activate.epoch);
  CHECK(say(lab.state, n1, Establish{}).refusal.empty() == wait_for_all);
  CHECK((lab.state.position.established == activate.epoch) == wait_for_all);
  CHECK(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty() == wait_for_all);
}

// Found by tests/property/apply_invariants.cc, seed 9.
TEST_CASE("apply: a goodbye gives a minority its right no longer than its grace") {
  ClusterState state = ClusterBuilder().node("n1").node("n2").vm("web").build();
  REQUIRE(say(state, n2, Leave{host_of(state, n2).boot, true}).refusal.empty());
  Activate activate;
  activate.epoch = state.position.epoch.next();
  activate.members[n1] = state.view.members.at(n1);
  activate.votes = state.view.votes;
  activate.trusted = true;
  activate.wait_for_all = true;
  REQUIRE(say(state, n1, activate).refusal.empty());
  REQUIRE(say(state, n1, Establish{}).refusal.empty());
  REQUIRE(state.view.authority == Authority::established);
  state.time = state.nodes.at(n2).departure->deadline;
  REQUIRE(say(state, n1, Advance{}).refusal.empty());
  CHECK(state.nodes.at(n2).loss);
  CHECK(state.view.authority == Authority::restricted);
}

// Found by the simulator (docs/testing.md, seed 1976): n2 is fenced, n3's daemon was stopped, and
// n1 went on alone. Then n1's daemon stops: n2, n3 are a majority that remembers less than n1 did.
TEST_CASE("apply: a minority does not act while the others may meet a Corosync that is awake") {
  Lab lab("n1");
  REQUIRE(say(lab.state, n3, Leave{host_of(lab.state, n3).boot, true}).refusal.empty());
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members[n1] = lab.state.view.members.at(n1);
  activate.votes = lab.state.view.votes;
  activate.trusted = true;
  activate.wait_for_all = true;
  const bool in_ring = GENERATE(true, false);
  if (in_ring) activate.ring_only = {n3};
  REQUIRE(say(lab.state, n1, activate).refusal.empty());
  say(lab.state, n1, OrderNode{host_of(lab.state, n2), NodeOrderKind::confirm_dead, false, 1});
  REQUIRE(lab.state.nodes.at(n3).departure);
  CHECK(lab.state.view.authority == Authority::restricted);
}

TEST_CASE("apply: votes alone are no majority: half of the nodes must know, too") {
  Lab lab("n1");
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members[n1] = lab.state.view.members.at(n1);
  activate.votes = lab.state.view.votes;
  activate.votes.at(n1) = 3;
  activate.trusted = true;
  REQUIRE(say(lab.state, n1, activate).refusal.empty());
  CHECK(lab.state.view.authority == Authority::restricted);
}

TEST_CASE("apply: an untrusted state starts nothing before an operator accepted it") {
  Lab lab;
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members = lab.state.view.members;
  activate.votes = lab.state.view.votes;
  activate.trusted = false;
  REQUIRE(say(lab.state, n1, activate).refusal.empty());
  CHECK_FALSE(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
  activate.epoch = lab.state.position.epoch.next();
  activate.trusted = true;
  REQUIRE(say(lab.state, n1, activate).refusal.empty());
  CHECK_FALSE(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
  CHECK_FALSE(say(lab.state, n1, Establish{}).refusal.empty());
  CHECK(say(lab.state, n1, AcceptState{n1, 1}).refusal.empty());
  CHECK_FALSE(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
  CHECK(say(lab.state, n1, Establish{}).refusal.empty());
  CHECK(say(lab.state, n1, start(lab.state, lab.web, n1)).refusal.empty());
}

TEST_CASE("apply: replicated time never goes back and never far ahead") {
  Lab lab;
  const ClusterTime before = lab.state.time;
  Message message;
  message.epoch = lab.state.position.epoch;
  message.incarnation = lab.state.view.members.at(n1).incarnation;
  message.body = Advance{};
  message.stamp = ClusterTime{0};
  apply(lab.state, {n1, message, Digest(1)});
  CHECK(lab.state.time == before);
  message.stamp = before + Duration(86400000);
  apply(lab.state, {n1, message, Digest(1)});
  CHECK(lab.state.time == before + Duration(60000));
}

TEST_CASE("apply: equal histories give equal states, different ones different chains") {
  Lab a("n1");
  Lab b("n1");
  CHECK(a.state == b.state);
  say(a.state, n1, Advance{});
  say(b.state, n1, Advance{});
  CHECK(a.state == b.state);
  Message message;
  message.epoch = a.state.position.epoch;
  message.body = Advance{};
  apply(a.state, {n1, message, Digest(1)});
  apply(b.state, {n1, message, Digest(2)});
  CHECK(a.state.position.index == b.state.position.index);
  CHECK(a.state.position.chain != b.state.position.chain);
}

TEST_CASE("apply: a host that is not switched on again is given up after five attempts, loudly") {
  Lab lab("n1");
  lab.calibrate(Power::on);
  lab.lose_n1();
  REQUIRE(say(lab.state, n2, off(lab.fence_n1())).refusal.empty());
  const Host dead{n1, lab.state.nodes.at(n1).boot};
  for (std::uint32_t attempt = 1; attempt <= 5; ++attempt) {
    REQUIRE(lab.state.nodes.at(n1).power_on_due);
    REQUIRE(say(lab.state, n2, OperatePower{PowerOpKind::power_on, dead, n3}).refusal.empty());
    const OpId op = lab.state.nodes.at(n1).power->id;
    const PowerClosed failed{op, n1, Outcome::unknown, {}, {}, "no answer"};
    CHECK(say(lab.state, n2, failed).refusal == "another host executes it");
    REQUIRE(say(lab.state, n3, failed).refusal.empty());
    CHECK(lab.state.nodes.at(n1).power_on_attempts == attempt);
  }
  CHECK_FALSE(lab.state.nodes.at(n1).power_on_due);
  CHECK(last_event(lab.state, EventKind::alarm).text ==
        "n1 could not be switched on again: no answer");
  CHECK(say(lab.state, n2, OperatePower{PowerOpKind::power_on, dead, n3}).refusal ==
        "nothing is to be switched on");
}

TEST_CASE("apply: of very many boots the oldest deaths are forgotten, the newest never") {
  Lab lab;
  std::vector<BootId> boots;
  for (std::uint64_t n = 1; n <= 40; ++n) {
    Activate activate;
    activate.epoch = lab.state.position.epoch.next();
    activate.members = lab.state.view.members;
    activate.members.at(n1).boot.uuid = test::numbered_uuid(8, n);
    activate.votes = lab.state.view.votes;
    activate.trusted = true;
    boots.push_back(lab.state.nodes.at(n1).boot);
    REQUIRE(say(lab.state, n2, activate).refusal.empty());
    CHECK(lab.state.nodes.at(n1).dead.contains(boots.back()));
  }
  const auto& dead = lab.state.nodes.at(n1).dead;
  CHECK(dead.size() == 32);
  CHECK_FALSE(dead.contains(boots[7]));
  for (std::size_t n = 8; n < boots.size(); ++n) CHECK(dead.contains(boots[n]));
}

TEST_CASE("apply: before a cluster is founded no configuration is taken") {
  ClusterState blank;
  Message message;
  message.body = ChangeConfiguration{};
  CHECK(apply(blank, {n1, message, Digest(1)}).refusal ==
        "no cluster is founded: `clusterctl init NAME`");
}

TEST_CASE("apply: a configuration that contradicts what the cluster knows is refused") {
  Lab lab;
  ChangeConfiguration change;
  change.base = lab.state.config.version;
  std::string why;
  SECTION("a fence device that is not there goes") {
    change.delete_fence_devices = {"bmc-n9"};
    why = "fence_devices.bmc-n9: there is no fence device bmc-n9";
  }
  SECTION("a text is not the one that was named") {
    change.upsert.domain_xml[Digest(7)] = "<domain/>";
    why = "vms: a domain's XML does not match its digest";
  }
  SECTION("the cluster gets another name") {
    change.upsert.cluster.emplace().name = "other";
    why = "cluster.name: this cluster was founded as test; names do not change";
  }
  SECTION("Corosync knows no such node") {
    change.upsert.nodes["n9"];
    why = "nodes.n9: no such node in corosync.conf; it has n1, n2, n3";
  }
  const Configuration before = lab.state.config;
  CHECK(say(lab.state, n1, change).refusal == why);
  CHECK(lab.state.config == before);
}

TEST_CASE("apply: a boot that is not trusted stays out: it is not synced and not believed") {
  Lab lab("n1");
  lab.lose_n1();
  const BootId boot = lab.state.nodes.at(n1).boot;
  Activate activate;
  activate.epoch = lab.state.position.epoch.next();
  activate.members = lab.state.view.members;
  activate.members[n1] = Member{boot, Incarnation(77), lab.state.nodes.at(n1).machine,
                                MemberPhase::joining, false};
  activate.votes = lab.state.view.votes;
  activate.trusted = true;
  const Report running{lab.web, Generation(0), DomainState::running, StopCause::none, false};
  SECTION("it was proven dead, and is alive") {
    say(lab.state, n2, OrderNode{{n1, boot}, NodeOrderKind::confirm_dead, false, 1});
    REQUIRE(lab.state.nodes.at(n1).dead.contains(boot));
    REQUIRE(say(lab.state, n2, activate).refusal.empty());
    CHECK(last_event(lab.state, EventKind::alarm).text.starts_with("false death proof: n1"));
    CHECK(say(lab.state, n1, Synced{}).refusal == "this boot is condemned");
    CHECK(say(lab.state, n1, running).refusal == "this boot is condemned");
    CHECK(lab.state.vms.at(lab.web).holders.empty());
  }
  SECTION("it is another machine, and the old one may be alive") {
    activate.members.at(n1).boot.uuid = test::numbered_uuid(8, 1);
    activate.members.at(n1).machine.uuid = test::numbered_uuid(8, 2);
    REQUIRE(say(lab.state, n2, activate).refusal.empty());
    CHECK(say(lab.state, n1, Synced{}).refusal == "another machine under the same node id");
  }
  CHECK(lab.state.view.members.at(n1).phase == MemberPhase::joining);
  const OrderNode order{host_of(lab.state, n3), NodeOrderKind::fence, false, 1};
  CHECK(say(lab.state, n1, order).refusal == "the asked node is not synced");
}

TEST_CASE("apply: only a synced member stops a VM, and only on the host that holds it") {
  Lab lab("n1");
  const Host host = host_of(lab.state, n1);
  const StopVm stop{lab.web, Generation(0), host, Cause::desired};
  lab.lose_n1();
  CHECK(say(lab.state, n2, stop).refusal == "the host is no synced member");
  CHECK(say(lab.state, n1, stop).refusal == "its planner is not synced");
  CHECK(say(lab.state, n2, StopVm{lab.web, Generation(0), host_of(lab.state, n2), Cause::desired})
            .refusal == "that host does not hold it");
  CHECK_FALSE(lab.state.vms.at(lab.web).operation);
}
