// ReserveWatch: the reserve of this node's replica, for status and metrics.
//
// Proven when somebody asks and the state has changed since; each proof begins with what the last
// one found. It shows, and decides nothing: what every replica must judge alike asks reserve_of().
#pragma once

#include <optional>

#include "clusterd/engine/reserve.h"

namespace clusterd {

class ReserveWatch {
 public:
  // A fifth of reserve_of()'s work, about 0.2 s in the worst case: the loop that asks has members
  // to acknowledge, who are given up after ack_timeout (2 s). What takes longer is `unknown` here.
  static constexpr std::uint64_t kSteps = 40'000'000;

  // nullopt before the cluster is founded.
  [[nodiscard]] const std::optional<Reserve>& look(const ClusterState& state, ClusterTime now);

 private:
  ReserveProver prover_{{.all_steps = kSteps}};
  std::optional<Position> seen_;
  std::optional<Reserve> reserve_;
};

}  // namespace clusterd
