#include "resource-agents/libvirt/boards.h"

namespace clusterd::libvirt {

StopBoard::Mark StopBoard::mark() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

void StopBoard::stopped(VmId vm) {
  const std::lock_guard lock(mutex_);
  stopped_at_[vm] = ++now_;
  changed_.notify_all();
}

void StopBoard::all_may_have_changed() {
  const std::lock_guard lock(mutex_);
  all_at_ = ++now_;
  changed_.notify_all();
}

void StopBoard::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool StopBoard::wait(VmId vm, Mark since, Clock::time_point until) {
  std::unique_lock lock(mutex_);
  const auto news = [&] {
    const auto found = stopped_at_.find(vm);
    return all_at_ > since || (found != stopped_at_.end() && found->second > since);
  };
  changed_.wait_until(lock, until, [&] { return closed_ || news(); });
  return !closed_ && news();
}

bool StopBoard::pause(std::chrono::milliseconds length) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, length, [&] { return closed_; });
}

bool AgentBoard::begin_ping(VmId vm) {
  const std::lock_guard lock(mutex_);
  return answered_.count(vm) == 0 && pinging_.insert(vm).second;
}

void AgentBoard::end_ping(VmId vm) {
  const std::lock_guard lock(mutex_);
  pinging_.erase(vm);
}

void AgentBoard::answered(VmId vm, int domain_id) {
  const std::lock_guard lock(mutex_);
  answered_[vm] = domain_id;
}

void AgentBoard::forget(VmId vm) {
  const std::lock_guard lock(mutex_);
  answered_.erase(vm);
}

bool AgentBoard::has_answered(VmId vm, int domain_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = answered_.find(vm);
  return found != answered_.end() && found->second == domain_id;
}

}  // namespace clusterd::libvirt
