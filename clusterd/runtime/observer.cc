#include "clusterd/runtime/observer.h"

#include <algorithm>
#include <utility>

#include "clusterd/engine/protection.h"
#include "clusterd/engine/report.h"

namespace clusterd {
namespace {

// Guest agents may answer after the last VM runs, or never.
constexpr Duration kWatchAfterEnd{600'000};

}  // namespace

MetricsSnapshot snapshot_of(const ClusterState& state, const LocalView& local, ClusterTime now) {
  StatusReport report = report_status(state, local, now);
  MetricsSnapshot snapshot;
  snapshot.quorate = report.quorate;
  snapshot.synced = report.active;
  snapshot.armed = report.armed;
  snapshot.epoch = report.epoch;
  snapshot.alarms = report.alarms.size();
  snapshot.unprotected_vms = unprotected_vms(state);
  for (NodeReport& node : report.nodes) {
    snapshot.nodes.push_back({std::move(node.name), std::move(node.state)});
  }
  for (VmReport& vm : report.vms) {
    snapshot.vms.push_back({std::move(vm.name), std::move(vm.state), std::move(vm.health), {}});
  }
  return snapshot;
}

// ---- HistoryCounter --------------------------------------------------------------------------

void HistoryCounter::look(const ClusterState& state, bool synced) {
  if (!synced) return;
  if (!next_) return begin(state);
  for (auto event = state.history.lower_bound(*next_); event != state.history.end(); ++event) {
    count(state, event->second);
  }
  // Never back: another history that begins earlier tells nothing twice.
  next_ = std::max(*next_, state.next_event);
  std::erase_if(failovers_, [&](const auto& one) { return !state.failovers.contains(one.first); });
  for (const auto& [id, record] : state.failovers) observe(state, record);
}

void HistoryCounter::begin(const ClusterState& state) {
  next_ = state.next_event;
  for (const auto& [id, record] : state.failovers) {
    Watched& watched = failovers_[id];
    const FailoverPhases phases = phases_of(record);
    for (std::size_t i = 0; i < phases.size(); ++i) watched.told[i] = phases[i].at.has_value();
  }
}

void HistoryCounter::count(const ClusterState& state, const HistoryEvent& event) {
  if (event.node) {
    for (const auto& [device, outcome] : event.devices) {
      metrics_.count_fence(node_name(state, *event.node), device, outcome);
    }
  }
  if (!event.cause || !event.vm) return;
  const auto vm = state.vms.find(*event.vm);
  if (vm != state.vms.end()) metrics_.count_restart(vm->second.name, *event.cause);
}

void HistoryCounter::observe(const ClusterState& state, const FailoverRecord& record) {
  Watched& watched = failovers_[record.id];
  if (watched.closed) return;
  const FailoverPhases phases = phases_of(record);
  for (std::size_t i = 0; i < phases.size(); ++i) {
    if (!phases[i].at || watched.told[i]) continue;
    watched.told[i] = true;
    metrics_.observe_failover(phases[i].name, *phases[i].at);
  }
  const bool over = record.done && state.time - record.ring > kWatchAfterEnd;
  watched.closed = over || watched.told.all();
}

// ---- Observer --------------------------------------------------------------------------------

Observer::Observer(Loop& loop, Metrics& metrics, Take take)
    : loop_(loop), metrics_(metrics), take_(std::move(take)), history_(metrics) {}

Observer::~Observer() { loop_.cancel_timer(timer_); }

void Observer::look(const ClusterState& state, const LocalView& local) {
  const Mark mark{state.position, state.time, local.quorate, local.active};
  if (seen_ == mark) return;
  seen_ = mark;
  history_.look(state, local.active);
  if (timer_ != Loop::kNoTimer) return;
  // Later, not now: right after a loss the loop has better things to do.
  timer_ = loop_.add_timer(kPause, [this] {
    timer_ = Loop::kNoTimer;
    metrics_.publish(take_());
  });
}

}  // namespace clusterd
