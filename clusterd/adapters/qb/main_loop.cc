#include "clusterd/adapters/qb/main_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace clusterd {

Result<std::unique_ptr<MainLoop>> MainLoop::create() {
  qb_loop_t* loop = qb_loop_create();
  if (loop == nullptr) return Error{"libqb did not create a main loop"};
  const int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd < 0) {
    const std::string why = std::strerror(errno);
    qb_loop_destroy(loop);
    return Error{"eventfd: " + why};
  }
  std::unique_ptr<MainLoop> made(new MainLoop(loop, wake_fd));
  MainLoop* self = made.get();
  const Status added = self->add_fd(wake_fd, [self](FdEvent) { self->run_posted(); });
  if (!added) return added.error();
  return made;
}

MainLoop::~MainLoop() {
  for (auto& [number, entry] : signals_) qb_loop_signal_del(loop_, entry->handle);
  for (auto& [id, timer] : timers_) qb_loop_timer_del(loop_, timer->handle);
  for (auto& [fd, handler] : fds_) qb_loop_poll_del(loop_, fd);
  qb_loop_destroy(loop_);
  close(wake_fd_);
}

Status MainLoop::add_fd(int fd, std::function<void(FdEvent)> on_event) {
  if (fds_.count(fd) != 0) return Error{"descriptor " + std::to_string(fd) + " is watched already"};
  const std::int32_t rc = qb_loop_poll_add(loop_, QB_LOOP_MED, fd, POLLIN, this, dispatch_fd);
  if (rc != 0) {
    return Error{"cannot watch descriptor " + std::to_string(fd) + ": " + std::strerror(-rc)};
  }
  fds_[fd] = std::make_shared<std::function<void(FdEvent)>>(std::move(on_event));
  return ok_status();
}

void MainLoop::remove_fd(int fd) {
  if (fds_.erase(fd) != 0) qb_loop_poll_del(loop_, fd);
}

std::int32_t MainLoop::dispatch_fd(std::int32_t fd, std::int32_t revents, void* self) noexcept {
  auto* loop = static_cast<MainLoop*>(self);
  const auto found = loop->fds_.find(fd);
  if (found == loop->fds_.end()) return 0;
  const FdHandler handler = found->second;  // keeps it alive when it removes itself
  const bool gone = (revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
  (*handler)(gone ? FdEvent::hung_up : FdEvent::readable);
  return 0;
}

Loop::TimerId MainLoop::add_timer(Duration after, std::function<void()> on_expiry) {
  auto timer = std::make_unique<Timer>();
  timer->loop = this;
  timer->id = ++last_timer_;
  timer->on_expiry = std::move(on_expiry);
  const auto delay = std::chrono::duration_cast<std::chrono::nanoseconds>(after).count();
  const std::int32_t rc =
      qb_loop_timer_add(loop_, QB_LOOP_MED, delay > 0 ? static_cast<std::uint64_t>(delay) : 0,
                        timer.get(), dispatch_timer, &timer->handle);
  CLUSTERD_ASSERT(rc == 0);  // fails for lack of memory only
  const TimerId id = timer->id;
  timers_.emplace(id, std::move(timer));
  return id;
}

void MainLoop::cancel_timer(TimerId timer) {
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return;
  qb_loop_timer_del(loop_, found->second->handle);
  timers_.erase(found);
}

void MainLoop::dispatch_timer(void* timer) noexcept {
  auto* fired = static_cast<Timer*>(timer);
  MainLoop* loop = fired->loop;
  const auto node = loop->timers_.extract(fired->id);
  if (!node.empty()) node.mapped()->on_expiry();
}

void MainLoop::post(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  // A full counter (EAGAIN) means that the loop is already due to wake up.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void MainLoop::run_posted() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &count, sizeof count);
  // Only what waits now: work that posts work must not keep descriptors and timers from their turn.
  std::deque<std::function<void()>> batch;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    batch.swap(posted_);
  }
  for (auto& work : batch) work();
}

Status MainLoop::on_signal(int signal, std::function<void()> on_arrival) {
  auto& entry = signals_[signal];
  if (entry) {
    entry->on_arrival = std::move(on_arrival);
    return ok_status();
  }
  entry = std::make_unique<Signal>();
  entry->loop = this;
  entry->on_arrival = std::move(on_arrival);
  const std::int32_t rc = qb_loop_signal_add(loop_, QB_LOOP_HIGH, signal, entry.get(),
                                             dispatch_signal, &entry->handle);
  if (rc == 0) return ok_status();
  signals_.erase(signal);
  return Error{"cannot watch signal " + std::to_string(signal) + ": " + std::strerror(-rc)};
}

std::int32_t MainLoop::dispatch_signal(std::int32_t, void* entry) noexcept {
  const std::function<void()> on_arrival = static_cast<Signal*>(entry)->on_arrival;
  on_arrival();
  return 0;
}

void MainLoop::run() {
  // qb_loop_run forgets a stop that came before it.
  if (!stop_requested_) qb_loop_run(loop_);
  stop_requested_ = false;
}

void MainLoop::stop() {
  stop_requested_ = true;
  qb_loop_stop(loop_);
}

bool MainLoop::inputs_empty() const {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!posted_.empty()) return false;
  }
  std::vector<pollfd> polled;
  polled.reserve(fds_.size());
  for (const auto& [fd, handler] : fds_) {
    if (fd != wake_fd_) polled.push_back({fd, POLLIN, 0});
  }
  return ::poll(polled.data(), polled.size(), 0) == 0;
}

}  // namespace clusterd
