// AgentFencer with agents that hang, lie, crash, chatter and breed: unknown is the answer, nothing
// is left behind, nothing secret is told.
#include <dirent.h>

#include <catch2/catch.hpp>

#include "fencing/agent/agent_fencer.h"
#include "tests/unit/fencing/agent/fake_agents.h"

using namespace clusterd;
using namespace clusterd::fence_test;

namespace {

// The threads of this process, by id.
std::set<std::string> threads() {
  std::set<std::string> found;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    found.insert(task.path().filename());
  }
  return found;
}

struct Fixture {
  const std::set<std::string> other_threads = threads();  // a sanitizer has one of its own
  FakeAgents agents;
  PowerSink sink;
  std::unique_ptr<AgentFencer> fencer =
      std::make_unique<AgentFencer>(sink, AgentFencerOptions{agents.folder, Duration(10)});

  std::uint64_t readings = 0;

  PowerOperationEnded run(const DispatchPower& what) {
    fencer->operate(what);
    return sink.power(what.op.index.value);
  }
  std::vector<pid_t> pids(std::size_t count) {
    std::vector<pid_t> found;
    REQUIRE(eventually([&] {
      found.clear();
      std::istringstream in(agents.read("pids"));
      for (pid_t pid = 0; in >> pid;) found.push_back(pid);
      return found.size() >= count;
    }));
    return found;
  }
};

// Leaves behind: a child in its group, a grandchild, and a child in a session of its own.
const char* const kBreeder = R"(
sleep 300 & echo $! >> pids
(sleep 300 & echo $! >> pids; wait) &
echo $! >> pids
setsid bash -c 'echo $$ >> pids; exec sleep 300' &
echo $$ >> pids
)";

Power reading(Fixture& fixture, const std::string& body) {
  fixture.agents.agent("fence_odd", body);
  const auto ended =
      fixture.run(order(PowerOpKind::read_power, {{device("bmc", "fence_odd")}},
                        ++fixture.readings));
  CHECK((ended.outcome == Outcome::done) == (ended.readings.at("bmc") != Power::unknown));
  return ended.readings.at("bmc");
}

}  // namespace

TEST_CASE_METHOD(Fixture, "fencer: a timeout kills the agent with all its descendants") {
  agents.agent("fence_breed",
               "[ $action = status ] && exit 1\n" + std::string(kBreeder) + "wait");
  const auto ended =
      run(order(PowerOpKind::fence, {{device("bmc", "fence_breed", Duration(3500))}}, 1, 3));
  CHECK(ended.outcome == Outcome::unknown);
  CHECK(ended.readings.at("bmc") == Power::unknown);
  CHECK(ended.detail.find("took longer than 3.5 s and was killed") != std::string::npos);
  for (const pid_t pid : pids(5)) {
    INFO(pid);
    CHECK(eventually([pid] { return !alive(pid); }));
  }
  CHECK(agents.count("off bmc") == 1);     // a timeout is not retried
  CHECK(agents.count("status bmc") == 4);  // but on the last level its power is looked at
}

TEST_CASE_METHOD(Fixture, "fencer: what an agent leaves in its group goes when it ends") {
  agents.agent("fence_litter", "sleep 300 & echo $! >> pids\ngood");
  CHECK(run(order(PowerOpKind::fence, {{device("bmc", "fence_litter")}})).outcome == Outcome::done);
  for (const pid_t pid : pids(2)) CHECK(eventually([pid] { return !alive(pid); }));
}

TEST_CASE_METHOD(Fixture, "fencer: cancel kills, answers unknown, and nothing more is spawned") {
  agents.agent("fence_breed", std::string(kBreeder) + "wait");
  agents.agent("fence_good", "good");
  const DispatchPower what = order(
      PowerOpKind::fence, {{device("bmc", "fence_breed")}, {device("pdu", "fence_good")}}, 1, 5);
  fencer->operate(what);
  const auto bred = pids(5);
  fencer->cancel(what.op);
  const auto ended = sink.power();
  CHECK(ended.outcome == Outcome::unknown);
  CHECK(ended.detail == "cancelled");
  for (const pid_t pid : bred) CHECK(eventually([pid] { return !alive(pid); }));
  fencer->cancel(what.op);  // no effect any more
  fencer->cancel(OpId{Epoch(9), LogIndex(9)});
  // Another operation passes through the same worker: whatever stood before it has been done.
  CHECK(run(order(PowerOpKind::read_power, {{device("other", "fence_good")}}, 2)).outcome ==
        Outcome::done);
  CHECK(agents.count("off bmc") == 1);
  CHECK(agents.count("off pdu") == 0);
  CHECK(sink.count() == 2);
}

TEST_CASE_METHOD(Fixture, "fencer: cancel also reaches an operation between two attempts") {
  agents.agent("fence_fail", "exit 1");
  fencer = std::make_unique<AgentFencer>(sink, AgentFencerOptions{agents.folder, Duration(60000)});
  const DispatchPower what = order(PowerOpKind::fence, {{device("bmc", "fence_fail")}}, 1, 5);
  fencer->operate(what);
  REQUIRE(eventually([&] { return agents.count("end off bmc") == 1; }));
  fencer->cancel(what.op);
  CHECK(sink.power().outcome == Outcome::unknown);
  CHECK(agents.count("off bmc") == 1);
}

TEST_CASE_METHOD(Fixture, "fencer: its end kills what runs") {
  agents.agent("fence_breed", std::string(kBreeder) + "wait");
  fencer->operate(order(PowerOpKind::fence, {{device("bmc", "fence_breed")}}));
  const auto bred = pids(5);
  fencer.reset();
  for (const pid_t pid : bred) CHECK(eventually([pid] { return !alive(pid); }));
  CHECK(sink.count() == 0);
}

TEST_CASE_METHOD(Fixture, "fencer: a status that is not clear is unknown, never off") {
  CHECK(reading(*this, "echo Status: OFF; exit 2") == Power::off);
  CHECK(reading(*this, "echo Status: ON; exit 0") == Power::on);
}

TEST_CASE_METHOD(Fixture, "fencer: garbage is unknown") {
  const char* body = GENERATE("exit 1", "echo Status: OFF; exit 1", "echo Status: OFF; exit 3",
                              "exit 127", "head -c 300000 /dev/urandom; exit 1");
  CHECK(reading(*this, body) == Power::unknown);
}

TEST_CASE_METHOD(Fixture, "fencer: a crash is unknown, also with off on its lips") {
  const char* body = GENERATE("echo Status: OFF; kill -SEGV $$", "kill -KILL $$", "kill -TERM $$");
  CHECK(reading(*this, body) == Power::unknown);
}

// python3 says exit code 2 when it cannot open its script, a shell for a syntax error.
TEST_CASE_METHOD(Fixture, "fencer: exit code 2 of an interpreter's own error is not off") {
  const char* body = GENERATE("exit 2", "echo official offline offset >&2; exit 2",
                              "exec python3 /no/such/agent.py", "exec bash -c 'if'");
  CHECK(reading(*this, body) == Power::unknown);
}

TEST_CASE_METHOD(Fixture, "fencer: an agent that is no program is not started") {
  std::ofstream(agents.folder + "/fence_text") << "#!/no/such/interpreter\n";
  REQUIRE(::chmod((agents.folder + "/fence_text").c_str(), 0755) == 0);
  const auto ended = run(order(PowerOpKind::fence, {{device("bmc", "fence_text")}}));
  CHECK(ended.outcome == Outcome::failed_without_effect);
}

TEST_CASE_METHOD(Fixture, "fencer: an agent may close its input unread, and print without end") {
  agents.agent("fence_good", "good");
  std::ofstream(agents.folder + "/fence_rude")
      << "#!/bin/bash\nexec 0<&-\nhead -c 5000000 /dev/zero | tr '\\0' 'x'\necho Status: OFF\nexit "
         "2\n";
  REQUIRE(::chmod((agents.folder + "/fence_rude").c_str(), 0755) == 0);
  const auto ended = run(order(PowerOpKind::read_power, {{device("bmc", "fence_rude")}}));
  CHECK(ended.readings.at("bmc") == Power::off);
}

TEST_CASE_METHOD(Fixture, "fencer: a secret that the agent echoes is hidden") {
  agents.agent("fence_echo", "cat input input >&2; exit 1");
  NamedDevice bmc = device("bmc", "fence_echo");
  bmc.device.options["username"] = "admin";
  bmc.device.secrets["password"] = agents.secret("password", "tops3cret\n");
  const auto ended = run(order(PowerOpKind::read_power, {{bmc}}));
  INFO(ended.detail);
  CHECK(agents.read("input").find("password=tops3cret\n") != std::string::npos);
  CHECK(ended.detail.find("tops3cret") == std::string::npos);
  CHECK(ended.detail.find("password=[hidden]") != std::string::npos);
  CHECK(ended.detail.find("username=admin") != std::string::npos);

  RunFenceTest test;
  test.nodes["n1"] = {{bmc}};
  fencer->test(test);
  const std::string json = sink.test().json;
  CHECK(json.find("tops3cret") == std::string::npos);
  CHECK(json.find("[hidden]") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "fencer: an agent gets no descriptor, signal mask or variable of ours") {
  ::setenv("CLUSTERD_TEST_VARIABLE", "x", 1);
  agents.agent("fence_look", R"(
ls -l /proc/self/fd > fds
grep -E 'SigBlk|SigIgn' /proc/self/status > masks
env > variables
ps -o pid=,pgid=,sid= -p $$ > ids
echo $$ > me
good)");
  const int leaked = ::dup(1);  // without close-on-exec, as a library might
  CHECK(run(order(PowerOpKind::read_power, {{device("bmc", "fence_look")}})).outcome ==
        Outcome::done);
  ::close(leaked);
  ::unsetenv("CLUSTERD_TEST_VARIABLE");
  std::istringstream fds(agents.read("fds"));
  std::size_t open = 0;
  for (std::string line; std::getline(fds, line);) {
    if (line.find(" -> ") != line.npos) ++open;
  }
  CHECK(open == 4);  // three, and the folder that ls reads
  // The two lowest real-time signals are glibc's own; it ignores them on the way to the program.
  std::istringstream masks(agents.read("masks"));
  std::size_t checked = 0;
  for (std::string name, mask; masks >> name >> mask; ++checked) {
    CHECK((std::stoull(mask, nullptr, 16) & 0x7fffffff) == 0);
  }
  CHECK(checked == 2);
  CHECK(agents.read("variables").find("CLUSTERD_TEST_VARIABLE") == std::string::npos);
  int pid = 0;
  int group = 0;
  int session = 0;
  std::istringstream(agents.read("ids")) >> pid >> group >> session;
  CHECK(pid == group);
  CHECK(pid == session);
}

TEST_CASE_METHOD(Fixture, "fencer: at idle nothing runs and nothing wakes up") {
  agents.agent("fence_good", "good");
  CHECK(run(order(PowerOpKind::read_power, {{device("bmc", "fence_good")}})).outcome ==
        Outcome::done);
  const auto switches = [this] {
    std::size_t sum = 0;
    for (const std::string& thread : threads()) {
      if (other_threads.contains(thread)) continue;
      std::ifstream status("/proc/self/task/" + thread + "/status");
      for (std::string line; std::getline(status, line);) {
        if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stoul(line.substr(24));
      }
    }
    return sum;
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const std::size_t before = switches();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  CHECK(switches() - before <= 1);
}
