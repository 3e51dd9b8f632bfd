// EventSink: where adapters put what they learned. `post` may be called from any thread, never
// blocks on the engine, and wakes the main loop; events of one thread keep their order.
#pragma once

#include "clusterd/model/event.h"

namespace clusterd {

class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void post(Event event) = 0;
};

}  // namespace clusterd
