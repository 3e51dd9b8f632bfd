#include "resource-agents/libvirt/worker_pool.h"

#include <catch2/catch.hpp>
#include <future>

using namespace clusterd;
using namespace clusterd::libvirt;
using namespace std::chrono_literals;

namespace {

VmId vm(std::uint8_t n) {
  VmId id;
  id.uuid.bytes[15] = n;
  return id;
}

// A pool whose work never opens the connections it gets.
struct Bench {
  CallCounter calls;
  WorkerPool pool;

  explicit Bench(WorkerOptions options = {})
      : pool([this] { return std::make_unique<Session>("test:///default", calls); }, options) {}
};

// Stands for a libvirt call that does not return until it is let go.
struct Gate {
  std::promise<void> opener;
  std::shared_future<void> opened = opener.get_future().share();
};

template <class T>
bool soon(const std::future<T>& future) {
  return future.wait_for(10s) == std::future_status::ready;
}

Work blocked(WorkKind kind, VmId lane, const Gate& gate, Clock::duration timeout,
             std::shared_ptr<std::promise<std::string>> answer) {
  return {kind, lane, Clock::now() + timeout,
          [opened = gate.opened, answer](Session&, Ticket& ticket) {
            opened.wait();
            if (ticket.claim()) answer->set_value("done");
          },
          [answer] { answer->set_value("expired"); }};
}

Work quick(WorkKind kind, VmId lane, std::shared_ptr<std::promise<std::string>> answer) {
  return {kind, lane, Clock::now() + 10s,
          [answer](Session&, Ticket& ticket) {
            if (ticket.claim()) answer->set_value("done");
          },
          [answer] { answer->set_value("expired"); }};
}

std::shared_ptr<std::promise<std::string>> answer() {
  return std::make_shared<std::promise<std::string>>();
}

}  // namespace

TEST_CASE("workers: a stuck call is answered once, by its deadline, and counted") {
  Bench bench;
  Gate gate;
  const auto stuck = answer();
  auto told = stuck->get_future();
  bench.pool.submit(blocked(WorkKind::start, vm(1), gate, 30ms, stuck));
  REQUIRE(soon(told));
  CHECK(told.get() == "expired");
  CHECK(bench.pool.stuck() == 1);
  gate.opener.set_value();  // the late result must not answer again: the promise would throw
  const auto next = answer();
  auto after = next->get_future();
  bench.pool.submit(quick(WorkKind::start, vm(1), next));
  REQUIRE(soon(after));
  CHECK(bench.pool.stuck() == 0);
}

TEST_CASE("workers: other VMs and looks at the stuck VM go on, its own lane waits") {
  Bench bench;
  Gate gate;
  bench.pool.submit(blocked(WorkKind::start, vm(1), gate, 10s, answer()));
  const auto other = answer();
  auto other_told = other->get_future();
  bench.pool.submit(quick(WorkKind::start, vm(2), other));
  const auto look = answer();
  auto look_told = look->get_future();
  bench.pool.submit(quick(WorkKind::look, vm(1), look));
  REQUIRE(soon(other_told));
  REQUIRE(soon(look_told));
  const auto behind = answer();
  auto behind_told = behind->get_future();
  bench.pool.submit(quick(WorkKind::stop, vm(1), behind));
  CHECK(behind_told.wait_for(50ms) == std::future_status::timeout);
  gate.opener.set_value();
  REQUIRE(soon(behind_told));
  CHECK(behind_told.get() == "done");
}

TEST_CASE("workers: what waits beyond its deadline expires and is never run") {
  WorkerOptions options;
  options.threads = {1, 1, 1, 1};
  Bench bench(options);
  Gate gate;
  bench.pool.submit(blocked(WorkKind::start, vm(1), gate, 10s, answer()));
  bool ran = false;
  const auto waiting = answer();
  auto told = waiting->get_future();
  bench.pool.submit({WorkKind::start, vm(2), Clock::now() + 30ms,
                     [&ran](Session&, Ticket&) { ran = true; },
                     [waiting] { waiting->set_value("expired"); }});
  REQUIRE(soon(told));
  CHECK(bench.pool.stuck() == 0);
  gate.opener.set_value();
  const auto next = answer();
  auto after = next->get_future();
  bench.pool.submit(quick(WorkKind::start, vm(3), next));
  REQUIRE(soon(after));
  CHECK_FALSE(ran);
}

TEST_CASE("workers: threads are bounded and end when idle") {
  WorkerOptions options;
  options.threads = {3, 1, 1, 1};
  options.idle = 20ms;
  Bench bench(options);
  Gate gate;
  std::vector<std::future<std::string>> told;
  for (std::uint8_t n = 0; n < 12; ++n) {
    const auto promise = answer();
    told.push_back(promise->get_future());
    bench.pool.submit(blocked(WorkKind::start, vm(n), gate, 10s, promise));
  }
  CHECK(bench.pool.threads() <= 3);
  gate.opener.set_value();
  for (auto& future : told) {
    REQUIRE(soon(future));
    CHECK(future.get() == "done");
  }
  const auto limit = Clock::now() + 10s;
  while (bench.pool.threads() > 0 && Clock::now() < limit) std::this_thread::sleep_for(5ms);
  CHECK(bench.pool.threads() == 0);
}

TEST_CASE("workers: the end does not wait for a stuck call") {
  Gate gate;
  const auto begun = Clock::now();
  {
    WorkerOptions options;
    options.parting = 50ms;
    // The stuck thread outlives the pool; so what it touches must be its own.
    auto calls = std::make_shared<CallCounter>();
    WorkerPool pool([calls] { return std::make_unique<Session>("test:///default", *calls); },
                    options);
    pool.submit(blocked(WorkKind::stop, vm(1), gate, 20s, answer()));
    while (pool.threads() == 0) std::this_thread::yield();
  }
  CHECK(Clock::now() - begun < 10s);
  gate.opener.set_value();
}
