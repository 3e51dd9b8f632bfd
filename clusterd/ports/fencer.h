// Fencer: the hands on the power of hosts. No call blocks; answers come as events
// (PowerOperationEnded, FenceTestEnded).
#pragma once

#include "clusterd/model/effect.h"

namespace clusterd {

class Fencer {
 public:
  virtual ~Fencer() = default;

  // fence: for each level in order: `off` on every device, then one status pass over the level;
  // done only if all say off. read_power: one status pass over the first level, done if every
  // device answered clearly. power_on: `on` for every device of the first level, then status.
  // A timeout, a crash or garbage is unknown, never off.
  virtual void operate(const DispatchPower& order) = 0;
  // Kills what operate() spawned for this operation, process group and all; its answer is then
  // unknown. No effect when it has ended.
  virtual void cancel(OpId op) = 0;
  virtual void test(const RunFenceTest& order) = 0;
};

}  // namespace clusterd
