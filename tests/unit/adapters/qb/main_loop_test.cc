#include "clusterd/adapters/qb/main_loop.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "clusterd/adapters/qb/event_queue.h"

namespace clusterd {
namespace {

std::unique_ptr<MainLoop> make_loop() {
  auto made = MainLoop::create();
  REQUIRE(made.ok());
  return std::move(made).value();
}

TEST_CASE("main loop: timers fire once, in order of time, and not after cancelling") {
  const auto loop = make_loop();
  std::string story;
  loop->add_timer(Duration(20), [&] { story += "b"; });
  loop->add_timer(Duration(1), [&] { story += "a"; });
  const auto cancelled = loop->add_timer(Duration(5), [&] { story += "x"; });
  loop->cancel_timer(cancelled);
  loop->cancel_timer(cancelled);
  loop->cancel_timer(Loop::kNoTimer);
  // A timer may cancel another one that is due at the same moment.
  Loop::TimerId victim = Loop::kNoTimer;
  loop->add_timer(Duration(30), [&] { loop->cancel_timer(victim); });
  victim = loop->add_timer(Duration(40), [&] { story += "y"; });
  loop->add_timer(Duration(60), [&] { loop->stop(); });
  loop->run();
  CHECK(story == "ab");
}

TEST_CASE("main loop: other threads wake it, and their work keeps its order") {
  const auto loop = make_loop();
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) loop->post([&seen, i] { seen.push_back(i); });
    loop->post([&] { loop->stop(); });
  });
  loop->run();
  other.join();
  REQUIRE(seen.size() == 1000);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
}

TEST_CASE("main loop: descriptors tell what is readable and that the other end is gone") {
  const auto loop = make_loop();
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::string story;
  REQUIRE(loop->add_fd(ends[0], [&](FdEvent event) {
    char c = 0;
    const ssize_t got = read(ends[0], &c, 1);
    if (got == 1) story += c;
    if (got == 0 && event == FdEvent::hung_up) {
      loop->remove_fd(ends[0]);
      loop->stop();
    }
  }).ok());
  CHECK_FALSE(loop->add_fd(ends[0], [](FdEvent) {}).ok());
  CHECK(loop->inputs_empty());
  REQUIRE(write(ends[1], "ab", 2) == 2);
  CHECK_FALSE(loop->inputs_empty());
  close(ends[1]);
  loop->run();
  CHECK(story == "ab");
  close(ends[0]);
}

TEST_CASE("main loop: signals arrive on the loop, and a stop before the run is honoured") {
  const auto loop = make_loop();
  bool arrived = false;
  REQUIRE(loop->on_signal(SIGTERM, [&] {
    arrived = true;
    loop->stop();
  }).ok());
  loop->add_timer(Duration(1), [] { raise(SIGTERM); });
  loop->run();
  CHECK(arrived);
  loop->stop();
  loop->run();
}

TEST_CASE("event queue: events of other threads come one by one, in order, on the loop") {
  const auto loop = make_loop();
  const auto home = std::this_thread::get_id();
  std::vector<std::uint64_t> seen;
  EventQueue queue(*loop, [&](Event event) {
    CHECK(std::this_thread::get_id() == home);
    seen.push_back(std::get<ClientGone>(event).client.value);
    if (seen.size() == 500) loop->stop();
  });
  std::thread other([&] {
    for (std::uint64_t i = 0; i < 500; ++i) queue.post(ClientGone{ClientId(i)});
  });
  loop->run();
  other.join();
  CHECK(queue.waiting() == 0);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
}

}  // namespace
}  // namespace clusterd
