// What the metrics are told of the replica: every event once, snapshots only after a change.
#include "clusterd/runtime/observer.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/cluster_builder.h"

using namespace clusterd;
using clusterd::test::ClusterBuilder;

namespace {

using Lines = std::vector<std::string>;

struct NotedMetrics final : Metrics {
  void publish(MetricsSnapshot snapshot) override { snapshots.push_back(std::move(snapshot)); }
  void count_fence(const std::string& node, const std::string& device, Outcome outcome) override {
    lines.push_back("fence " + node + " " + device + " " +
                    std::to_string(static_cast<int>(outcome)));
  }
  void count_restart(const std::string& vm, Cause cause) override {
    lines.push_back("start " + vm + " " + std::to_string(static_cast<int>(cause)));
  }
  void count_rejected(const std::string&, const std::string&) override {}
  void count_libvirt_call(const std::string&) override {}
  void count_guest_check(const std::string&) override {}
  void observe_failover(const std::string& phase, Duration since_ring) override {
    lines.push_back(phase + " " + std::to_string(since_ring.count()));
  }
  // What was told since the last question.
  Lines news() { return std::exchange(lines, {}); }

  std::vector<MetricsSnapshot> snapshots;
  Lines lines;
};

struct OneTimerLoop final : Loop {
  Status add_fd(int, std::function<void(FdEvent)>) override { return ok_status(); }
  void remove_fd(int) override {}
  TimerId add_timer(Duration after, std::function<void()> on_expiry) override {
    REQUIRE_FALSE(expiry);
    waits = after;
    expiry = std::move(on_expiry);
    return ++last;
  }
  void cancel_timer(TimerId timer) override {
    if (timer == last) expiry = nullptr;
  }
  void post(std::function<void()>) override {}
  void expire() { std::exchange(expiry, nullptr)(); }

  Duration waits{0};
  TimerId last = kNoTimer;
  std::function<void()> expiry;
};

ClusterState three_nodes() {
  return ClusterBuilder().node("n1").node("n2").node("n3").vm("web", {.on = "n1"}).build();
}

HistoryEvent& happened(ClusterState& state, EventKind kind) {
  HistoryEvent event;
  event.sequence = state.next_event++;
  event.kind = kind;
  return state.history.emplace(event.sequence, event).first->second;
}

void start(ClusterState& state, Cause cause) {
  HistoryEvent& event = happened(state, EventKind::vm_starting);
  event.vm = state.vms.begin()->first;
  event.cause = cause;
}

}  // namespace

TEST_CASE("observer: fences and starts are counted once, from the first sync on") {
  NotedMetrics metrics;
  HistoryCounter counter(metrics);
  ClusterState state = three_nodes();
  start(state, Cause::desired);
  counter.look(state, false);
  counter.look(state, true);
  CHECK(metrics.news().empty());

  start(state, Cause::host_lost);
  HistoryEvent& fence = happened(state, EventKind::fence_failed);
  fence.node = NodeId(3);
  fence.devices = {{"bmc-n3", Outcome::unknown}, {"pdu", Outcome::done}};
  counter.look(state, true);
  counter.look(state, true);
  CHECK(metrics.news() == Lines{"start web 3", "fence n3 bmc-n3 2", "fence n3 pdu 0"});
}

TEST_CASE("observer: a state transfer tells what was missed, and nothing twice") {
  NotedMetrics metrics;
  HistoryCounter counter(metrics);
  ClusterState state = three_nodes();
  counter.look(state, true);
  start(state, Cause::desired);
  counter.look(state, true);
  CHECK(metrics.news().size() == 1);

  SECTION("the group went on without us") {
    start(state, Cause::restart_in_place);
    counter.look(state, false);
    CHECK(metrics.news().empty());
    counter.look(state, true);
    CHECK(metrics.news() == Lines{"start web 1"});
  }
  SECTION("the group's history is shorter than ours was") {
    ClusterState other = three_nodes();
    start(other, Cause::relocation);
    counter.look(other, true);
    CHECK(metrics.news().empty());
    start(other, Cause::relocation);
    counter.look(other, true);
    CHECK(metrics.news() == Lines{"start web 2"});
  }
}

TEST_CASE("observer: an event of a VM or node that is gone is no reason to fall") {
  NotedMetrics metrics;
  HistoryCounter counter(metrics);
  ClusterState state = three_nodes();
  counter.look(state, true);
  start(state, Cause::desired);
  state.vms.clear();
  happened(state, EventKind::node_dead).node = NodeId(99);
  counter.look(state, true);
  CHECK(metrics.news().empty());
}

TEST_CASE("observer: each phase of a failover is told once, when it is reached") {
  NotedMetrics metrics;
  HistoryCounter counter(metrics);
  ClusterState state = three_nodes();
  const VmId web = state.vms.begin()->first;
  const auto record = [&](std::uint64_t id) -> FailoverRecord& {
    FailoverRecord& made = state.failovers[id];
    made.id = id;
    made.ring = state.time;
    made.activated = state.time + Duration(100);
    made.fenced[NodeId(1)];
    made.vms[web];
    return made;
  };
  record(4);
  counter.look(state, true);
  CHECK(metrics.news().empty());
  state.failovers.at(4).fenced[NodeId(1)] = state.time + Duration(900);
  FailoverRecord& present = record(5);
  counter.look(state, true);
  counter.look(state, true);
  CHECK(metrics.news() == Lines{"fenced 900", "ring 0", "activated 100"});

  present.fenced[NodeId(1)] = state.time + Duration(1500);
  VmRecovery& recovery = present.vms.at(web);
  recovery.planned = state.time + Duration(1600);
  recovery.active = state.time + Duration(2000);
  present.done = true;
  counter.look(state, true);
  CHECK(metrics.news() ==
        Lines{"fenced 1500", "planned 1600", "first_active 2000", "last_active 2000"});

  // Its guest agent comes late, and is still worth telling; long afterwards it is not.
  SECTION("in time") {
    recovery.agent = state.time + Duration(60'000);
    state.time = state.time + Duration(60'000);
    counter.look(state, true);
    CHECK(metrics.news() == Lines{"agents 60000"});
  }
  SECTION("a day later") {
    state.time = state.time + Duration(86'400'000);
    counter.look(state, true);
    recovery.agent = state.time;
    counter.look(state, true);
    CHECK(metrics.news().empty());
  }
}

TEST_CASE("observer: changes within a second make one snapshot, and no change makes none") {
  NotedMetrics metrics;
  OneTimerLoop loop;
  ClusterState state = three_nodes();
  LocalView local;
  local.quorate = local.active = true;
  Observer observer(loop, metrics, [&] { return snapshot_of(state, local, state.time); });
  observer.look(state, local);
  state.position.index = state.position.index.next();
  observer.look(state, local);
  CHECK(metrics.snapshots.empty());
  CHECK(loop.waits == Duration(1000));
  loop.expire();
  CHECK(metrics.snapshots.size() == 1);

  observer.look(state, local);
  CHECK_FALSE(loop.expiry);
  local.quorate = false;
  observer.look(state, local);
  loop.expire();
  REQUIRE(metrics.snapshots.size() == 2);
  CHECK_FALSE(metrics.snapshots.back().quorate);
}

TEST_CASE("observer: no snapshot is made once it is gone") {
  NotedMetrics metrics;
  OneTimerLoop loop;
  {
    Observer observer(loop, metrics, [] { return MetricsSnapshot{}; });
    observer.look(three_nodes(), LocalView{});
    CHECK(loop.expiry);
  }
  CHECK_FALSE(loop.expiry);
}

TEST_CASE("observer: a snapshot shows nodes, VMs and who is not protected") {
  ClusterBuilder builder;
  builder.node("n1").node("n2").node("n3").vm("web", {.on = "n1"}).vm("db", {.on = "n2"});
  builder.lose("n2");
  LocalView local;
  local.quorate = local.active = true;
  const MetricsSnapshot snapshot = snapshot_of(builder.state(), local, builder.state().time);
  CHECK(snapshot.quorate);
  CHECK(snapshot.synced);
  CHECK(snapshot.epoch == 1);
  CHECK(snapshot.alarms > 0);
  CHECK(snapshot.unprotected_vms == 2);
  REQUIRE(snapshot.nodes.size() == 3);
  CHECK(snapshot.nodes[0].state == "online");
  CHECK(snapshot.nodes[1].state == "lost");
  REQUIRE(snapshot.vms.size() == 2);
  CHECK(snapshot.vms[0].name == "db");
  CHECK(snapshot.vms[0].state == "unknown");
  CHECK(snapshot.vms[1].state == "running");
  CHECK(snapshot.vms[1].health == "healthy");
}
