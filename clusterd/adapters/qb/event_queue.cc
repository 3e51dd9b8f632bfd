#include "clusterd/adapters/qb/event_queue.h"

#include <deque>
#include <mutex>
#include <utility>

namespace clusterd {

struct EventQueue::Shared {
  std::function<void(Event)> consume;
  std::mutex mutex;  // guards events
  std::deque<Event> events;
};

EventQueue::EventQueue(Loop& loop, std::function<void(Event)> consume)
    : loop_(loop), shared_(std::make_shared<Shared>()) {
  shared_->consume = std::move(consume);
}

EventQueue::~EventQueue() = default;

void EventQueue::post(Event event) {
  bool first = false;
  {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    first = shared_->events.empty();
    shared_->events.push_back(std::move(event));
  }
  // One wake-up serves all events that gather until it runs.
  if (!first) return;
  loop_.post([weak = std::weak_ptr<Shared>(shared_)] {
    if (const auto shared = weak.lock()) drain(*shared);
  });
}

void EventQueue::drain(Shared& shared) {
  std::deque<Event> batch;
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    batch.swap(shared.events);
  }
  for (Event& event : batch) shared.consume(std::move(event));
}

std::size_t EventQueue::waiting() const {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  return shared_->events.size();
}

}  // namespace clusterd
