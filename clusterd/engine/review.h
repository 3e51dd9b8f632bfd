// Review: judges a change of the configuration before anybody agrees to it. Pure; apply refuses by
// the same judgement, and `clusterctl apply` shows the review.
#pragma once

#include "clusterd/model/message.h"
#include "clusterd/model/review.h"
#include "clusterd/model/state.h"

namespace clusterd {

// The state that this configuration would make. A new VM waits for every member's word that it does
// not run there; here that is expected.
[[nodiscard]] ClusterState adopted(const ClusterState& state, const Configuration& config);

[[nodiscard]] Judged judge(const ClusterState& state, const ChangeConfiguration& change);

// `now` is the asked node's cluster time. The change's base version is ignored.
[[nodiscard]] ConfigurationReview review(const ClusterState& state,
                                         const ChangeConfiguration& change, ClusterTime now);

}  // namespace clusterd
