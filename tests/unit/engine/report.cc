// The words that operators read, one case each (contract.md section 3).
#include "clusterd/engine/report.h"

#include <catch2/catch.hpp>

#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;
using std::chrono::minutes;

struct Told {
  ClusterBuilder cluster;
  LocalView local;

  Told() {
    cluster.node("n1").node("n2").vm("web");
    local.active = local.quorate = true;
  }
  [[nodiscard]] StatusReport status() const {
    return report_status(cluster.build(), local, cluster.build().time);
  }
  [[nodiscard]] std::string vm() const {
    const VmReport report = status().vms.at(0);
    return report.state + ": " + report.reason;
  }
  // Of n1.
  [[nodiscard]] std::string node() const {
    const NodeReport report = status().nodes.at(0);
    return report.state + ": " + report.reason;
  }
  [[nodiscard]] Member& member() { return cluster.state().view.members.at(NodeId(1)); }
  [[nodiscard]] Sighting& sighting() {
    return cluster.vm_state("web").holders.at(cluster.host("n1"));
  }
  void open(VmOpKind kind, Cause cause) {
    VmOperation operation;
    operation.id = {Epoch(3), LogIndex(9)};
    operation.kind = kind;
    operation.executor = cluster.host("n1");
    operation.cause = cause;
    operation.deadline = cluster.state().time + minutes(1);
    cluster.vm_state("web").operation = operation;
    cluster.run("web", "n1");
    sighting() = Sighting{};
  }
};

}  // namespace

TEST_CASE("report: what a node is, and why") {
  Told told;
  const BootId boot = told.cluster.node_state("n1").boot;
  SECTION("online") {
    CHECK(told.node() == "online: ");
  }
  SECTION("condemned") {
    told.cluster.node_state("n1").dead[boot] = {};
    CHECK(told.node() ==
          "condemned: it was proven dead and is alive: it destroys its VMs, and comes back as a "
          "new boot");
  }
  SECTION("silent") {
    told.member() = Member{};
    CHECK(told.node() == "joining: its daemon has said nothing yet");
  }
  SECTION("joining") {
    told.member().phase = MemberPhase::joining;
    CHECK(told.node() == "joining: it receives the state");
  }
  SECTION("demoted") {
    told.member().phase = MemberPhase::demoted;
    CHECK(told.node() == "unmanaged: its daemon does not acknowledge; its VMs run on unwatched");
  }
  SECTION("counting") {
    told.member().inventory_done = false;
    CHECK(told.node() == "joining: its VMs are being counted");
    told.cluster.node_state("n1").facts.problem = "libvirt is not reachable";
    CHECK(told.node() == "joining: libvirt is not reachable");
  }
  SECTION("maintenance") {
    told.cluster.node_state("n1").maintenance = true;
    CHECK(told.node() == "maintenance: ");
  }
  SECTION("leaving, and left") {
    told.cluster.node_state("n1").departure = Departure{boot, true, {}, {}};
    CHECK(told.node() == "left: its daemon is leaving, its VMs run on");
    told.cluster.state().view.members.erase(NodeId(1));
    CHECK(told.node() == "left: it was stopped cleanly");
    told.cluster.state().view.ring_only.insert(NodeId(1));
    CHECK(told.node() == "left: its daemon was stopped, its VMs run on unwatched");
  }
  SECTION("without a daemon") {
    told.cluster.state().view.members.erase(NodeId(1));
    CHECK(told.node() == "lost: it was never seen");
    told.cluster.state().view.ring_only.insert(NodeId(1));
    CHECK(told.node() ==
          "unmanaged: its daemon is gone, its host is alive: its VMs run on unwatched");
  }
  SECTION("dead") {
    told.cluster.prove_dead("n1");
    CHECK(told.node() == "dead: test");
    told.cluster.node_state("n1").power_on_due = boot;
    CHECK(told.node() == "dead: test; it is being switched on again");
  }
}

TEST_CASE("report: what a lost node waits for") {
  Told told;
  ClusterState& state = told.cluster.state();
  told.cluster.run("web", "n1").lose("n1");
  Loss& loss = *told.cluster.node_state("n1").loss;
  CHECK(told.node() ==
        "lost: it has no fence device: `clusterctl node confirm-dead n1` when it is "
        "off");
  state.config.fence_devices["bmc"].agent = "fence_test";
  told.cluster.node_declaration("n1").fencing = {{"bmc"}};
  SECTION("the next attempt") {
    CHECK(told.node() ==
          "lost: it goes first if it is alive, as its VMs matter more: it is fenced in 8 s "
          "(priority_delay)");
    state.config.cluster.priority_delay = Duration(0);
    CHECK(told.node() == "lost: fencing attempt 1 follows");
    loss.attempts = 1;
    loss.last_failure = "no answer";
    CHECK(told.node() == "lost: fencing attempt 2 follows; last: no answer");
  }
  SECTION("its boot, at a cold start") {
    loss.cold_start = true;
    CHECK(told.node() == "lost: it may be on its way back: it is fenced in 181 s");
  }
  SECTION("a fence that is under way") {
    PowerOperation power;
    power.kind = PowerOpKind::fence;
    power.target = {NodeId(1), loss.boot};
    power.executor = told.cluster.host("n2");
    told.cluster.node_state("n1").power = power;
    CHECK(told.node() == "fencing: it is being fenced by n2");
    const OperationReport shown = told.status().operations.at(0);
    CHECK(shown.kind == "fence");
    CHECK(shown.node == "n1");
    CHECK(shown.executor == "n2");
  }
  SECTION("nobody") {
    told.cluster.vm_state("web").holders.clear();
    CHECK(told.node() == "lost: nothing needs its proof of death");
  }
  SECTION("the operator's word for the state, or the arming") {
    state.armed = false;
    CHECK(told.node() == "lost: the cluster is disarmed: `clusterctl arm` ends it");
    state.accepted = false;
    CHECK(told.node().starts_with("lost: this state came back without a majority"));
  }
}

TEST_CASE("report: what a VM on a host is") {
  Told told;
  told.cluster.run("web", "n1");
  SECTION("each state of its domain") {
    const std::map<DomainState, std::string> words{
        {DomainState::running, "running: "},
        {DomainState::paused, "paused: somebody paused it"},
        {DomainState::paused_io_error, "paused: an I/O error of its disk paused it"},
        {DomainState::shutting_down, "stopping: its guest is shutting down"},
        {DomainState::crashed, "paused: its guest has panicked, or hung until its watchdog fired"},
        {DomainState::absent, "unknown: its host has not yet said whether it runs"},
        {DomainState::paused_incoming, "unknown: its host has not yet said whether it runs"}};
    for (const auto& [state, word] : words) {
      told.sighting().state = state;
      CHECK(told.vm() == word);
    }
  }
  SECTION("its health") {
    told.sighting().agent = false;
    CHECK(told.status().vms.at(0).health == "none");
    told.sighting().agent = true;
    CHECK(told.status().vms.at(0).health == "healthy");
    told.cluster.declaration("web").policy.health.emplace().guest_agent.emplace();
    told.sighting().health = Health::unhealthy;
    told.sighting().health_reason = "probe web failed";
    CHECK(told.status().vms.at(0).health == "unhealthy");
    CHECK(told.vm() == "running: probe web failed");
    told.cluster.declaration("web").policy.health->on_unhealthy = OnUnhealthy::alert;
    CHECK(told.vm().ends_with("nothing is done about it (on_unhealthy: alert)"));
    told.sighting().health = Health::degraded;
    CHECK(told.status().vms.at(0).health == "degraded");
    told.cluster.lose("n1");
    CHECK(told.status().vms.at(0).health == "unknown");
  }
  SECTION("without a daemon there") {
    told.cluster.state().view.members.erase(NodeId(1));
    told.cluster.state().view.ring_only.insert(NodeId(1));
    CHECK(told.vm() == "running: the daemon there is gone: this is the last that is known");
  }
  SECTION("on a lost host, with a place kept for it") {
    told.cluster.lose("n1");
    const std::string word = told.vm();
    CHECK(word.starts_with("unknown: n1 is lost and not proven dead: "));
    CHECK(word.ends_with("; n2 is reserved for it"));
  }
  SECTION("twice") {
    told.cluster.run("web", "n2");
    CHECK(told.vm() == "duplicate: it is active on several hosts: stop all but one by hand");
    CHECK(told.status().alarms.at(0).starts_with("VM web: it is active on several hosts"));
  }
}

TEST_CASE("report: what is done to a VM, and what for") {
  Told told;
  const std::map<Cause, std::string> causes{{Cause::desired, "it is wanted"},
                                            {Cause::restart_in_place, "it failed here"},
                                            {Cause::relocation, "it kept failing elsewhere"},
                                            {Cause::host_lost, "its host is proven dead"},
                                            {Cause::restart_order, "an operator restarts it"},
                                            {Cause::undeclared, "it is no longer declared"}};
  told.open(VmOpKind::start, Cause::preempted);
  CHECK(told.vm() == "starting: there is room for it again");
  told.open(VmOpKind::stop, Cause::preempted);
  CHECK(told.vm() == "stopping: it makes room for a VM that is not preemptible");
  for (const auto& [cause, why] : causes) {
    told.open(VmOpKind::start, cause);
    CHECK(told.vm() == "starting: " + why);
    told.open(VmOpKind::stop, cause);
    CHECK(told.vm() == "stopping: " + why);
  }
  CHECK(told.status().operations.at(0).kind == "stop");
  told.cluster.vm_state("web").operation->unknown = true;
  CHECK(told.vm() == "stuck: libvirt on n1 does not let go of operation 3.9");
  told.cluster.vm_state("web").operation->detail = "it hangs";
  CHECK(told.vm() == "stuck: libvirt on n1 does not let go of operation 3.9: it hangs");
  told.cluster.vm_state("web").operation->unknown = false;
  told.cluster.state().time = told.cluster.state().time + minutes(2);
  CHECK(told.vm().starts_with("stuck: "));
  CHECK(told.status().alarms.back().starts_with("VM web is stuck: "));
}

TEST_CASE("report: why a VM runs nowhere") {
  Told told;
  VmState& vm = told.cluster.vm_state("web");
  SECTION("it is about to") {
    CHECK(told.vm().starts_with("waiting: it is about to start on n"));
  }
  SECTION("it is not wanted") {
    told.cluster.order("web", DesiredState::stopped);
    CHECK(told.vm() == "stopped: ");
  }
  SECTION("its guest shut down") {
    vm.guest_off = true;
    CHECK(told.vm() == "stopped: its guest shut it down");
  }
  SECTION("a member has not spoken") {
    vm.awaiting.insert(told.cluster.host("n2"));
    CHECK(told.vm() == "waiting: a member has not yet said whether it runs it");
  }
  SECTION("the view may not start anything") {
    told.cluster.state().view.authority = Authority::restricted;
    CHECK(told.vm().starts_with("waiting: synced daemons are not a strict majority"));
  }
  SECTION("it failed too often") {
    vm.failures.given_up = true;
    vm.failures.reason = "its start failed";
    vm.failures.next_try = told.cluster.state().time + minutes(5);
    CHECK(told.vm().starts_with("failed: failed too often: its start failed; next try in 301 s"));
  }
  SECTION("it waits for another one") {
    told.cluster.vm("db");
    told.cluster.declaration("web").policy.start_after = std::set<std::string>{"db"};
    vm.eligible_since = told.cluster.state().time;
    CHECK(told.status().vms.at(1).reason.find("db") != std::string::npos);
  }
  SECTION("no node can take it, each for its reason") {
    told.cluster.declaration("web").domain.size.memory = gib(500);
    const std::string word = told.vm();
    CHECK(word.starts_with("waiting: "));
    CHECK(word.find("(n1: memory: ") != std::string::npos);
    CHECK(word.find("; n2: memory: ") != std::string::npos);
  }
}

TEST_CASE("report: what is shouted about a fence device and a host") {
  Told told;
  NodeState& node = told.cluster.node_state("n1");
  CHECK(told.status().alarms.at(0).starts_with("node n1 has no fence device"));
  for (const std::string name : {"n1", "n2"}) {
    told.cluster.state().config.fence_devices["bmc"].agent = "fence_test";
    told.cluster.node_declaration(name).fencing = {{"bmc"}};
  }
  REQUIRE(told.status().alarms.empty());
  node.calibration["bmc"] = {node.boot, Power::on, {}, ""};
  CHECK(told.status().alarms.empty());
  CHECK(told.status().nodes.at(0).fence_devices.at(0).calibrated);
  node.calibration["bmc"] = {node.boot, Power::off, {}, ""};
  CHECK(told.status().alarms.at(0) == "fence device bmc of n1 says off although the host is alive");
  node.calibration["bmc"] = {node.boot, Power::unknown, {}, "timeout"};
  CHECK(told.status().alarms.at(0) == "fence device bmc of n1 does not answer: timeout");
  node.calibration.clear();
  node.facts.problem = "libvirt is not reachable";
  CHECK(told.status().alarms.at(0) == "node n1 can start nothing: libvirt is not reachable");
}

TEST_CASE("report: explain says what it knows, what went wrong last, and how each node stands") {
  Told told;
  told.cluster.run("web", "n1").vm_state("web").failures.reason = "its QEMU process died";
  const VmId web = told.cluster.vm_id("web");
  for (std::uint64_t i = 1; i <= 25; ++i) {
    HistoryEvent event;
    event.sequence = i;
    if (i != 20) event.vm = web;
    told.cluster.state().history[i] = event;
  }
  told.local.active = false;
  told.local.waiting = "it is not quorate";
  const ClusterState state = told.cluster.build();
  const auto explained = explain_vm(state, told.local, "web", state.time);
  REQUIRE(explained);
  REQUIRE(explained->why.size() == 2);
  CHECK(explained->why[0] ==
        "this node does not follow the cluster now (it is not quorate): what "
        "stands here is the last it knew");
  CHECK(explained->why[1] == "last failure: its QEMU process died");
  CHECK(explained->nodes.at(0).reason == "it is here");
  CHECK(explained->history.size() == 20);
  CHECK(explained->history.front().sequence == 5);
  CHECK(explained->history.back().sequence == 25);
  CHECK_FALSE(explain_vm(state, told.local, "nobody", state.time));
}
