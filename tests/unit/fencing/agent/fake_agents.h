// What the tests of the fencer share: real executable agents made of a few lines of shell, in a
// folder of their own, and a sink that can be waited on.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "clusterd/model/effect.h"
#include "clusterd/ports/sink.h"

namespace clusterd::fence_test {

inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 4000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

class FakeAgents {
 public:
  FakeAgents() {
    std::string name = "/tmp/clusterd-fence-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name;
  }
  ~FakeAgents() { std::filesystem::remove_all(folder); }
  FakeAgents(const FakeAgents&) = delete;
  FakeAgents& operator=(const FakeAgents&) = delete;

  // An agent that reads its options into $action and $dev, notes "action dev" in `calls` when it
  // begins and "end action dev" when its body has ended, and runs the body in its folder. The
  // bodies may use `state`, a file with on or off for each device, through `tell` and `set`.
  void agent(const std::string& name, const std::string& body) {
    const std::string path = folder + "/" + name;
    std::ofstream(path) << "#!/bin/bash\ncd " << folder << "\n" << R"sh(
while IFS= read -r line; do
  case "$line" in
    action=*) action=${line#action=} ;;
    dev=*) dev=${line#dev=} ;;
  esac
  printf '%s\n' "$line" >> input
done
tell() {
  case "$(cat state.$dev 2>/dev/null || echo on)" in
    on) echo "Status: ON"; return 0 ;;
    off) echo "Status: OFF"; return 2 ;;
  esac
}
set_state() { echo "$1" > state.$dev; }
good() { if [ $action = status ]; then tell; else set_state $action; fi; }
echo "$action $dev" >> calls
trap 'echo "end $action $dev" >> calls' EXIT
)sh" << body << "\n";
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
  }

  std::string secret(const std::string& name, const std::string& value, mode_t mode = 0600) {
    const std::string path = folder + "/" + name;
    std::ofstream(path) << value;
    REQUIRE(::chmod(path.c_str(), mode) == 0);
    return path;
  }

  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream in(folder + "/" + name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  [[nodiscard]] std::vector<std::string> calls() const {
    std::vector<std::string> lines;
    std::istringstream in(read("calls"));
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  [[nodiscard]] std::size_t count(const std::string& call) const {
    const auto all = calls();
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), call));
  }
  void state(const std::string& device, const std::string& power) const {
    std::ofstream(folder + "/state." + device) << power << "\n";
  }

  std::string folder;
};

inline NamedDevice device(const std::string& name, const std::string& agent,
                          Duration timeout = Duration(10000)) {
  return {name, FenceDevice{agent, {{"dev", name}}, {}, timeout}};
}

inline DispatchPower order(PowerOpKind kind, std::vector<std::vector<NamedDevice>> levels,
                           std::uint64_t op = 1, std::uint32_t retries = 0) {
  return {OpId{Epoch(1), LogIndex(op)}, kind, NodeId(3), "n3", std::move(levels), retries};
}

inline bool alive(pid_t pid) {
  if (::kill(pid, 0) != 0) return false;
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(stat), {}};
  return text.find(") Z ") == text.npos;
}

class PowerSink final : public EventSink {
 public:
  void post(Event event) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  PowerOperationEnded power(std::uint64_t op = 1) {
    return wait<PowerOperationEnded>(
        [&](const PowerOperationEnded& e) { return e.op.index == LogIndex(op); });
  }
  FenceTestEnded test() {
    return wait<FenceTestEnded>([](const FenceTestEnded&) { return true; });
  }
  std::size_t count() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return events_.size();
  }

 private:
  template <class T>
  T wait(const std::function<bool(const T&)>& wanted) {
    std::unique_lock<std::mutex> lock(mutex_);
    T found;
    const bool came = changed_.wait_for(lock, std::chrono::seconds(30), [&] {
      for (const Event& event : events_) {
        const T* one = std::get_if<T>(&event);
        if (one == nullptr || !wanted(*one)) continue;
        found = *one;
        return true;
      }
      return false;
    });
    REQUIRE(came);
    return found;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> events_;
};

}  // namespace clusterd::fence_test
