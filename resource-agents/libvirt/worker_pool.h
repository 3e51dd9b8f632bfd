// WorkerPool: runs libvirt calls, which may block for ever, on threads that may be given up.
//
// Work of one lane (one VM and group) is serial; a stuck lane holds up no other. Each kind has
// its own bound of threads, so that slow shutdowns never delay a start, and neither delays a
// look. What is not finished at its deadline is answered by `expired` on the timer's thread; the
// stuck thread keeps its place and its lane until the call returns.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "clusterd/model/ids.h"
#include "resource-agents/libvirt/session.h"

namespace clusterd::libvirt {

// Decides who answers: the worker that finished, or the timer. Exactly one claim succeeds.
class Ticket {
 public:
  [[nodiscard]] bool claim() { return !claimed_.exchange(true); }
  [[nodiscard]] bool claimed() const { return claimed_.load(); }

 private:
  std::atomic<bool> claimed_{false};
};

// start and stop share the VM's lane; looks, the ping after a boot (`agent`), and the questions of
// probes have lanes of their own.
enum class WorkKind : std::size_t { start, stop, look, agent, probe };
inline constexpr std::size_t kWorkKinds = 5;

struct Work {
  WorkKind kind = WorkKind::look;
  std::optional<VmId> vm;  // none: no lane
  Clock::time_point deadline;
  std::function<void(Session&, Ticket&)> run;  // claims the ticket before it answers
  std::function<void()> expired;               // called at most once, after its own claim
};

struct WorkerOptions {
  // By WorkKind. Each question to a hung agent holds one of libvirtd's own workers as well, of
  // which there are 20 (max_workers): probes must leave most of them to starts and looks.
  std::array<std::size_t, kWorkKinds> threads{24, 64, 32, 16, 8};
  std::chrono::milliseconds idle{10000};    // a thread without work ends after this
  std::chrono::milliseconds parting{2000};  // the destructor waits so long for running work
};

class WorkerPool {
 public:
  using MakeSession = std::function<std::unique_ptr<Session>()>;

  WorkerPool(MakeSession make_session, WorkerOptions options);
  ~WorkerPool() { shut_down(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void submit(Work work);
  // Drops what waits, then waits a moment for running work; gives up threads that are stuck. The
  // owner calls it first: the destructor may then run on such a thread, when it wakes up at last.
  void shut_down();
  // Threads that sit in a call beyond its deadline.
  [[nodiscard]] std::size_t stuck() const;
  [[nodiscard]] std::size_t threads() const;

 private:
  struct Item {
    Work work;
    Ticket ticket;
    bool begun = false;
    bool stuck = false;
  };
  using ItemPtr = std::shared_ptr<Item>;
  using Lane = std::pair<std::size_t, VmId>;

  // Everything the threads touch; a given-up thread keeps it alive.
  struct State {
    MakeSession make_session;
    WorkerOptions options;
    mutable std::mutex mutex;
    std::condition_variable work_came;
    std::condition_variable timer;
    std::condition_variable thread_ended;
    std::array<std::deque<ItemPtr>, kWorkKinds> waiting;
    std::array<std::size_t, kWorkKinds> live{};
    std::array<std::size_t, kWorkKinds> idle{};
    std::set<Lane> busy;
    std::multimap<Clock::time_point, std::weak_ptr<Item>> deadlines;
    std::size_t stuck = 0;
    bool stopping = false;
  };

  static std::optional<Lane> lane_of(const Work& work);
  static ItemPtr take(State& state, std::size_t kind);
  static void work_loop(const std::shared_ptr<State>& state, std::size_t kind);
  static void run_item(State& state, std::unique_lock<std::mutex>& lock, Item& item,
                       std::unique_ptr<Session>& session);
  static void timer_loop(const std::shared_ptr<State>& state);
  static void expire(State& state, std::unique_lock<std::mutex>& lock, Item& item);

  std::shared_ptr<State> state_;
  std::thread timer_;
  bool shut_down_ = false;  // touched by the owner alone
};

}  // namespace clusterd::libvirt
