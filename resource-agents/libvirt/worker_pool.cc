#include "resource-agents/libvirt/worker_pool.h"

#include <algorithm>
#include <system_error>
#include <vector>

namespace clusterd::libvirt {

WorkerPool::WorkerPool(MakeSession make_session, WorkerOptions options)
    : state_(std::make_shared<State>()) {
  state_->make_session = std::move(make_session);
  state_->options = options;
  timer_ = std::thread([state = state_] { timer_loop(state); });
}

void WorkerPool::shut_down() {
  if (std::exchange(shut_down_, true)) return;
  {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    for (auto& queue : state_->waiting) queue.clear();
    state_->deadlines.clear();
    state_->work_came.notify_all();
    state_->timer.notify_all();
    state_->thread_ended.wait_for(lock, state_->options.parting, [&] {
      return std::all_of(state_->live.begin(), state_->live.end(),
                         [](std::size_t n) { return n == 0; });
    });
  }
  timer_.join();
}

std::optional<WorkerPool::Lane> WorkerPool::lane_of(const Work& work) {
  if (!work.vm) return std::nullopt;
  switch (work.kind) {
    case WorkKind::start:
    case WorkKind::stop:
      return Lane{0, *work.vm};
    case WorkKind::look:
      return Lane{1, *work.vm};
    case WorkKind::agent:
      return Lane{2, *work.vm};
    case WorkKind::probe:
      return Lane{3, *work.vm};
  }
  return std::nullopt;
}

void WorkerPool::submit(Work work) {
  const auto kind = static_cast<std::size_t>(work.kind);
  auto item = std::make_shared<Item>();
  item->work = std::move(work);
  const std::lock_guard lock(state_->mutex);
  if (state_->stopping) return;
  state_->waiting[kind].push_back(item);
  state_->deadlines.emplace(item->work.deadline, item);
  state_->timer.notify_one();
  const bool enough_idle = state_->idle[kind] >= state_->waiting[kind].size();
  if (!enough_idle && state_->live[kind] < state_->options.threads[kind]) {
    try {
      // Detached, because a thread inside a libvirt call can be neither joined nor interrupted.
      std::thread([state = state_, kind] { work_loop(state, kind); }).detach();
      ++state_->live[kind];
    } catch (const std::system_error&) {
      // No thread to be had: the item waits for one that lives, or for its deadline.
    }
  }
  state_->work_came.notify_all();
}

std::size_t WorkerPool::stuck() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stuck;
}

std::size_t WorkerPool::threads() const {
  const std::lock_guard lock(state_->mutex);
  std::size_t sum = 0;
  for (const std::size_t n : state_->live) sum += n;
  return sum;
}

// The first item whose lane is free; marks the lane busy. Null if there is none.
WorkerPool::ItemPtr WorkerPool::take(State& state, std::size_t kind) {
  auto& queue = state.waiting[kind];
  for (auto it = queue.begin(); it != queue.end(); ++it) {
    const auto lane = lane_of((*it)->work);
    if (lane && state.busy.count(*lane) != 0) continue;
    ItemPtr item = *it;
    queue.erase(it);
    if (lane) state.busy.insert(*lane);
    item->begun = true;
    return item;
  }
  return nullptr;
}

void WorkerPool::work_loop(const std::shared_ptr<State>& state, std::size_t kind) {
  std::unique_ptr<Session> session;
  std::unique_lock lock(state->mutex);
  while (!state->stopping) {
    if (const ItemPtr item = take(*state, kind)) {
      run_item(*state, lock, *item, session);
      continue;
    }
    ++state->idle[kind];
    const auto woken = state->work_came.wait_for(lock, state->options.idle);
    --state->idle[kind];
    if (woken == std::cv_status::timeout && state->waiting[kind].empty()) break;
  }
  // The place is given back only after the connection is closed: that is a call, too.
  lock.unlock();
  session.reset();
  lock.lock();
  --state->live[kind];
  state->thread_ended.notify_all();
}

void WorkerPool::run_item(State& state, std::unique_lock<std::mutex>& lock, Item& item,
                          std::unique_ptr<Session>& session) {
  lock.unlock();
  if (!session) session = state.make_session();
  if (!item.ticket.claimed()) item.work.run(*session, item.ticket);
  lock.lock();
  if (item.stuck) --state.stuck;
  if (const auto lane = lane_of(item.work)) state.busy.erase(*lane);
  state.work_came.notify_all();
}

void WorkerPool::timer_loop(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (!state->stopping) {
    if (state->deadlines.empty()) {
      state->timer.wait(lock);
      continue;
    }
    const auto first = state->deadlines.begin();
    const auto due = first->first;
    const ItemPtr item = first->second.lock();
    if (!item || item->ticket.claimed()) {
      state->deadlines.erase(first);
    } else if (due <= Clock::now()) {
      state->deadlines.erase(first);
      expire(*state, lock, *item);
    } else {
      state->timer.wait_until(lock, due);
    }
  }
}

void WorkerPool::expire(State& state, std::unique_lock<std::mutex>& lock, Item& item) {
  if (!item.ticket.claim()) return;
  if (item.begun) {
    item.stuck = true;
    ++state.stuck;
  } else {
    auto& queue = state.waiting[static_cast<std::size_t>(item.work.kind)];
    const auto same = [&](const ItemPtr& other) { return other.get() == &item; };
    queue.erase(std::remove_if(queue.begin(), queue.end(), same), queue.end());
  }
  lock.unlock();
  if (item.work.expired) item.work.expired();
  lock.lock();
}

}  // namespace clusterd::libvirt
