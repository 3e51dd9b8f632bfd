// Forecast: what the cluster would do next, told before it does it.
//
// "What if n3 dies" is answered by the planner itself: on a copy of the state the hosts are proven
// dead, plan_vms plans, what it plans is taken as done, and so on until it has nothing to do. No
// second opinion that could differ from the real failover. Pure; sends nothing, decides nothing.
// Called for `clusterctl what-if` by the daemon and for `clusterctl plan` by clusterctl.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/engine/placement.h"
#include "clusterd/engine/reserve.h"
#include "clusterd/model/report.h"

namespace clusterd {

enum class ActionKind : std::uint8_t {
  start,
  preempt,  // stopped to make room; starts again where a later action says so, or not at all
  stop,     // not wanted running, or stopped by an ordered restart
};
constexpr ActionKind enum_last(ActionKind) {
  return ActionKind::stop;
}

struct PlannedAction {
  VmId vm;
  ActionKind kind = ActionKind::start;
  std::optional<NodeId> from;  // where it was when all began; nullopt: nowhere
  std::optional<NodeId> to;    // start: where to

  friend bool operator==(const PlannedAction&, const PlannedAction&) = default;
};

// Wanted running, and no node takes it.
struct Unplaced {
  VmId vm;
  bool guaranteed = true;
  NoCandidate why;

  friend bool operator==(const Unplaced&, const Unplaced&) = default;
};

struct Forecast {
  bool feasible = true;                // every guaranteed VM has a place
  std::vector<PlannedAction> actions;  // in the order in which the planner decides on them
  std::vector<Unplaced> unplaced;      // most important first
  std::vector<NodeId> degraded;        // nodes with more memory in use than they normally offer
  Reserve reserve;                     // when all of it has happened
  ClusterState after;                  // the copy, then
};

// `down`: these hosts die at once, and are proven dead; nodes that the state does not know are
// ignored, dead ones change nothing. Everything succeeds: fences that are under way, operations
// that are open, whatever is planned. What hinders the planner for a time only does not count:
// back-offs, start_after, parallel_starts_per_node, a host that settles after a fence, a missing
// quorum, `disarm`.
// Costs a copy of the state, mostly two to four plans, and a proof of the reserve.
[[nodiscard]] Forecast forecast(const ClusterState& state, const std::set<NodeId>& down,
                                ClusterTime now);

// The nodes of these names, or why not: which one is unknown, and which ones are known.
[[nodiscard]] std::variant<std::set<NodeId>, std::string> nodes_named(
    const ClusterState& state, const std::set<std::string>& names);

// The same in words, with names; `state` is the one that was asked about.
[[nodiscard]] ForecastReport report_forecast(const ClusterState& state, const Forecast& forecast);

}  // namespace clusterd
