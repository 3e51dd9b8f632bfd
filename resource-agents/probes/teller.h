// Teller: the way out to the event sink, for as long as a guest is watched. Thread-safe: once a
// watch has ended here, nothing more of it comes out, whatever another thread is about to say.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include "clusterd/ports/sink.h"

namespace clusterd::probes {

class Teller {
 public:
  // Numbers every call of watch(), also those of the same VM under the same number.
  using Serial = std::uint64_t;

  explicit Teller(EventSink& sink) : sink_(sink) {}

  [[nodiscard]] Serial begin(VmId vm) {
    const std::lock_guard lock(mutex_);
    return watched_[vm] = ++last_;
  }
  void end(VmId vm) {
    const std::lock_guard lock(mutex_);
    watched_.erase(vm);
  }
  void end_all() {
    const std::lock_guard lock(mutex_);
    watched_.clear();
  }
  void tell(VmId vm, Serial serial, Event event) {
    const std::lock_guard lock(mutex_);
    const auto found = watched_.find(vm);
    if (found != watched_.end() && found->second == serial) sink_.post(std::move(event));
  }

 private:
  EventSink& sink_;
  std::mutex mutex_;
  std::map<VmId, Serial> watched_;
  Serial last_ = 0;
};

}  // namespace clusterd::probes
