// Worker: one thread for Corosync's synchronous calls. None of them has a timeout, so a Corosync
// that hangs would otherwise hang the main loop (field-notes.md, Corosync 11).
#pragma once

#include <functional>
#include <memory>

#include "clusterd/ports/loop.h"

namespace clusterd {

class Worker {
 public:
  explicit Worker(Loop& loop);
  // Lets queued jobs end, but waits at most two seconds: a job that hangs is left behind.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // `job` runs on the worker's thread, after the jobs before it. It returns what is to run on the
  // loop's thread afterwards; that is dropped once this object is gone.
  using Completion = std::function<void()>;
  void submit(std::function<Completion()> job);

 private:
  struct Shared;
  static void run(const std::shared_ptr<Shared>& shared);
  std::shared_ptr<Shared> shared_;
};

}  // namespace clusterd
