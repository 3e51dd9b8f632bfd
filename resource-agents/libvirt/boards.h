// Small blackboards between libvirt's event thread and the workers: who has stopped, whose guest
// agent has answered, and the way out to the event sink.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "clusterd/ports/sink.h"
#include "resource-agents/libvirt/session.h"

namespace clusterd::libvirt {

// Wakes a stop() that waits for its guest. Thread-safe.
class StopBoard {
 public:
  using Mark = std::uint64_t;

  // Taken before the shutdown is asked for, so that a quick guest is not missed.
  [[nodiscard]] Mark mark() const;
  // A domain has stopped, or (for all) events may have been missed.
  void stopped(VmId vm);
  void all_may_have_changed();
  // Ends all waiting, now and later.
  void close();
  // False when `until` passed, or closed; true when `vm` is worth a look.
  [[nodiscard]] bool wait(VmId vm, Mark since, Clock::time_point until);
  // Sleeps; false when closed.
  [[nodiscard]] bool pause(std::chrono::milliseconds length);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<VmId, Mark> stopped_at_;
  Mark all_at_ = 0;
  Mark now_ = 0;
  bool closed_ = false;
};

// Which guest agents have answered since their domain's start. Thread-safe.
class AgentBoard {
 public:
  // False if a ping is under way or this start (libvirt's domain id) has answered already.
  [[nodiscard]] bool begin_ping(VmId vm);
  void end_ping(VmId vm);
  void answered(VmId vm, int domain_id);
  void forget(VmId vm);
  [[nodiscard]] bool has_answered(VmId vm, int domain_id) const;

 private:
  mutable std::mutex mutex_;
  std::map<VmId, int> answered_;
  std::set<VmId> pinging_;
};

// The sink, until the hypervisor is destroyed: a given-up thread must not reach a dead sink.
class Outbox {
 public:
  explicit Outbox(EventSink& sink) : sink_(&sink) {}

  void post(Event event) {
    const std::lock_guard lock(mutex_);
    if (sink_ != nullptr) sink_->post(std::move(event));
  }
  void close() {
    const std::lock_guard lock(mutex_);
    sink_ = nullptr;
  }

 private:
  std::mutex mutex_;
  EventSink* sink_;
};

}  // namespace clusterd::libvirt
