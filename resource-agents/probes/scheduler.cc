#include "resource-agents/probes/scheduler.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "clusterd/base/assert.h"

namespace clusterd::probes {
namespace {

constexpr int kBatch = 256;
constexpr int kBatches = 64;  // descriptors at a time, before timers have their turn

}  // namespace

// ---- Inbox ---------------------------------------------------------------------------------

Inbox::Inbox() : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CLUSTERD_ASSERT(wake_fd_ >= 0);
}

Inbox::~Inbox() { ::close(wake_fd_); }

void Inbox::post(Task task) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  tasks_.push_back({Clock::now(), std::move(task)});
  if (tasks_.size() > 1) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
}

void Inbox::close() {
  std::deque<Left> dropped;  // a task's end may post again: outside the lock
  const std::lock_guard lock(mutex_);
  closed_ = true;
  dropped.swap(tasks_);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
}

bool Inbox::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

std::deque<Inbox::Left> Inbox::take() {
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(wake_fd_, &count, sizeof count);
  return std::exchange(tasks_, {});
}

// ---- Scheduler -----------------------------------------------------------------------------

Scheduler::Scheduler(Duration late_after)
    : slack_(late_after / 2),
      inbox_(std::make_shared<Inbox>()),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      woke_(Clock::now()),
      last_late_(Time::min()) {
  CLUSTERD_ASSERT(epoll_ >= 0);
  // The inbox is looked at in every round anyway.
  const bool watching = watch(inbox_->wake_fd(), EPOLLIN, [](std::uint32_t) {});
  CLUSTERD_ASSERT(watching);
}

Scheduler::~Scheduler() {
  inbox_->close();
  ::close(epoll_);
}

void Scheduler::run() {
  while (!inbox_->closed()) round();
}

// The sleep is cut into short ones, so that a stall shows although no timer was due in it.
void Scheduler::round() {
  const Time now = Clock::now();
  note(now - woke_);
  int timeout = -1;
  if (!timers_.empty()) {
    const Time until = std::clamp(timers_.begin()->first.due, now, now + slack_);
    timeout = static_cast<int>(std::chrono::ceil<Duration>(until - now).count());
  }
  dispatch(timeout);
  run_tasks();
  run_timers();
}

// Sets woke_, and has what slept too long noted, before anything is judged.
void Scheduler::dispatch(int timeout) {
  const Time begun = Clock::now();
  std::array<epoll_event, kBatch> events{};
  for (int batch = 0; batch < kBatches; ++batch) {
    const int count = ::epoll_wait(epoll_, events.data(), kBatch, batch == 0 ? timeout : 0);
    if (batch == 0) {
      woke_ = Clock::now();
      if (timeout >= 0) note(woke_ - begun - std::chrono::milliseconds(timeout));
    }
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      const auto found = watched_.find(event.data.u64);
      if (found == watched_.end()) continue;
      const std::shared_ptr<Ready> ready = found->second.ready;  // it may forget itself
      (*ready)(event.events);
    }
    if (count < kBatch) return;
  }
}

void Scheduler::run_tasks() {
  for (Inbox::Left& left : inbox_->take()) {
    if (inbox_->closed()) return;
    note(Clock::now() - left.at);
    left.task();
  }
}

// Only those that are due now: a timer that sets itself again must not keep descriptors waiting.
void Scheduler::run_timers() {
  const Time now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first.due <= now && !inbox_->closed()) {
    note(Clock::now() - woke_);
    const auto task = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    task();
  }
}

void Scheduler::note(Clock::duration delay) {
  if (delay > slack_) last_late_ = Clock::now();
}

Scheduler::Timer Scheduler::at(Time due, std::function<void()> task) {
  const Timer timer{due, next_++};
  timers_.emplace(timer, std::move(task));
  return timer;
}

void Scheduler::cancel(Timer& timer) {
  if (timer.number != 0) timers_.erase(timer);
  timer = {};
}

bool Scheduler::watch(int fd, std::uint32_t events, Ready ready) {
  const auto known = numbers_.find(fd);
  const std::uint64_t number = known == numbers_.end() ? next_++ : known->second;
  epoll_event event{};
  event.events = events;
  event.data.u64 = number;
  const int operation = known == numbers_.end() ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_, operation, fd, &event) != 0) return false;
  numbers_[fd] = number;
  watched_.insert_or_assign(number, Watched{fd, std::make_shared<Ready>(std::move(ready))});
  return true;
}

void Scheduler::forget(int fd) {
  const auto known = numbers_.find(fd);
  if (known == numbers_.end()) return;
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(known->second);
  numbers_.erase(known);
}

}  // namespace clusterd::probes
