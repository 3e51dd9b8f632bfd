// Scheduler: the one thread of a prober. It sleeps in epoll until a descriptor is ready, a timer is
// due or another thread has left a task; and it knows when it was late itself.
//
// In one round descriptors come first, then tasks, then timers: an answer that has arrived is heard
// before its deadline is looked at.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "clusterd/base/time.h"

namespace clusterd::probes {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

// Where other threads leave tasks. It may outlive the scheduler: then tasks are dropped.
class Inbox {
 public:
  using Task = std::function<void()>;
  struct Left {
    Time at;
    Task task;
  };

  Inbox();
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  void post(Task task);
  // Drops what waits and what comes.
  void close();
  [[nodiscard]] bool closed() const;

  [[nodiscard]] int wake_fd() const { return wake_fd_; }
  [[nodiscard]] std::deque<Left> take();

 private:
  int wake_fd_;
  mutable std::mutex mutex_;
  std::deque<Left> tasks_;
  bool closed_ = false;
};

// All but the constructor and inbox() belongs to the thread that calls run().
class Scheduler {
 public:
  using Ready = std::function<void(std::uint32_t events)>;
  struct Timer {
    Time due;
    std::uint64_t number = 0;  // 0: none
    friend auto operator<=>(const Timer&, const Timer&) = default;
  };

  // A stall of this thread longer than `late_after` is always noticed, one of less than half of it
  // never.
  explicit Scheduler(Duration late_after);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  [[nodiscard]] const std::shared_ptr<Inbox>& inbox() const { return inbox_; }

  // Until the inbox is closed.
  void run();
  Timer at(Time due, std::function<void()> task);
  // No effect on one that has fired. Leaves none.
  void cancel(Timer& timer);
  // Begins or changes what is waited for, as in epoll_ctl. False if the kernel refuses.
  [[nodiscard]] bool watch(int fd, std::uint32_t events, Ready ready);
  // Before the descriptor is closed. No effect on one that is not watched.
  void forget(int fd);
  // Whether this thread was seen to be late at or after that time.
  [[nodiscard]] bool late_since(Time since) const { return last_late_ >= since; }

 private:
  struct Watched {
    int fd;
    std::shared_ptr<Ready> ready;
  };

  void round();
  void dispatch(int timeout);
  void run_tasks();
  void run_timers();
  void note(Clock::duration delay);

  const Clock::duration slack_;
  const std::shared_ptr<Inbox> inbox_;
  int epoll_;
  std::uint64_t next_ = 1;
  std::map<Timer, std::function<void()>> timers_;
  std::map<std::uint64_t, Watched> watched_;  // by number: a descriptor's number is used again
  std::map<int, std::uint64_t> numbers_;
  Time woke_;
  Time last_late_;
};

}  // namespace clusterd::probes
