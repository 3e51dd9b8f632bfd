// The driver: what it refuses, what it persists, and when it gives up.
#include "clusterd/runtime/driver.h"

#include <catch2/catch.hpp>

#include "clusterd/base/prng.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/codec/wire.h"
#include "tests/unit/codec/samples.h"
#include "tests/unit/runtime/driver_bench.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

ApplyConfiguration change(const DriverBench& bench) {
  ApplyConfiguration apply;
  apply.base = bench.state().config.version;
  apply.upsert.nodes["n1"].provides = {"san-a"};
  return apply;
}

ApplyConfiguration change_with_vm(const DriverBench& bench, std::size_t xml_size) {
  ApplyConfiguration apply = change(bench);
  const std::string xml(xml_size, 'x');
  VmDeclaration vm;
  vm.domain.uuid = VmId{numbered_uuid(3, 1)};
  vm.domain.xml = digest_of(xml);
  vm.domain.size = {4ULL << 30, 2};
  apply.upsert.vms["web1"] = vm;
  apply.upsert.domain_xml[vm.domain.xml] = xml;
  return apply;
}

}  // namespace

TEST_CASE("driver: what the store holds after a crash is the state before it") {
  DriverBench bench;
  bench.found();
  for (int i = 0; i < 5; ++i) REQUIRE(bench.ask(change(bench)).code == ReplyCode::done);
  REQUIRE_FALSE(bench.store.content.records.empty());
  const ClusterState before = bench.state();
  bench.start();
  CHECK(bench.problem.empty());
  CHECK(bench.condition == StoreCondition::intact);
  CHECK(state_digest(bench.state()) == state_digest(before));
}

TEST_CASE("driver: a configuration larger than one message travels in pieces") {
  DriverBench bench;
  bench.found();
  REQUIRE(bench.ask(change_with_vm(bench, 200 * 1024)).code == ReplyCode::done);
  CHECK(bench.state().config.vms.size() == 1);
  const ClusterState before = bench.state();
  bench.start();
  CHECK(state_digest(bench.state()) == state_digest(before));
}

TEST_CASE("driver: garbage in the group is refused and counted, and changes nothing") {
  DriverBench bench;
  bench.found();
  const Position before = bench.state().position;
  const GroupMember stranger{NodeId(9), 3};
  Prng prng(5);
  for (int i = 0; i < 1000; ++i) {
    std::string noise = i % 3 == 0 ? "CLDM" : i % 3 == 1 ? "CLDF" : "";
    const auto size = prng.below(300);
    for (std::uint64_t n = 0; n < size; ++n) noise += static_cast<char>(prng.below(256));
    bench.driver->on_message(stranger, noise);
  }
  bench.settle();
  CHECK(bench.driver->counters().rejected == 1000);
  int told = 0;
  for (const auto& [what, count] : bench.rejected) {
    CHECK(what.first == stranger.node);
    told += count;
  }
  CHECK(told == 1000);
  CHECK(bench.rejected.count({stranger.node, "not_ours"}) == 1);
  CHECK(bench.rejected.count({stranger.node, "too_short"}) == 1);
  CHECK(bench.rejected.size() < 8);
  CHECK(bench.state().position == before);
  CHECK(bench.exit_reason.empty());
}

TEST_CASE("driver: valid messages of a stranger do not bring it down") {
  DriverBench bench;
  bench.found();
  const GroupMember stranger{NodeId(9), 3};
  for (int round = 0; round < 3; ++round) {
    for (Message message : sample_messages()) {
      message.epoch = bench.state().position.epoch;
      bench.driver->on_message(stranger, encode(message));
    }
    bench.settle();
  }
  CHECK(bench.exit_reason.empty());
}

TEST_CASE("driver: a request that no member would accept is answered at once") {
  DriverBench bench;
  bench.found();
  ApplyConfiguration wrong = change(bench);
  wrong.upsert.nodes["n1"].host_reserved.memory = UINT64_MAX;
  CHECK(bench.ask(wrong).code == ReplyCode::refused);
}

TEST_CASE("driver: a log that cannot be written ends the daemon with the reason") {
  DriverBench bench;
  bench.found();
  bench.store.broken = true;
  static_cast<void>(bench.ask(change(bench)));
  CHECK(bench.driver->exited());
  CHECK(bench.exit_reason.find("no space left on device") != std::string::npos);
}

TEST_CASE("driver: a VM that cannot be protected ends the daemon before it acknowledges it") {
  DriverBench bench;
  bench.found();
  bench.hypervisor.broken = true;
  static_cast<void>(bench.ask(change_with_vm(bench, 100)));
  CHECK(bench.driver->exited());
  CHECK(bench.exit_reason.find("cannot be protected") != std::string::npos);
}

TEST_CASE("driver: a snapshot is cut when the log has grown long") {
  DriverBench bench;
  bench.found();
  const int installs = bench.store.installs;
  while (bench.store.installs == installs) {
    REQUIRE(bench.store.content.records.size() < Driver::kRecordsPerSnapshot + 16);
    REQUIRE(bench.ask(change(bench)).code == ReplyCode::done);
  }
  const ClusterState before = bench.state();
  bench.start();
  CHECK(state_digest(bench.state()) == state_digest(before));
}

TEST_CASE("driver: without Corosync the node is alone and not quorate") {
  DriverBench bench;
  bench.found();
  CHECK(bench.driver->controller().local_view().quorate);
  bench.driver->on_lost("it ended");
  bench.settle();
  CHECK_FALSE(bench.driver->controller().local_view().quorate);
  CHECK(bench.exit_reason.empty());
}

TEST_CASE("load: damage makes the node amnesiac, with the reason") {
  DriverBench bench;
  bench.found();
  REQUIRE(bench.ask(change(bench)).code == ReplyCode::done);
  const StoredState intact = bench.store.content;

  bench.store.content.snapshot.back() ^= 1;
  bench.start();
  CHECK(bench.condition == StoreCondition::amnesiac);
  CHECK(bench.problem.find("snapshot") != std::string::npos);
  CHECK(bench.state() == ClusterState{});

  bench.store.content = intact;
  bench.store.content.records.front().resize(20);
  bench.start();
  CHECK(bench.condition == StoreCondition::amnesiac);
  CHECK(bench.problem.find("record 1") != std::string::npos);
}

TEST_CASE("load: a store that cannot be written keeps the daemon from joining, and says why") {
  BenchStore store;
  BenchHypervisor hypervisor;
  REQUIRE(load(store, hypervisor, ClusterTime{1}).ok());
  store.broken = true;
  const auto loaded = load(store, hypervisor, ClusterTime{1});
  REQUIRE_FALSE(loaded.ok());
  CHECK(loaded.error().message == "the state could not be written: no space left on device");
}
