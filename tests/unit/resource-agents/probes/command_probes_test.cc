// Commands in guests, scripts on the host, repairs.
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "clusterd/base/text.h"
#include "tests/unit/resource-agents/probes/fake_guest.h"

using namespace clusterd;
using namespace clusterd::probe_test;

namespace {

constexpr auto kPassed = CheckOutcome::passed;
constexpr auto kFailed = CheckOutcome::failed;

// The agent's side of guest-exec. Used under the agent's lock.
struct Guest {
  int begun = 0;
  int reaped = 0;
  int most_alive = 0;
  int next_pid = 100;
  std::map<int, bool> alive;  // pid -> still running
  bool runs_on = false;       // commands do not end
  std::string end = R"("exitcode":0)";
  nlohmann::json last;

  AgentAnswer<std::string> answer(const nlohmann::json& asked) {
    if (asked.at("execute") == "guest-exec") {
      last = asked;
      ++begun;
      alive[++next_pid] = true;
      most_alive = std::max(most_alive, static_cast<int>(alive.size()));
      return R"({"return":{"pid":)" + std::to_string(next_pid) + "}}";
    }
    const int pid = asked.at("arguments").at("pid");
    if (!alive.contains(pid)) return refused("PID " + std::to_string(pid) + " does not exist");
    if (runs_on) return R"({"return":{"exited":false}})";
    alive.erase(pid);
    ++reaped;
    return R"({"return":{"exited":true,)" + end + "}}";
  }
};

struct GuestBench : Bench {
  Guest guest;

  GuestBench() {
    agent.on_command = [this](VmId, const nlohmann::json& asked) { return guest.answer(asked); };
  }
  ~GuestBench() { prober.reset(); }

  template <class T>
  T look(T Guest::*member) {
    const std::lock_guard lock(agent.mutex);
    return guest.*member;
  }
  void change_guest(const std::function<void(Guest&)>& how) {
    agent.change([&](FakeAgent&) { how(guest); });
  }
};

Probe exec_probe(Duration timeout = 10s) {
  Probe exec = probe(ProbeKind::exec, 0, timeout);
  exec.command = {"/bin/check", "--fast", "a b"};
  return exec;
}

GuestChecked exec_told(const std::string& end) {
  GuestBench bench;
  bench.guest.end = end;
  const auto told = bench.first_of(exec_probe());
  CHECK(told.detail.size() <= 200);
  CHECK(is_utf8(told.detail));
  CHECK_FALSE(has_control(told.detail));
  return told;
}

WatchGuest repair_order(Duration timeout = 10s) {
  WatchGuest order = watch_order(vm(1), 4, {});
  order.policy.repair = {"/bin/fix"};
  order.policy.repair_timeout = timeout;
  return order;
}

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/clusterd-probe-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

Probe script_probe(const std::string& text, Duration timeout = 10s) {
  Probe script = probe(ProbeKind::script, 0, timeout);
  script.command = {"/bin/sh", "-c", text};
  return script;
}

}  // namespace

TEST_CASE("probes: exec passes by exit code 0 and is reaped") {
  GuestBench bench;
  CHECK(bench.first_of(exec_probe()).outcome == kPassed);
  REQUIRE(eventually([&] { return bench.look(&Guest::reaped) >= 5; }));
  CHECK(bench.sink.checked(vm(1)).size() == 1);
  CHECK(bench.look(&Guest::most_alive) == 1);
  const auto asked = bench.look(&Guest::last).at("arguments");
  CHECK(asked.at("path") == "/bin/check");
  CHECK(asked.at("arg") == nlohmann::json({"--fast", "a b"}));
  CHECK(asked.at("capture-output") == true);
}

TEST_CASE("probes: exec fails by exit code or signal, with the command's last words") {
  // "disk full\n"
  const auto code = exec_told(R"("exitcode":3,"out-data":"b2sK","err-data":"ZGlzayBmdWxsCg==")");
  CHECK(code.outcome == kFailed);
  CHECK(code.detail == "exit code 3: disk full");
  const auto signal = exec_told(R"("signal":9)");
  CHECK(signal.outcome == kFailed);
  CHECK(signal.detail == "ended by signal 9");
}

TEST_CASE("probes: exec output of megabytes or of garbage harms nobody") {
  const auto big = exec_told(R"("exitcode":1,"out-data":")" + std::string(10'000'000, '/') + "\"");
  CHECK(big.outcome == kFailed);
  CHECK(contains(big.detail, "exit code 1: ???"));
  CHECK(exec_told(R"("exitcode":0,"out-data":"=#!\u0000","x":[[[]]])").outcome == kPassed);
  CHECK(exec_told(R"("exitcode":99999999999)").outcome == kFailed);
  CHECK(exec_told("\"exitcode\":\"0\"").outcome == kFailed);
  CHECK(exec_told("\"exitcode\":null").outcome == kFailed);
  CHECK(exec_told("\xff\xfe").outcome == kFailed);
  CHECK(exec_told("\"a\":" + std::string(1'000'000, '[')).outcome == kFailed);
}

TEST_CASE("probes: exec that hangs fails at each interval, runs once, and is reaped in the end") {
  GuestBench bench;
  bench.guest.runs_on = true;
  const auto told = bench.first_of(exec_probe(60ms));
  CHECK(told.outcome == kFailed);
  CHECK(told.detail == "not over within 0.06 s");
  REQUIRE(eventually([&] { return bench.sink.checked(vm(1)).size() >= 4; }));
  CHECK(bench.sink.checked(vm(1))[2].detail == "the run before this one is not over yet");
  CHECK(bench.look(&Guest::begun) == 1);
  bench.change_guest([](Guest& guest) { guest.runs_on = false; });
  REQUIRE(eventually([&] { return bench.sink.checked(vm(1)).back().outcome == kPassed; }));
  CHECK(bench.look(&Guest::begun) >= 2);
  CHECK(bench.look(&Guest::most_alive) == 1);
}

TEST_CASE("probes: exec of an ended watch is reaped, and a new watch waits for it") {
  GuestBench bench;
  bench.guest.runs_on = true;
  bench.start();
  bench.prober->watch(watch_order(vm(1), 1, {exec_probe()}));
  REQUIRE(eventually([&] { return bench.look(&Guest::begun) == 1; }));
  bench.prober->watch(watch_order(vm(1), 2, {exec_probe(60ms)}));
  const auto told = bench.sink.first(vm(1));
  CHECK(told.watch == 2);
  CHECK(told.detail == "the run before this one is not over yet");
  CHECK(bench.look(&Guest::begun) == 1);
  bench.prober->unwatch({vm(1)});
  bench.change_guest([](Guest& guest) { guest.runs_on = false; });
  CHECK(eventually([&] { return bench.look(&Guest::reaped) == 1; }));
  CHECK(bench.look(&Guest::begun) == 1);
}

TEST_CASE("probes: exec goes on after the agent forgot its command") {
  GuestBench bench;
  bench.guest.runs_on = true;
  (void)bench.first_of(exec_probe(60ms));
  bench.change_guest([](Guest& guest) {  // the guest was reset
    guest.alive.clear();
    guest.runs_on = false;
  });
  CHECK(eventually([&] { return bench.sink.checked(vm(1)).back().outcome == kPassed; }));
}

TEST_CASE("probes: exec tells whether the agent is silent, refuses, is frozen or was not asked") {
  Bench bench;
  bench.agent.on_command = [](VmId of, const nlohmann::json&) -> AgentAnswer<std::string> {
    if (of == vm(1)) return silent();
    if (of == vm(2)) return refused("guest-exec has been disabled");
    if (of == vm(3)) return frozen();
    return not_asked();
  };
  bench.start();
  for (unsigned i = 1; i <= 4; ++i) bench.prober->watch(watch_order(vm(i), 1, {exec_probe()}));
  CHECK(bench.sink.first(vm(1)).outcome == kFailed);
  CHECK(bench.sink.first(vm(2)).outcome == kFailed);
  CHECK(contains(bench.sink.first(vm(2)).detail, "has been disabled"));
  REQUIRE(eventually([&] { return bench.prober->counts().inconclusive >= 10; }));
  CHECK(bench.sink.checked(vm(3)).empty());
  CHECK(bench.sink.checked(vm(4)).empty());
}

TEST_CASE("probes: exec that froze under way is neither told nor run twice") {
  GuestBench bench;
  bench.guest.runs_on = true;
  bool thaw = false;
  bench.agent.on_command = [&](VmId, const nlohmann::json& asked) -> AgentAnswer<std::string> {
    if (asked.at("execute") != "guest-exec" && !thaw) return frozen();
    return bench.guest.answer(asked);
  };
  bench.start();
  bench.prober->watch(watch_order(vm(1), 1, {exec_probe()}));
  REQUIRE(eventually([&] { return bench.prober->counts().inconclusive >= 4; }));
  CHECK(bench.sink.checked(vm(1)).empty());
  CHECK(bench.look(&Guest::begun) == 1);
  bench.change_guest([&](Guest& guest) {
    guest.runs_on = false;
    thaw = true;
  });
  CHECK(bench.sink.first(vm(1)).outcome == kPassed);
  CHECK(bench.look(&Guest::most_alive) == 1);
}

TEST_CASE("probes: a script passes by exit code 0 and knows its guest") {
  Folder folder;
  Bench bench;
  ::setenv("CLUSTERD_SECRET", "x", 1);
  const auto told =
      bench.first_of(script_probe("env > " + folder.path + "/new; mv " + folder.path + "/new " +
                                  folder.path + "/env"));
  ::unsetenv("CLUSTERD_SECRET");
  INFO(told.detail);
  CHECK(told.outcome == kPassed);
  std::ifstream file(folder.path + "/env");
  const std::string environment(std::istreambuf_iterator<char>(file), {});
  CHECK(contains(environment, "CLUSTERD_VM=web\n"));
  CHECK(contains(environment, "CLUSTERD_VM_UUID=" + vm(1).str() + "\n"));
  CHECK(contains(environment, "CLUSTERD_ADDRESS=127.0.0.1\n"));
  CHECK(contains(environment, "PATH=/"));
  CHECK_FALSE(contains(environment, "CLUSTERD_SECRET"));
}

TEST_CASE("probes: a script fails by any other end, with its last words") {
  Bench bench;
  bench.start();
  const std::string fails = "echo fine; echo 'no \033db' >&2; exit 7";
  bench.prober->watch(watch_order(vm(1), 1, {script_probe(fails)}));
  bench.prober->watch(watch_order(vm(2), 1, {script_probe("kill -9 $$")}));
  Probe missing = probe(ProbeKind::script);
  missing.command = {"/nowhere/check"};
  bench.prober->watch(watch_order(vm(3), 1, {missing}));
  CHECK(bench.sink.first(vm(1)).outcome == kFailed);
  CHECK(bench.sink.first(vm(1)).detail == "exit code 7: fine / no ?db");
  CHECK(bench.sink.first(vm(2)).outcome == kFailed);
  CHECK(contains(bench.sink.first(vm(2)).detail, "killed by signal 9"));
  CHECK(bench.sink.first(vm(3)).outcome == kFailed);
  CHECK(contains(bench.sink.first(vm(3)).detail, "not started: /nowhere/check"));
}

TEST_CASE("probes: a probe without a command fails, and is no reason to crash") {
  Bench bench;
  bench.start();
  Probe exec = probe(ProbeKind::exec);
  exec.name = "q";
  bench.prober->watch(watch_order(vm(1), 1, {probe(ProbeKind::script), exec}));
  CHECK(bench.sink.outcomes(vm(1), 2) == std::vector<CheckOutcome>{kFailed, kFailed});
  CHECK(bench.sink.first(vm(1)).detail == "the probe has no command");
}

TEST_CASE("probes: a script that hangs is killed with its children") {
  Folder folder;
  Bench bench;
  const auto told = bench.first_of(script_probe(
      "setsid sleep 1000 & echo $! $$ > " + folder.path + "/new; mv " + folder.path + "/new " +
          folder.path + "/$$; wait",
      1000ms));
  CHECK(told.outcome == kFailed);
  CHECK(told.detail == "not over within 1 s, and killed");
  bench.prober.reset();
  int scripts = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder.path)) {
    pid_t child = 0;
    pid_t script = 0;
    std::ifstream(file.path()) >> child >> script;
    if (file.path().filename() == "new") continue;
    ++scripts;
    CHECK(eventually([&] { return ::kill(child, 0) != 0 && ::kill(script, 0) != 0; }));
  }
  CHECK(scripts >= 1);
}

TEST_CASE("probes: a script's endless output is read and dropped") {
  Bench bench;
  const auto told = bench.first_of(script_probe("yes 'so much to say'", 500ms));
  CHECK(told.outcome == kFailed);
  CHECK(contains(told.detail, "killed"));
}

TEST_CASE("probes: too many scripts at a time are not run, and not told") {
  Bench bench;
  GuestProberOptions options = quick();
  options.scripts = 1;
  bench.start(options);
  bench.prober->watch(watch_order(vm(1), 1, {script_probe("sleep 1000", 600s)}));
  bench.prober->watch(watch_order(vm(2), 1, {script_probe("sleep 1000", 600s)}));
  REQUIRE(eventually([&] { return bench.prober->counts().inconclusive >= 3; }));
  CHECK(bench.sink.checked(vm(1)).empty());
  CHECK(bench.sink.checked(vm(2)).empty());
}

TEST_CASE("probes: a repair runs the policy's command in the guest") {
  GuestBench bench;
  bench.start();
  bench.prober->watch(repair_order());
  bench.prober->repair({vm(1), 3});  // an older watch: no answer
  bench.prober->repair({vm(2), 4});  // not watched: no answer
  bench.prober->repair({vm(1), 4});
  REQUIRE(eventually([&] { return !bench.sink.repaired().empty(); }));
  CHECK(bench.sink.repaired().front().ok);
  CHECK(bench.sink.repaired().front().watch == 4);
  CHECK(bench.look(&Guest::last).at("arguments").at("path") == "/bin/fix");
  bench.change_guest([](Guest& guest) { guest.end = R"("exitcode":1,"out-data":"bm8=")"; });
  bench.prober->repair({vm(1), 4});
  REQUIRE(eventually([&] { return bench.sink.repaired().size() == 2; }));
  CHECK_FALSE(bench.sink.repaired().back().ok);
  CHECK(bench.sink.repaired().back().detail == "exit code 1: no");
  CHECK(bench.look(&Guest::begun) == 2);
}

TEST_CASE("probes: a repair is answered once, at its timeout at the latest") {
  Bench bench;
  bench.agent.on_command = nullptr;  // nobody answers
  bench.start();
  bench.prober->watch(repair_order(100ms));
  bench.prober->repair({vm(1), 4});
  REQUIRE(eventually([&] { return !bench.sink.repaired().empty(); }));
  CHECK_FALSE(bench.sink.repaired().front().ok);
  CHECK(bench.sink.repaired().front().detail == "not over within 0.1 s");
  bench.agent.change([](FakeAgent& agent) {
    for (const auto& answer : agent.kept) answer();
  });
  WatchGuest bare = repair_order();
  bare.watch = 5;
  bare.policy.repair.clear();
  bench.prober->watch(bare);
  bench.prober->repair({vm(1), 5});
  REQUIRE(eventually([&] { return bench.sink.repaired().size() == 2; }));
  CHECK_FALSE(bench.sink.repaired().back().ok);
  CHECK(bench.sink.repaired().back().watch == 5);
}
