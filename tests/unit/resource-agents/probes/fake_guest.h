// What the tests of the prober share: an agent whose answers the test decides, a sink that can be
// waited on, and a server on the loopback.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "clusterd/ports/sink.h"
#include "resource-agents/libvirt/guest_agent.h"
#include "resource-agents/probes/guest_prober.h"

namespace clusterd::probe_test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

inline bool eventually(const std::function<bool()>& condition,
                       std::chrono::milliseconds patience = 20s) {
  const auto limit = Clock::now() + patience;
  while (!condition()) {
    if (Clock::now() > limit) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

inline VmId vm(unsigned n) {
  VmId id;
  id.uuid.bytes[14] = static_cast<std::uint8_t>(n >> 8);
  id.uuid.bytes[15] = static_cast<std::uint8_t>(n);
  return id;
}

// Collects what is told of guests.
class Sink final : public EventSink {
 public:
  std::function<void(const Event&)> on_post;  // set before the prober is made

  void post(Event event) override {
    if (on_post) on_post(event);
    const std::lock_guard lock(mutex_);
    if (const auto* checked = std::get_if<GuestChecked>(&event)) checked_.push_back(*checked);
    if (const auto* repaired = std::get_if<GuestRepaired>(&event)) repaired_.push_back(*repaired);
  }
  std::vector<GuestChecked> checked(VmId of) const {
    const std::lock_guard lock(mutex_);
    std::vector<GuestChecked> found;
    for (const auto& event : checked_) {
      if (event.vm == of) found.push_back(event);
    }
    return found;
  }
  std::vector<GuestRepaired> repaired() const {
    const std::lock_guard lock(mutex_);
    return repaired_;
  }
  // The first `count` outcomes of this VM, once they are there.
  std::vector<CheckOutcome> outcomes(VmId of, std::size_t count) const {
    REQUIRE(eventually([&] { return checked(of).size() >= count; }));
    std::vector<CheckOutcome> found;
    for (const auto& event : checked(of)) found.push_back(event.outcome);
    found.resize(count);
    return found;
  }
  // The first event of this VM.
  GuestChecked first(VmId of) const {
    REQUIRE(eventually([&] { return !checked(of).empty(); }));
    return checked(of).front();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<GuestChecked> checked_;
  std::vector<GuestRepaired> repaired_;
};

inline AgentFailure silent() { return {AgentFailure::Kind::silent, "agent not connected"}; }
inline AgentFailure frozen() { return {AgentFailure::Kind::frozen, "in frozen state"}; }
inline AgentFailure refused(const std::string& why) { return {AgentFailure::Kind::refused, why}; }
inline AgentFailure not_asked() { return {AgentFailure::Kind::not_asked, "libvirt is away"}; }

// Answers at once, on the thread that asks. Each function is called under the lock; without one the
// question is kept and never answered.
class FakeAgent final : public GuestAgent {
 public:
  std::function<AgentAnswer<AgentAlive>(VmId)> on_ping = [](VmId) { return AgentAlive{}; };
  std::function<AgentAnswer<std::string>(VmId, const nlohmann::json&)> on_command;
  std::function<AgentAnswer<std::vector<std::string>>(VmId)> on_addresses;
  std::function<AgentAnswer<GuestOutput>(VmId)> on_output = [](VmId) { return GuestOutput{}; };

  void ping(VmId of, Duration, Answered<AgentAlive> answered) override {
    const std::lock_guard lock(mutex);
    ++pings[of];
    if (on_ping) return answered(on_ping(of));
    kept.push_back([answered] { answered(silent()); });
  }
  void command(VmId of, std::string json, Duration, Answered<std::string> answered) override {
    const std::lock_guard lock(mutex);
    if (on_command) return answered(on_command(of, nlohmann::json::parse(json)));
    kept.push_back([answered] { answered(not_asked()); });
  }
  void addresses(VmId of, Duration,
                 Answered<std::vector<std::string>> answered) override {
    const std::lock_guard lock(mutex);
    ++lookups;
    if (on_addresses) return answered(on_addresses(of));
    kept.push_back([answered] { answered(silent()); });
  }
  void output(VmId of, Answered<GuestOutput> answered) override {
    const std::lock_guard lock(mutex);
    answered(on_output(of));
  }

  int pinged(VmId of) {
    const std::lock_guard lock(mutex);
    return pings[of];
  }
  // Changes the functions while the prober runs.
  void change(const std::function<void(FakeAgent&)>& how) {
    const std::lock_guard lock(mutex);
    how(*this);
  }

  std::mutex mutex;
  std::map<VmId, int> pings;
  std::atomic<int> lookups{0};
  std::vector<std::function<void()>> kept;
};

// A socket that listens on a port of 127.0.0.1, and which.
struct Listener {
  int socket = -1;
  sockaddr_in address{};

  explicit Listener(int backlog) : socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(socket, any(), size) == 0);
    REQUIRE(::getsockname(socket, any(), &size) == 0);
    REQUIRE(::listen(socket, backlog) == 0);
  }
  [[nodiscard]] sockaddr* any() { return reinterpret_cast<sockaddr*>(&address); }
  [[nodiscard]] std::uint16_t port() const { return ntohs(address.sin_port); }
};

// Listens on 127.0.0.1 and serves each connection on a thread of its own.
class Server {
 public:
  using Serve = std::function<void(int fd)>;

  explicit Server(Serve serve) : serve_(std::move(serve)) {
    const Listener listener(4096);
    listener_ = listener.socket;
    port = listener.port();
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~Server() {
    closing_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (auto& thread : threads_) thread.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port = 0;
  std::atomic<int> served{0};  // connections, so far
  std::atomic<int> live{0};    // of them still being served

 private:
  void accept_all() {
    while (!closing_) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      ++served;
      if (!serve_) {
        ::close(fd);
        continue;
      }
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      ++live;
      threads_.emplace_back([this, fd] {
        serve_(fd);
        const std::lock_guard own(mutex_);
        std::erase(open_, fd);
        ::close(fd);
        --live;
      });
    }
  }

  Serve serve_;
  int listener_ = -1;
  std::atomic<bool> closing_{false};
  std::thread acceptor_;
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
};

// False once the other side has gone.
inline bool send_text(int fd, const std::string& text) {
  return ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}
// To the end of an HTTP request.
inline std::string receive_request(int fd) {
  std::string request;
  char buffer[1024];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) break;
    request.append(buffer, static_cast<std::size_t>(got));
  }
  return request;
}
// Until the other side closes.
inline void wait_for_close(int fd) {
  char buffer[1024];
  while (::recv(fd, buffer, sizeof buffer, 0) > 0) {
  }
}

inline GuestProberOptions quick(Duration late_after = 20s) {
  GuestProberOptions options;
  // Machines that run tests stall: only tests about that want to hear of it.
  options.late_after = late_after;
  options.first_pause = 5ms;
  options.longest_pause = 20ms;
  return options;
}

inline Probe probe(ProbeKind kind, std::uint16_t port = 0, Duration timeout = 10s) {
  Probe probe;
  probe.name = "p";
  probe.kind = kind;
  probe.port = port;
  probe.interval = 20ms;
  probe.timeout = timeout;
  return probe;
}

inline WatchGuest watch_order(VmId of, std::uint64_t number, std::vector<Probe> probes,
                              const std::string& address = "127.0.0.1") {
  WatchGuest order;
  order.vm = of;
  order.name = "web";
  order.watch = number;
  order.policy.probes = std::move(probes);
  order.policy.address = address;
  return order;
}

inline WatchGuest agent_order(VmId of, std::uint64_t number = 1, Duration interval = 20ms) {
  WatchGuest order = watch_order(of, number, {});
  order.policy.guest_agent = GuestAgentCheck{interval, 1s, 3, false};
  return order;
}

// One prober with one guest, asked by one probe or by what `order` says.
struct Bench {
  FakeAgent agent;
  Sink sink;
  std::unique_ptr<GuestProber> prober;

  void start(GuestProberOptions options = quick()) {
    prober = std::make_unique<GuestProber>(options, agent, sink);
  }
  GuestChecked first_of(const Probe& asked) {
    if (!prober) start();
    prober->watch(watch_order(vm(1), 1, {asked}));
    return sink.first(vm(1));
  }
};

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace clusterd::probe_test

namespace Catch {
template <>
struct StringMaker<clusterd::CheckOutcome> {
  static std::string convert(clusterd::CheckOutcome outcome) {
    switch (outcome) {
      case clusterd::CheckOutcome::passed:
        return "passed";
      case clusterd::CheckOutcome::failed:
        return "failed";
      case clusterd::CheckOutcome::busy:
        return "busy";
    }
    return "?";
  }
};
}  // namespace Catch
