// Show: the daemon's JSON answers as text for people. Pure: JSON in, text out.
#pragma once

#include <string>

#include "clusterd/ctl/session.h"

namespace clusterd::ctl {

// `colour`: use terminal escapes.
[[nodiscard]] std::string show_status(const Json& status, bool colour);
// The CPU of each, too: `get nodes`, not `status`.
[[nodiscard]] std::string show_nodes(const Json& status);
[[nodiscard]] std::string show_vms(const Json& status);
[[nodiscard]] std::string show_explain(const Json& explain);
[[nodiscard]] std::string show_history(const Json& history);
[[nodiscard]] std::string show_failovers(const Json& failovers);
[[nodiscard]] std::string show_failover(const Json& failovers);
// A review (codec/json_config.h): the difference, then what follows from it.
[[nodiscard]] std::string show_review(const Json& review);
// A forecast (`plan`, `what-if`): what would happen, what finds no place, the reserve, the verdict.
[[nodiscard]] std::string show_forecast(const Json& forecast, bool colour);
// Moves that would pay (`plan --rebalance`), and what they are good for.
[[nodiscard]] std::string show_rebalance(const Json& rebalance);
// `doctor`: one line a check, problems first.
[[nodiscard]] std::string show_doctor(const Json& report, bool colour);
[[nodiscard]] std::string show_fence_test(const Json& test);

}  // namespace clusterd::ctl
