// AgentFencer with the real fence_ipmilan against a real BMC: ipmi_sim on 127.0.0.1, whose power
// is a file that a script reads and writes.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <array>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "fencing/agent/agent_fencer.h"

using namespace clusterd;

namespace {

class Sink final : public EventSink {
 public:
  void post(Event event) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (auto* power = std::get_if<PowerOperationEnded>(&event)) ended_[power->op] = *power;
    if (auto* test = std::get_if<FenceTestEnded>(&event)) test_ = *test;
    changed_.notify_all();
  }
  PowerOperationEnded power(OpId op) {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return ended_.contains(op); }));
    return ended_[op];
  }
  FenceTestEnded test() {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return test_.has_value(); }));
    return *test_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<OpId, PowerOperationEnded> ended_;
  std::optional<FenceTestEnded> test_;
};

int free_udp_port() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

class Bmc {
 public:
  Bmc() : port(free_udp_port()) {
    std::string name = "/tmp/clusterd-ipmi-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name;
    write("power", "1\n");
    write("password", "s3cret-of-bmc\n");
    write("switch",
          "#!/bin/sh\ncd " + folder + "\nshift\n"
          "if [ -e slow ]; then sleep 60; fi\n"
          "case \"$1 $2\" in\n"
          "  'get power') echo \"power:$(cat power)\" ;;\n"
          "  'set power') echo \"$3\" > power; echo \"set $3\" >> orders ;;\n"
          "esac\n");
    std::filesystem::permissions(folder + "/switch", std::filesystem::perms::owner_all);
    write("lan.conf",
          "name \"n3\"\nset_working_mc 0x20\nstartlan 1\n  addr 127.0.0.1 " + std::to_string(port) +
              "\n  priv_limit admin\n  allowed_auths_callback none md2 md5 straight\n"
              "  allowed_auths_user none md2 md5 straight\n"
              "  allowed_auths_operator none md2 md5 straight\n"
              "  allowed_auths_admin none md2 md5 straight\n"
              "  guid a123456789abcdefa123456789abcdef\nendlan\n"
              "chassis_control \"" +
              folder +
              "/switch 0x20\"\n"
              "user 1 false \"\" \"test\" user 10 none md2 md5 straight\n"
              "user 2 true \"admin\" \"s3cret-of-bmc\" admin 10 none md2 md5 straight\n");
    write("emu.cmds", "mc_setbmc 0x20\n"
                      "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\n"
                      "mc_enable 0x20\n");
    std::filesystem::create_directory(folder + "/state");
    start();
  }
  ~Bmc() {
    stop();
    std::filesystem::remove_all(folder);
  }
  Bmc(const Bmc&) = delete;
  Bmc& operator=(const Bmc&) = delete;

  void start() {
    const std::string lan = folder + "/lan.conf";
    const std::string commands = folder + "/emu.cmds";
    const std::string state = folder + "/state";
    const std::string log = folder + "/log";
    std::array<const char*, 9> arguments{"ipmi_sim", "-c", lan.c_str(), "-f", commands.c_str(),
                                         "-s", state.c_str(), "-n", nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_CREAT | O_WRONLY | O_APPEND,
                                       0600);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
    REQUIRE(::posix_spawnp(&pid_, "ipmi_sim", &actions, &attributes,
                           const_cast<char**>(arguments.data()), environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  void stop() {
    if (pid_ <= 0) return;
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder + "/" + name) << text;
    REQUIRE(::chmod((folder + "/" + name).c_str(), 0600) == 0);
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream in(folder + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  [[nodiscard]] NamedDevice device(Duration timeout = Duration(20000)) const {
    FenceDevice device;
    device.agent = "fence_ipmilan";
    device.options = {{"ip", "127.0.0.1"}, {"ipport", std::to_string(port)}, {"username", "admin"},
                      {"lanplus", "1"},    {"cipher", "3"}};
    device.secrets = {{"password", folder + "/password"}};
    device.timeout = timeout;
    return {"bmc-n3", device};
  }
  // Processes that talk to this BMC or belong to an agent of ours, ipmi_sim excepted.
  [[nodiscard]] std::string leftovers() const {
    std::string found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != name.npos) continue;
      if (name == std::to_string(pid_)) continue;
      std::ifstream in(entry.path() / "cmdline", std::ios::binary);
      std::string line{std::istreambuf_iterator<char>(in), {}};
      for (char& c : line) c = c == '\0' ? ' ' : c;
      const bool talks = line.find("ipmitool") != line.npos &&
                         line.find("-p " + std::to_string(port)) != line.npos;
      std::ifstream status(entry.path() / "status");
      const std::string facts{std::istreambuf_iterator<char>(status), {}};
      const bool ours = line.find("fence_ipmilan") != line.npos &&
                        facts.find("PPid:\t" + std::to_string(::getpid()) + "\n") != facts.npos;
      if (talks || ours) found += line + "\n";
    }
    return found;
  }

  const int port;
  std::string folder;

 private:
  pid_t pid_ = -1;
};

struct Fixture {
  Bmc bmc;
  Sink sink;
  AgentFencer fencer{sink};
  std::uint64_t next = 1;
  double seconds = 0;

  PowerOperationEnded run(PowerOpKind kind, Duration timeout = Duration(20000)) {
    return run(kind, bmc.device(timeout));
  }
  PowerOperationEnded run(PowerOpKind kind, const NamedDevice& device) {
    const OpId op{Epoch(1), LogIndex(next++)};
    const auto begin = std::chrono::steady_clock::now();
    fencer.operate({op, kind, NodeId(3), "n3", {{device}}, 0});
    const auto ended = sink.power(op);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return ended;
  }
  void wait_until_it_answers() {
    for (int i = 0; i < 20; ++i) {
      if (run(PowerOpKind::read_power, Duration(3000)).outcome == Outcome::done) return;
    }
    FAIL("ipmi_sim does not answer: " << bmc.read("log"));
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "ipmi: a real BMC is read, fenced, verified off, and switched on again") {
  wait_until_it_answers();
  auto ended = run(PowerOpKind::read_power);
  CHECK(ended.outcome == Outcome::done);
  CHECK(ended.readings.at("bmc-n3") == Power::on);
  const double status = seconds;

  ended = run(PowerOpKind::fence);
  INFO(ended.detail);
  CHECK(ended.outcome == Outcome::done);
  CHECK(ended.readings.at("bmc-n3") == Power::off);
  CHECK(bmc.read("power") == "0\n");
  const double fence = seconds;

  ended = run(PowerOpKind::fence);
  CHECK(ended.outcome == Outcome::done);  // off already
  CHECK(bmc.read("orders") == "set 0\n");
  const double again = seconds;

  ended = run(PowerOpKind::power_on);
  INFO(ended.detail);
  CHECK(ended.outcome == Outcome::done);
  CHECK(bmc.read("power") == "1\n");
  CHECK(bmc.leftovers() == "");
  // Two seconds of a fence are the agent's default of power_wait.
  const double power_on = seconds;
  NamedDevice quick = bmc.device();
  quick.device.options["power_wait"] = "0";
  CHECK(run(PowerOpKind::fence, quick).outcome == Outcome::done);
  CHECK(seconds < fence);
  UNSCOPED_INFO("status " << status << " s, fence " << fence << " s, off already " << again
                          << " s, power on " << power_on << " s, fence without power_wait "
                          << seconds << " s");
  CHECK(fence < 20);
}

TEST_CASE_METHOD(Fixture, "ipmi: a stopped BMC is unknown, and no process is left behind") {
  wait_until_it_answers();
  bmc.stop();
  const auto ended = run(PowerOpKind::fence, Duration(2000));
  CHECK(ended.outcome == Outcome::unknown);
  CHECK(ended.readings.at("bmc-n3") == Power::unknown);
  CHECK(ended.detail.find("s3cret-of-bmc") == std::string::npos);
  CHECK(ended.detail.find("took longer than 2 s") != std::string::npos);
  for (int i = 0; i < 100 && !bmc.leftovers().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(bmc.leftovers() == "");
}

TEST_CASE_METHOD(Fixture, "ipmi: a cancelled fence of a slow BMC leaves no process behind") {
  wait_until_it_answers();
  bmc.write("slow", "");
  const OpId op{Epoch(1), LogIndex(1000)};
  fencer.operate({op, PowerOpKind::fence, NodeId(3), "n3", {{bmc.device()}}, 3});
  for (int i = 0; i < 1000 && bmc.leftovers().find("ipmitool") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  REQUIRE(bmc.leftovers().find("ipmitool") != std::string::npos);
  fencer.cancel(op);
  CHECK(sink.power(op).outcome == Outcome::unknown);
  for (int i = 0; i < 100 && !bmc.leftovers().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(bmc.leftovers() == "");
}

TEST_CASE_METHOD(Fixture, "ipmi: a wrong password is unknown, and is not told") {
  wait_until_it_answers();
  bmc.write("password", "another-s3cret\n");
  RunFenceTest test;
  test.nodes["n3"] = {{bmc.device(Duration(5000))}};
  fencer.test(test);
  const auto ended = sink.test();
  INFO(ended.json);
  CHECK_FALSE(ended.ok);
  CHECK(ended.json.find("s3cret") == std::string::npos);
  CHECK(bmc.read("orders").empty());
}
