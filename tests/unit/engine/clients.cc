// What local clients are answered, by one daemon alone in its group.
#include <catch2/catch.hpp>

#include "tests/unit/runtime/driver_bench.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

ReplyCode code_of(DriverBench& bench, ControlRequest what) {
  return bench.ask(std::move(what)).code;
}

ApplyConfiguration one_vm(const DriverBench& bench) {
  ApplyConfiguration apply;
  apply.base = bench.state().config.version;
  apply.upsert.nodes["n1"];
  const std::string xml = "<domain/>";
  apply.upsert.domain_xml[digest_of(xml)] = xml;
  VmDeclaration& vm = apply.upsert.vms["web"];
  vm.domain.uuid = VmId{numbered_uuid(3, 1)};
  vm.domain.xml = digest_of(xml);
  return apply;
}

}  // namespace

TEST_CASE("clients: a cluster is founded once, by a node that has a view with all others in it") {
  DriverBench bench;
  const ControlReply early = bench.ask(InitCluster{"bench"});
  CHECK(early.code == ReplyCode::unavailable);
  CHECK(early.message == "Corosync has not told a membership yet");

  ViewChanged half{{DriverBench::kSelf}, {NodeId(1)}, {}};
  half.quorum.names = {{NodeId(1), "n1"}, {NodeId(2), "n2"}};
  half.quorum.votes = {{NodeId(1), 1}, {NodeId(2), 1}};
  bench.driver->on_view(half);
  bench.settle();
  CHECK(code_of(bench, InitCluster{"bench"}) == ReplyCode::unavailable);
  half.quorum.quorate = true;
  bench.driver->on_view(half);
  bench.settle();
  const ControlReply alone = bench.ask(InitCluster{"bench"});
  CHECK(alone.code == ReplyCode::refused);
  CHECK(alone.message == "every node of corosync.conf must run clusterd; missing: n2");
  CHECK(code_of(bench, VmCommand{"web", VmOrderKind::start, false}) == ReplyCode::refused);

  bench.found();
  const ControlReply again = bench.ask(InitCluster{"bench"});
  CHECK(again.code == ReplyCode::refused);
  CHECK(again.message == "this node belongs to cluster bench already");
}

TEST_CASE("clients: what does not exist is refused by its name") {
  DriverBench bench;
  bench.found();
  CHECK(bench.ask(VmCommand{"web", VmOrderKind::start, false}).message == "there is no VM web");
  CHECK(bench.ask(NodeCommand{"n7", NodeOrderKind::fence, false}).message ==
        "there is no node n7; known are n1");
  CHECK(bench.ask(RecoverCluster{"n7"}).message == "there is no node n7; known are n1");
  CHECK(bench.ask(TestFencing{"n1"}).message == "no fence device is declared for n1");
  CHECK(bench.ask(TestFencing{""}).message == "no fence device is declared");
  CHECK(bench.ask(RecoverCluster{"n1"}).message == "this state needs no word: it is trusted");
  CHECK(bench.ask(NodeCommand{"n1", NodeOrderKind::fence, false}).code == ReplyCode::refused);
}

TEST_CASE("clients: a request that only reads is not for the controller") {
  DriverBench bench;
  bench.found();
  CHECK(code_of(bench, GetStatus{}) == ReplyCode::usage);
  CHECK(code_of(bench, GetHistory{}) == ReplyCode::usage);
}

TEST_CASE("clients: a test of fence devices is answered with what it found") {
  DriverBench bench;
  bench.driver->post(FenceTestEnded{ClientId(70), "{}", true});
  bench.driver->post(FenceTestEnded{ClientId(71), "{\"bad\": 1}", false});
  bench.settle();
  CHECK(bench.control.replies.at(ClientId(70)).code == ReplyCode::done);
  CHECK(bench.control.replies.at(ClientId(71)).code == ReplyCode::refused);
  CHECK(bench.control.replies.at(ClientId(71)).json == "{\"bad\": 1}");
}

TEST_CASE("clients: without quorum nothing is taken, and one that has gone is not answered") {
  DriverBench bench;
  bench.found();
  REQUIRE(code_of(bench, one_vm(bench)) == ReplyCode::done);
  // Waits for ever: the hypervisor of the bench starts nothing.
  bench.driver->post(ClientRequest{ClientId(80), VmCommand{"web", VmOrderKind::start, true}, "me"});
  bench.settle();
  bench.driver->post(ClientGone{ClientId(80)});
  bench.settle();
  CHECK_FALSE(bench.control.replies.contains(ClientId(80)));

  QuorumChanged lost;
  lost.quorum.votes = {{NodeId(1), 1}};
  bench.driver->on_quorum(lost);
  bench.settle();
  const ControlReply reply = bench.ask(VmCommand{"web", VmOrderKind::stop, true});
  CHECK(reply.code == ReplyCode::unavailable);
  CHECK_FALSE(reply.message.empty());
}

TEST_CASE("clients: a wait for a VM ends when it has got there, failed, or gone") {
  DriverBench bench;
  bench.found();
  REQUIRE(code_of(bench, one_vm(bench)) == ReplyCode::done);
  CHECK(bench.ask(VmCommand{"web", VmOrderKind::stop, true}).message == "web is stopped");
  CHECK(code_of(bench, VmCommand{"web", VmOrderKind::disable, true}) == ReplyCode::done);
  CHECK(code_of(bench, VmCommand{"web", VmOrderKind::enable, true}) == ReplyCode::done);
  CHECK(bench.ask(VmCommand{"web", VmOrderKind::restart, true}).code != ReplyCode::usage);
  bench.driver->post(ClientRequest{ClientId(90), VmCommand{"web", VmOrderKind::start, true}, "me"});
  bench.settle();
  REQUIRE_FALSE(bench.control.replies.contains(ClientId(90)));
  ApplyConfiguration gone;
  gone.base = bench.state().config.version;
  gone.delete_vms = {"web"};
  REQUIRE(code_of(bench, gone) == ReplyCode::done);
  bench.settle();
  CHECK(bench.control.replies.at(ClientId(90)).message == "it is gone");
}

TEST_CASE("clients: a start that fails too often is told as the end of the wait") {
  DriverBench bench;
  bench.found();
  ApplyConfiguration apply = one_vm(bench);
  apply.upsert.vms["web"].policy.restart = RestartPolicy{0, std::chrono::hours(1), 0};
  REQUIRE(code_of(bench, apply) == ReplyCode::done);
  const ClientId client(95);
  bench.driver->post(ClientRequest{client, VmCommand{"web", VmOrderKind::start, true}, "me"});
  bench.driver->post(HypervisorConnection{true, ""});
  bench.settle();
  DomainsListed listed;
  listed.look = 1;
  listed.ok = true;
  listed.facts.total = {gib(64), 32};
  bench.driver->post(listed);
  bench.settle();
  const VmId web = bench.state().vms.begin()->first;
  REQUIRE(bench.state().vms.at(web).operation);
  bench.driver->post(VmOperationEnded{bench.state().vms.at(web).operation->id, web,
                                      Outcome::failed_without_effect, DomainState::absent,
                                      "no such disk"});
  bench.settle();
  CHECK(bench.control.replies.at(client).code == ReplyCode::refused);
  CHECK(bench.control.replies.at(client).message == "web failed: its start failed: no such disk");
}
