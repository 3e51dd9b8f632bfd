// What the prober tells and when: the agent's check, changes, silence, lateness, many guests.
#include "resource-agents/probes/guest_prober.h"

#include <signal.h>

#include <filesystem>
#include <fstream>

#include "resource-agents/probes/teller.h"
#include "tests/unit/resource-agents/probes/fake_guest.h"

using namespace clusterd;
using namespace clusterd::probe_test;

namespace {

constexpr auto kPassed = CheckOutcome::passed;
constexpr auto kFailed = CheckOutcome::failed;
constexpr auto kBusy = CheckOutcome::busy;

using Outcomes = std::vector<CheckOutcome>;

// Answers of one guest's agent and its output counter, one of each for every ping; then the last.
struct Story {
  std::vector<AgentAnswer<AgentAlive>> pings;
  std::vector<GuestOutput> outputs;
  std::size_t ping = 0;

  void play(FakeAgent& agent) {
    agent.on_ping = [this](VmId) { return pings[std::min(ping++, pings.size() - 1)]; };
    agent.on_output = [this](VmId) { return outputs[std::min(ping, outputs.size()) - 1]; };
  }
};

}  // namespace

TEST_CASE("probes: of passes the first is told, of failures each one") {
  Bench bench;
  bench.start();
  bench.prober->watch(agent_order(vm(1), 7));
  CHECK(bench.sink.first(vm(1)).outcome == kPassed);
  CHECK(bench.sink.first(vm(1)).watch == 7);
  CHECK(bench.sink.first(vm(1)).check == kAgentCheck);
  REQUIRE(eventually([&] { return bench.agent.pinged(vm(1)) >= 10; }));
  CHECK(bench.sink.checked(vm(1)).size() == 1);
  bench.agent.change([](FakeAgent& a) { a.on_ping = [](VmId) { return silent(); }; });
  CHECK(bench.sink.outcomes(vm(1), 4) == Outcomes{kPassed, kFailed, kFailed, kFailed});
  bench.agent.change([](FakeAgent& a) { a.on_ping = [](VmId) { return AgentAlive{}; }; });
  const auto last = [&] { return bench.sink.checked(vm(1)).back().outcome; };
  REQUIRE(eventually([&] { return last() == kPassed; }));
  const auto told = bench.sink.checked(vm(1)).size();
  const int asked = bench.agent.pinged(vm(1));
  REQUIRE(eventually([&] { return bench.agent.pinged(vm(1)) >= asked + 5; }));
  CHECK(bench.sink.checked(vm(1)).size() == told);
  CHECK(bench.prober->counts().passed >= 14);
  CHECK(bench.prober->counts().failed == told - 2);
}

TEST_CASE("probes: a guest that writes or sends between two failed pings is busy, not dead") {
  Bench bench;
  Story story;
  story.pings = {silent()};
  story.outputs = {{10, 5}, {10, 5}, {11, 5}, {11, 5}, {11, 6}, {11, std::nullopt}, {9, 9}};
  story.play(bench.agent);
  bench.start();
  bench.prober->watch(agent_order(vm(1)));
  // The first has nothing to compare with. What was not to be had, or fell (another disk), is no
  // sign of life.
  CHECK(bench.sink.outcomes(vm(1), 8) ==
        Outcomes{kFailed, kFailed, kBusy, kFailed, kBusy, kFailed, kFailed, kFailed});
  CHECK(bench.prober->counts().busy == 2);
}

TEST_CASE("probes: what a guest wrote before it last answered proves nothing") {
  Bench bench;
  Story story;
  story.pings = {silent(), AgentAlive{}, silent(), silent()};
  story.outputs = {{5, 5}, {7, 7}, {9, 9}};
  story.play(bench.agent);
  bench.start();
  bench.prober->watch(agent_order(vm(1)));
  CHECK(bench.sink.outcomes(vm(1), 4) == Outcomes{kFailed, kPassed, kFailed, kFailed});
}

TEST_CASE("probes: without statistics a silent agent is a failure") {
  Bench bench;
  bench.agent.on_ping = [](VmId) { return silent(); };
  bench.agent.on_output = [](VmId) { return not_asked(); };
  bench.start();
  bench.prober->watch(agent_order(vm(1)));
  CHECK(bench.sink.outcomes(vm(1), 3) == Outcomes{kFailed, kFailed, kFailed});
  CHECK(contains(bench.sink.first(vm(1)).detail, "agent not connected"));
}

TEST_CASE("probes: frozen file systems and a libvirt that is away are not told, only counted") {
  Bench bench;
  bool turn = false;
  bench.agent.on_ping = [&turn](VmId) {
    turn = !turn;
    return turn ? frozen() : not_asked();
  };
  bench.start();
  bench.prober->watch(agent_order(vm(1)));
  REQUIRE(eventually([&] { return bench.prober->counts().inconclusive >= 6; }));
  CHECK(bench.sink.checked(vm(1)).empty());
  // An agent that answers with an error lives.
  bench.agent.change([](FakeAgent& a) { a.on_ping = [](VmId) { return refused("disabled"); }; });
  CHECK(bench.sink.first(vm(1)).outcome == kPassed);
}

TEST_CASE("probes: a timeout while the prober itself was late is not told, and asked again") {
  Bench bench;
  Server server([](int fd) { wait_for_close(fd); });
  // The sink stalls the prober's thread once, while the second guest's question is under way.
  std::atomic<bool> stalled{false};
  std::atomic<int> asked_at_first_failure{0};
  bench.sink.on_post = [&](const Event& event) {
    const auto& checked = std::get<GuestChecked>(event);
    if (checked.vm == vm(1) && !stalled.exchange(true)) std::this_thread::sleep_for(2s);
    if (checked.vm == vm(2) && asked_at_first_failure == 0) {
      asked_at_first_failure = server.served.load();
    }
  };
  bench.agent.on_ping = [](VmId) { return not_asked(); };
  bench.start(quick(1000ms));
  bench.prober->watch(agent_order(vm(1)));
  bench.prober->watch(watch_order(vm(2), 1, {probe(ProbeKind::http, server.port, 1500ms)}));
  REQUIRE(eventually([&] { return server.served == 1; }));
  CHECK(bench.sink.checked(vm(2)).empty());
  const auto before = bench.prober->counts().inconclusive;
  bench.agent.change([](FakeAgent& a) { a.on_ping = [](VmId) { return AgentAlive{}; }; });
  CHECK(bench.sink.first(vm(2)).outcome == kFailed);
  CHECK(stalled);
  CHECK(asked_at_first_failure >= 2);
  CHECK(bench.prober->counts().inconclusive > before);
}

TEST_CASE("probes: after unwatch, and of an older watch, nothing is told") {
  Bench bench;
  bench.agent.on_ping = [](VmId) { return silent(); };
  bench.start();
  bench.prober->watch(agent_order(vm(1), 1, 1ms));
  bench.prober->watch(agent_order(vm(2), 1, 1ms));
  (void)bench.sink.outcomes(vm(1), 3);
  bench.prober->watch(agent_order(vm(1), 2, 1ms));
  const auto old = bench.sink.checked(vm(1)).size();
  REQUIRE(eventually([&] { return bench.sink.checked(vm(1)).size() >= old + 5; }));
  const auto all = bench.sink.checked(vm(1));
  for (std::size_t i = old; i < all.size(); ++i) CHECK(all[i].watch == 2);
  bench.prober->unwatch({vm(1)});
  const auto told = bench.sink.checked(vm(1)).size();
  const auto others = bench.sink.checked(vm(2)).size();
  REQUIRE(eventually([&] { return bench.sink.checked(vm(2)).size() >= others + 20; }));
  CHECK(bench.sink.checked(vm(1)).size() == told);
  bench.prober->unwatch({vm(9)});
}

TEST_CASE("probes: what an older watch is about to say is held back") {
  Sink sink;
  probes::Teller teller(sink);
  const auto old = teller.begin(vm(1));
  const auto now = teller.begin(vm(1));
  teller.tell(vm(1), old, GuestChecked{vm(1), 1, "", kFailed, ""});
  CHECK(sink.checked(vm(1)).empty());
  teller.tell(vm(1), now, GuestChecked{vm(1), 1, "", kFailed, ""});
  CHECK(sink.checked(vm(1)).size() == 1);
  teller.end(vm(1));
  teller.tell(vm(1), now, GuestChecked{vm(1), 1, "", kFailed, ""});
  CHECK(sink.checked(vm(1)).size() == 1);
}

TEST_CASE("probes: four thousand checks keep their intervals beside hung ones") {
  constexpr unsigned kGuests = 3500;
  constexpr unsigned kServed = 500;
  constexpr auto kInterval = 2000ms;
  Server server(nullptr);
  Server hung([](int fd) { wait_for_close(fd); });
  std::map<VmId, std::vector<Clock::time_point>> asked;  // under the agent's lock
  Bench bench;
  bench.agent.on_ping = [&asked](VmId of) -> AgentAnswer<AgentAlive> {
    asked[of].push_back(Clock::now());
    return AgentAlive{};
  };
  bench.agent.on_command = nullptr;  // exec hangs
  bench.start();
  const auto begun = Clock::now();
  for (unsigned i = 0; i < kGuests; ++i) bench.prober->watch(agent_order(vm(i), 1, kInterval));
  for (unsigned i = 0; i < kServed; ++i) {
    Probe tcp = probe(ProbeKind::tcp, server.port);
    tcp.interval = kInterval;
    bench.prober->watch(watch_order(vm(10000 + i), 1, {tcp}));
  }
  Probe exec = probe(ProbeKind::exec);
  exec.command = {"/bin/true"};
  bench.prober->watch(watch_order(vm(20000), 1, {exec}));
  bench.prober->watch(watch_order(vm(20001), 1, {probe(ProbeKind::http, hung.port)}));
  std::this_thread::sleep_until(begun + 3 * kInterval);
  const auto ended = Clock::now();
  bench.prober.reset();
  CHECK(asked.size() == kGuests);
  std::size_t late = 0;
  std::size_t in_first_half = 0;
  for (auto& [of, times] : asked) {
    auto last = begun;
    in_first_half += times.front() - begun < kInterval / 2 ? 1 : 0;
    times.push_back(ended);
    for (const auto at : times) {
      if (at - last > 2 * kInterval) ++late;
      last = at;
    }
  }
  CHECK(late == 0);
  // They are spread, not all at once.
  CHECK(in_first_half > kGuests / 3);
  CHECK(in_first_half < kGuests * 2 / 3);
  CHECK(server.served >= static_cast<int>(2 * kServed));
  CHECK(bench.sink.checked(vm(10000 + kServed - 1)).front().outcome == kPassed);
}

TEST_CASE("probes: the destructor takes its time only, and nothing is told after it") {
  char name[] = "/tmp/clusterd-probe-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  const std::string folder = name;
  Server hung([](int fd) { wait_for_close(fd); });
  Bench bench;
  bench.agent.on_ping = nullptr;
  bench.start();
  Probe script = probe(ProbeKind::script, 0, 60s);
  script.command = {"/bin/sh", "-c", "echo $$ > " + folder + "/pid; sleep 1000"};
  Probe http = probe(ProbeKind::http, hung.port, 60s);
  WatchGuest order = watch_order(vm(1), 1, {script, http});
  order.policy.guest_agent = GuestAgentCheck{20ms, 1s, 3, false};
  bench.prober->watch(order);
  pid_t pid = 0;
  REQUIRE(eventually([&] {
    std::ifstream(folder + "/pid") >> pid;
    return pid > 0 && hung.served == 1 && bench.agent.pinged(vm(1)) == 1;
  }));
  const auto begun = Clock::now();
  bench.prober.reset();
  CHECK(Clock::now() - begun < 5s);
  CHECK(::kill(pid, 0) != 0);
  for (const auto& answer : bench.agent.kept) answer();  // to nobody
  CHECK(bench.sink.checked(vm(1)).empty());
  std::filesystem::remove_all(folder);
}
