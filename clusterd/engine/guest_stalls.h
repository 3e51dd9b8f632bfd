// Guests that fail their checks together: when most of one host do, or of those that require the
// same or have one profile, it is the host, or what they share. Restarting them would be a storm
// and help nobody, so they are left alone for a while, and after that taken one at a time
// (docs/decisions/0014). Pure.
#pragma once

#include <optional>
#include <string>

#include "clusterd/model/state.h"

namespace clusterd {

// The guests of a stall stay untouched until it has been over for this long ...
inline constexpr Duration kStallGrace{60000};
// ... or it has lasted this long: from then on one at a time.
inline constexpr Duration kStallMost{300000};

// A guest that is being restarted after that counts as the one at a time for no longer than this.
inline constexpr Duration kStallTurn{180000};

// Bad health of this VM is answered by a restart: it has checks, and they are not only told of.
[[nodiscard]] bool heals(const ClusterState& state, const VmState& vm);

// Notes in the state whether most guests of this host, and of the VM's groups, fail. To be
// called on both sides of every change of a verdict: what lasted until the change is no new stall,
// however long ago it was noted. True if a stall began.
enum class Moment { before_a_change, after_a_change };
bool note_stalls(ClusterState& state, const VmId& vm, const Host& host, Moment moment);

struct HealthBrake {
  std::string reason;               // for people; empty: it may be stopped for its bad health
  std::optional<ClusterTime> next;  // when time alone may change that
  bool alone = false;               // it may be stopped, and no other one of the stall with it
};
[[nodiscard]] HealthBrake health_brake(const ClusterState& state, const VmId& vm, const Host& host,
                                       ClusterTime now);

}  // namespace clusterd
