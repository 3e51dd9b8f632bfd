// JSON of everything users read. The shapes are documented in docs/api.md and held by a test.
#pragma once

#include <string>
#include <vector>

#include "clusterd/model/report.h"

namespace clusterd {

// Times are RFC 3339 in UTC with milliseconds.
[[nodiscard]] std::string rfc3339(ClusterTime time);

[[nodiscard]] std::string to_json(const StatusReport& report);
[[nodiscard]] std::string to_json(const ExplainReport& report);
[[nodiscard]] std::string to_json(const ForecastReport& report);
[[nodiscard]] std::string to_json(const RebalanceReport& report);
[[nodiscard]] std::string to_json(const ReserveReport& report);
// {"events": [...]}, oldest first, filtered; empty filters pass everything.
struct HistoryFilter {
  std::uint64_t after_sequence = 0;
  std::optional<ClusterTime> since;
  std::string vm;
  std::string node;
};
[[nodiscard]] std::string history_json(const ClusterState& state, const HistoryFilter& filter);
// {"failovers": [...]}, oldest first; with an id only that one, and an empty list if unknown.
[[nodiscard]] std::string failovers_json(const ClusterState& state,
                                         std::optional<std::uint64_t> id);
[[nodiscard]] const char* name_of(EventKind kind);

}  // namespace clusterd
