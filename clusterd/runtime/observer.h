// Observer: what the replica says, handed to Metrics: what is, and what happened.
//
// Decides nothing and delays nobody: a snapshot is made on a timer of its own, at most once a
// second and only after a change. An idle daemon makes none.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <tuple>

#include "clusterd/engine/controller.h"
#include "clusterd/model/failover_phases.h"
#include "clusterd/ports/loop.h"
#include "clusterd/ports/metrics.h"

namespace clusterd {

[[nodiscard]] MetricsSnapshot snapshot_of(const ClusterState& state, const LocalView& local,
                                          ClusterTime now);

// Counts fences, starts of VMs and phases of failovers, each once, from where the history stood
// when this daemon was first synced. What happened while it was set aside counts as soon as it
// learns of it; a state transfer tells nothing twice.
class HistoryCounter {
 public:
  explicit HistoryCounter(Metrics& metrics) : metrics_(metrics) {}

  // `synced`: the state is the group's, not a local or old one.
  void look(const ClusterState& state, bool synced);

 private:
  struct Watched {
    std::bitset<std::tuple_size_v<FailoverPhases>> told;
    bool closed = false;  // nothing of it is told any more
  };

  void begin(const ClusterState& state);
  void count(const ClusterState& state, const HistoryEvent& event);
  void observe(const ClusterState& state, const FailoverRecord& record);

  Metrics& metrics_;
  std::optional<std::uint64_t> next_;  // first event not yet counted; nullopt: never synced
  std::map<std::uint64_t, Watched> failovers_;
};

class Observer {
 public:
  using Take = std::function<MetricsSnapshot()>;
  static constexpr Duration kPause{1000};  // what a scrape sees is at most so old

  // `take` makes the snapshot of that moment; called on the loop.
  Observer(Loop& loop, Metrics& metrics, Take take);
  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  // After every batch of the driver; cheap when nothing has changed.
  void look(const ClusterState& state, const LocalView& local);

 private:
  // What a snapshot depends on. Time alone also turns an operation into a stuck one: that shows
  // when the coordinator moves the cluster's time on, every half minute.
  struct Mark {
    Position position;
    ClusterTime time;
    bool quorate = false;
    bool active = false;
    friend bool operator==(const Mark&, const Mark&) = default;
  };

  Loop& loop_;
  Metrics& metrics_;
  const Take take_;
  HistoryCounter history_;
  std::optional<Mark> seen_;
  Loop::TimerId timer_ = Loop::kNoTimer;
};

}  // namespace clusterd
