// MainLoop: the daemon's one thread of decisions, on libqb's qb_loop.
//
// At most one exists in a process: libqb's IPC server finds the loop by being the default one.
#pragma once

#include <qb/qbloop.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "clusterd/ports/loop.h"

namespace clusterd {

class MainLoop final : public Loop {
 public:
  [[nodiscard]] static Result<std::unique_ptr<MainLoop>> create();
  ~MainLoop() override;
  MainLoop(const MainLoop&) = delete;
  MainLoop& operator=(const MainLoop&) = delete;

  [[nodiscard]] Status add_fd(int fd, std::function<void(FdEvent)> on_event) override;
  void remove_fd(int fd) override;
  TimerId add_timer(Duration after, std::function<void()> on_expiry) override;
  void cancel_timer(TimerId timer) override;
  void post(std::function<void()> work) override;

  // Runs on the loop, not in the signal handler. One function a signal; the last one given wins.
  [[nodiscard]] Status on_signal(int signal, std::function<void()> on_arrival);

  // Returns after stop(); a stop() that came before is honoured.
  void run();
  void stop();

  // True when no descriptor of add_fd and no posted work waits at this moment: what a verdict
  // about absence needs to know (R14). Costs one poll(2) without waiting.
  [[nodiscard]] bool inputs_empty() const;

 private:
  struct Timer {
    MainLoop* loop = nullptr;
    TimerId id = kNoTimer;
    qb_loop_timer_handle handle = 0;
    std::function<void()> on_expiry;
  };
  struct Signal {
    MainLoop* loop = nullptr;
    qb_loop_signal_handle handle = nullptr;
    std::function<void()> on_arrival;
  };
  using FdHandler = std::shared_ptr<std::function<void(FdEvent)>>;

  MainLoop(qb_loop_t* loop, int wake_fd) : loop_(loop), wake_fd_(wake_fd) {}
  void run_posted();
  static std::int32_t dispatch_fd(std::int32_t fd, std::int32_t revents, void* self) noexcept;
  static void dispatch_timer(void* timer) noexcept;
  static std::int32_t dispatch_signal(std::int32_t signal, void* entry) noexcept;

  qb_loop_t* loop_;
  int wake_fd_;
  bool stop_requested_ = false;
  TimerId last_timer_ = kNoTimer;
  std::map<int, FdHandler> fds_;
  std::map<TimerId, std::unique_ptr<Timer>> timers_;
  std::map<int, std::unique_ptr<Signal>> signals_;
  mutable std::mutex mutex_;                   // guards posted_
  std::deque<std::function<void()>> posted_;
};

}  // namespace clusterd
