#include "clusterd/adapters/corosync/worker.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace clusterd {

struct Worker::Shared {
  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  std::deque<std::function<Completion()>> jobs;
  bool stopping = false;
  bool ended = false;
  Loop* loop = nullptr;  // null once the owner is gone
};

Worker::Worker(Loop& loop) : shared_(std::make_shared<Shared>()) {
  shared_->loop = &loop;
  // Signals belong to the main loop's thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(run, shared_).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Worker::~Worker() {
  std::unique_lock<std::mutex> lock(shared_->mutex);
  shared_->stopping = true;
  shared_->loop = nullptr;
  shared_->changed.notify_all();
  shared_->changed.wait_for(lock, std::chrono::seconds(2), [&] { return shared_->ended; });
}

void Worker::submit(std::function<Completion()> job) {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->jobs.push_back(std::move(job));
  shared_->changed.notify_all();
}

void Worker::run(const std::shared_ptr<Shared>& shared) {
  std::unique_lock<std::mutex> lock(shared->mutex);
  for (;;) {
    shared->changed.wait(lock, [&] { return shared->stopping || !shared->jobs.empty(); });
    if (shared->jobs.empty()) break;
    const auto job = std::move(shared->jobs.front());
    shared->jobs.pop_front();
    lock.unlock();
    Completion completion = job();
    lock.lock();
    // Checked again for each job: the owner's completions refer to the owner.
    if (shared->loop == nullptr) continue;
    shared->loop->post([weak = std::weak_ptr<Shared>(shared), done = std::move(completion)] {
      if (const auto still = weak.lock()) {
        {
          const std::lock_guard<std::mutex> guard(still->mutex);
          if (still->loop == nullptr) return;
        }
        done();
      }
    });
  }
  shared->ended = true;
  shared->changed.notify_all();
}

}  // namespace clusterd
