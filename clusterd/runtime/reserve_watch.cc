#include "clusterd/runtime/reserve_watch.h"

namespace clusterd {

const std::optional<Reserve>& ReserveWatch::look(const ClusterState& state, ClusterTime now) {
  if (seen_ == state.position) return reserve_;
  seen_ = state.position;
  reserve_.reset();
  if (state.cluster != ClusterId{}) reserve_ = prover_.prove(state, now);
  return reserve_;
}

}  // namespace clusterd
