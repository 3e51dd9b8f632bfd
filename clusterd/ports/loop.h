// Loop: the main loop as adapters see it: descriptors, one-shot timers, work from other threads.
//
// Everything given to it runs on the loop's thread, one thing at a time, and must not block or
// throw. Nothing here tells the time: timers are relative and monotonic.
#pragma once

#include <cstdint>
#include <functional>

#include "clusterd/base/result.h"
#include "clusterd/base/time.h"

namespace clusterd {

// hung_up: the other end is gone; there may still be something to read.
enum class FdEvent { readable, hung_up };

class Loop {
 public:
  using TimerId = std::uint64_t;
  static constexpr TimerId kNoTimer = 0;

  virtual ~Loop() = default;

  // Calls `on_event` as long as the descriptor is readable or hung up (level triggered). The
  // descriptor stays the caller's: remove_fd first, close afterwards.
  [[nodiscard]] virtual Status add_fd(int fd, std::function<void(FdEvent)> on_event) = 0;
  virtual void remove_fd(int fd) = 0;
  // Fires once. An id is never used again, and never kNoTimer.
  virtual TimerId add_timer(Duration after, std::function<void()> on_expiry) = 0;
  // No effect when it has fired. After the call it does not fire.
  virtual void cancel_timer(TimerId timer) = 0;
  // The only call that other threads may make. Work of one thread keeps its order.
  virtual void post(std::function<void()> work) = 0;
};

}  // namespace clusterd
