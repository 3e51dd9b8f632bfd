// EventQueue: the EventSink of the daemon. Any thread posts; the loop's thread consumes, in order.
#pragma once

#include <functional>
#include <memory>

#include "clusterd/ports/loop.h"
#include "clusterd/ports/sink.h"

namespace clusterd {

class EventQueue final : public EventSink {
 public:
  // `loop` outlives this and every thread that posts. After destruction nothing is consumed.
  EventQueue(Loop& loop, std::function<void(Event)> consume);
  ~EventQueue() override;
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  void post(Event event) override;
  // Events posted and not yet consumed.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct Shared;
  static void drain(Shared& shared);

  Loop& loop_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace clusterd
