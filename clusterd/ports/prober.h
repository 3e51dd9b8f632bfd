// Prober: asks the guests of this host how they are. No call blocks; answers come as events
// (GuestChecked, GuestRepaired). Judges nothing: engine/health.h does.
#pragma once

#include "clusterd/model/effect.h"

namespace clusterd {

class Prober {
 public:
  virtual ~Prober() = default;

  // From now on asks what the policy says, each check at its own interval, until unwatch() or a
  // watch() of the same VM under another number. Of one check at most one question is under way;
  // its timeout is a failure.
  virtual void watch(const WatchGuest& order) = 0;
  // Nothing is told of this VM afterwards. No effect if it is not watched.
  virtual void unwatch(const UnwatchGuest& order) = 0;
  // Answered once, at the latest when the policy's repair_timeout is over; not at all if the watch
  // has ended.
  virtual void repair(const RepairGuest& order) = 0;
};

}  // namespace clusterd
