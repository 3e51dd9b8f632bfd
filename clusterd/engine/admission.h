// Admission: whether a wish may be granted that would cost the cluster its reserve (R27).
//
// The reserve holds when every set of as many online hosts as `cluster.reserve` names can be lost
// and every guaranteed VM of them finds a place (reserve.h). Two states are compared, before a
// change and as it would be after it: only a reserve that holds before and not after is an
// objection. What the cluster does about failures is never asked about here: a recovery, a restart
// or a stop is no new demand. Called by judge() and by apply for orders; decision 0011 says what
// counts as before and after.
#pragma once

#include <optional>
#include <string>

#include "clusterd/model/state.h"

namespace clusterd {

struct Objection {
  std::string text;      // for people: what would be lost, by which VM, and how to go on
  bool hinders = false;  // cluster.admission says enforce: it is refused
};

// What is to be said against going from one state to the other; nothing: it may. The mode is that
// of the state after. A reserve that cannot be proven within the work limit counts as lost. Where
// hosts have not told yet what they have, it cannot be judged: that is said, and hinders nothing.
[[nodiscard]] std::optional<Objection> objection_to(const ClusterState& before,
                                                    const ClusterState& after, ClusterTime now);

// The path of what differs between both and can matter to the reserve ("vms.web1"), or of the
// reserve itself if that is more than one thing. Nothing if there is no such thing, so that nobody
// need prove anything: timers, fence devices, labels, health checks and the like.
[[nodiscard]] std::optional<std::string> concerns_reserve(const Configuration& before,
                                                          const Configuration& after);

}  // namespace clusterd
