// One Driver with its Controller, alone in its group, over ports that a test can read and break.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clusterd/runtime/driver.h"
#include "tests/support/cluster_builder.h"

namespace clusterd::test {

struct BenchGroup final : Group {
  SendStatus multicast(std::string_view bytes) override {
    sent.emplace_back(bytes);
    return SendStatus::queued;
  }
  void leave() override {}
  std::deque<std::string> sent;
};

struct BenchStore final : Store {
  Result<StoredState> load() override { return content; }
  Status try_write(std::size_t) override {
    if (broken) return Error{"no space left on device"};
    return ok_status();
  }
  Status append(std::string_view record) override {
    if (broken) return Error{"no space left on device"};
    content.records.emplace_back(record);
    return ok_status();
  }
  void sync(LogIndex upto) override { sink->post(StoreSynced{upto, true, ""}); }
  Status install(std::string_view snapshot) override {
    if (broken) return Error{"no space left on device"};
    content.condition = StoreCondition::intact;
    content.snapshot = snapshot;
    content.records.clear();
    ++installs;
    return ok_status();
  }
  Status set_aside(std::string_view) override {
    content = StoredState{StoreCondition::amnesiac, "set aside", "", {}};
    return ok_status();
  }
  StoredState content;
  EventSink* sink = nullptr;
  bool broken = false;
  int installs = 0;
};

struct BenchHypervisor final : Hypervisor {
  void start(const DispatchStart&) override {}
  void stop(const DispatchStop&) override {}
  void revoke_and_look(const RevokeAndLook&) override {}
  void look_up(const LookUp&) override {}
  void list(const ListDomains&) override {}
  Status protect(VmId vm) override {
    if (broken) return Error{"read-only file system"};
    guarded.insert(vm);
    return ok_status();
  }
  std::set<VmId> protected_vms() const override { return guarded; }
  std::set<VmId> guarded;
  bool broken = false;
};

struct BenchFencer final : Fencer {
  void operate(const DispatchPower&) override {}
  void cancel(OpId) override {}
  void test(const RunFenceTest&) override {}
};

struct BenchProber final : Prober {
  void watch(const WatchGuest&) override {}
  void unwatch(const UnwatchGuest&) override {}
  void repair(const RepairGuest&) override {}
};

struct BenchControl final : Control {
  void reply(ClientId client, const ControlReply& reply) override { replies[client] = reply; }
  std::map<ClientId, ControlReply> replies;
};

class DriverBench {
 public:
  static constexpr GroupMember kSelf{NodeId(1), 10};

  DriverBench() { start(); }

  // Starts a daemon, as after a crash: from what the store holds.
  void start() {
    auto loaded = load(store, hypervisor, ClusterTime{1767225600000});
    CLUSTERD_ASSERT(loaded.ok());
    problem = loaded.value().problem;
    condition = loaded.value().start.condition;
    DriverCallbacks calls;
    calls.exit = [this](int, const std::string& reason) { exit_reason = reason; };
    calls.rejected = [this](NodeId sender, std::string_view reason) {
      ++rejected[{sender, std::string(reason)}];
    };
    exit_reason.clear();
    group.sent.clear();
    const NodeIdentity identity{NodeId(1), MachineId{numbered_uuid(4, 1)},
                                BootId{numbered_uuid(2, 1)}, Incarnation(++runs)};
    driver = std::make_unique<Driver>(
        identity, std::move(loaded).value(),
        DriverPorts{group, store, hypervisor, fencer, control, prober, recorder}, std::move(calls),
        now);
    store.sink = driver.get();
  }

  void view() {
    ViewChanged alone{{kSelf}, {NodeId(1)}, {}};
    alone.quorum.quorate = true;
    alone.quorum.votes = {{NodeId(1), 1}};
    alone.quorum.names = {{NodeId(1), "n1"}};
    driver->on_view(alone);
  }

  // Lets time pass until nothing is under way any more.
  void settle() {
    for (int round = 0; round < 200 && !driver->exited(); ++round) {
      now += Duration(10);
      while (!group.sent.empty()) {
        driver->on_message(kSelf, group.sent.front());
        group.sent.pop_front();
      }
      driver->run_pending(now);
    }
  }

  ControlReply ask(ControlRequest what) {
    const ClientId client(++clients);
    driver->post(ClientRequest{client, std::move(what), "uid 0"});
    settle();
    return control.replies.count(client) != 0
               ? control.replies[client]
               : ControlReply{ReplyCode::unknown, "no answer", "", false};
  }

  void found() {
    view();
    settle();
    const ControlReply reply = ask(InitCluster{"bench"});
    CLUSTERD_ASSERT(reply.code == ReplyCode::done);
  }

  [[nodiscard]] const ClusterState& state() const { return driver->controller().state(); }

  BenchGroup group;
  BenchStore store;
  BenchHypervisor hypervisor;
  BenchFencer fencer;
  BenchProber prober;
  BenchControl control;
  Recorder* recorder = nullptr;  // counts from the next start()
  std::unique_ptr<Driver> driver;
  std::string problem;
  StoreCondition condition = StoreCondition::blank;
  std::string exit_reason;
  std::map<std::pair<NodeId, std::string>, int> rejected;
  Instant now{Duration(5000)};
  std::uint64_t runs = 0;
  std::uint64_t clients = 0;
};

}  // namespace clusterd::test
