#include "fencing/agent/agent_fencer.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "clusterd/base/assert.h"
#include "clusterd/base/overloaded.h"
#include "fencing/agent/fence_test.h"
#include "fencing/agent/power_run.h"

namespace clusterd {

class AgentFencer::Worker {
 public:
  Worker(EventSink& sink, const AgentFencerOptions& options)
      : sink_(sink),
        pause_(options.pause),
        runner_(agent_search_path(options.search_path)),
        wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    CLUSTERD_ASSERT(wake_fd_ >= 0);
    // Signals are the main loop's: a thread inherits what is blocked when it is made.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~Worker() {
    give(Stop{});
    thread_.join();
    ::close(wake_fd_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  struct Stop {};
  using Order = std::variant<DispatchPower, OpId, RunFenceTest, Stop>;

  void give(Order order) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      orders_.push_back(std::move(order));
    }
    const std::uint64_t one = 1;
    // Fails only when the counter is full; then it is readable already.
    static_cast<void>(!::write(wake_fd_, &one, sizeof one));
  }

 private:
  struct Test {
    std::unique_ptr<FenceTest> test;
    bool ended = false;
  };

  void run() {
    while (!stopped_) {
      runner_.wait_and_run(wake_fd_);
      std::uint64_t count = 0;
      static_cast<void>(!::read(wake_fd_, &count, sizeof count));
      std::vector<Order> orders;
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        orders.swap(orders_);
      }
      for (Order& order : orders) {
        std::visit([this](auto& what) { take(what); }, order);
      }
      for (const OpId& op : ended_) operations_.erase(op);
      ended_.clear();
      tests_.remove_if([](const Test& test) { return test.ended; });
    }
    operations_.clear();
    tests_.clear();
  }

  void take(DispatchPower& order) {
    const OpId op = order.op;
    CLUSTERD_ASSERT(!operations_.contains(op));
    auto ended = [this, op](PowerOperationEnded event) {
      ended_.insert(op);
      sink_.post(std::move(event));
    };
    const auto [place, inserted] = operations_.emplace(
        op, std::make_unique<PowerRun>(runner_, std::move(order), pause_, std::move(ended)));
    place->second->begin();
  }

  void take(OpId& op) {
    const auto found = operations_.find(op);
    if (found == operations_.end() || ended_.contains(op)) return;
    found->second->cancel();
  }

  void take(RunFenceTest& order) {
    Test& slot = tests_.emplace_back();
    slot.test = std::make_unique<FenceTest>(runner_, std::move(order),
                                            [this, &slot](FenceTestEnded event) {
                                              slot.ended = true;
                                              sink_.post(std::move(event));
                                            });
    slot.test->begin();
  }

  void take(Stop&) { stopped_ = true; }

  EventSink& sink_;
  const Duration pause_;
  CallRunner runner_;
  const int wake_fd_;
  bool stopped_ = false;
  // After runner_: their calls are cancelled there when they go.
  std::map<OpId, std::unique_ptr<PowerRun>> operations_;
  std::list<Test> tests_;
  std::set<OpId> ended_;  // answered, and destroyed once nothing of them is on the stack
  std::mutex mutex_;
  std::vector<Order> orders_;  // guarded by mutex_
  std::thread thread_;
};

AgentFencer::AgentFencer(EventSink& sink, AgentFencerOptions options)
    : worker_(std::make_unique<Worker>(sink, options)) {}
AgentFencer::~AgentFencer() = default;

void AgentFencer::operate(const DispatchPower& order) { worker_->give(order); }
void AgentFencer::cancel(OpId op) { worker_->give(op); }
void AgentFencer::test(const RunFenceTest& order) { worker_->give(order); }

}  // namespace clusterd
