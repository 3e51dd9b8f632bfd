// TCP, HTTP and heartbeat against servers on the loopback, and where the address comes from.
#include <stdlib.h>

#include "clusterd/base/text.h"
#include "tests/unit/resource-agents/probes/fake_guest.h"

using namespace clusterd;
using namespace clusterd::probe_test;

namespace {

constexpr auto kPassed = CheckOutcome::passed;
constexpr auto kFailed = CheckOutcome::failed;

std::string page(const std::string& status, const std::string& body, const std::string& more = "") {
  return "HTTP/1.1 " + status + "\r\n" + more + "Content-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

Server::Serve answers(const std::string& text) {
  return [text](int fd) {
    receive_request(fd);
    send_text(fd, text);
  };
}

Server::Serve says(const std::string& text) {
  return [text](int fd) { send_text(fd, text); };
}

// A port on which nobody listens.
std::uint16_t closed_port() { return Server(nullptr).port; }

// What a server that answers so makes of an HTTP probe.
GuestChecked http(const Server::Serve& serve, const std::string& body = "",
                  std::uint16_t expect = 200, Duration timeout = 10s) {
  Server server(serve);
  Bench bench;
  Probe asked = probe(ProbeKind::http, server.port, timeout);
  asked.path = "/health?deep=1";
  asked.body = body;
  asked.expect = expect;
  const auto told = bench.first_of(asked);
  INFO(told.detail);
  CHECK(told.detail.size() <= 200);
  CHECK(is_utf8(told.detail));
  CHECK_FALSE(has_control(told.detail));
  bench.prober.reset();
  CHECK(eventually([&] { return server.live == 0; }));  // no connection is left open
  return told;
}

}  // namespace

TEST_CASE("probes: tcp passes when somebody listens") {
  Server server(nullptr);
  Bench bench;
  CHECK(bench.first_of(probe(ProbeKind::tcp, server.port)).outcome == kPassed);
  REQUIRE(eventually([&] { return server.served >= 5; }));
  CHECK(bench.sink.checked(vm(1)).size() == 1);
}

TEST_CASE("probes: tcp closes what it opened") {
  Server server([](int fd) { wait_for_close(fd); });
  Bench bench;
  CHECK(bench.first_of(probe(ProbeKind::tcp, server.port)).outcome == kPassed);
  REQUIRE(eventually([&] { return server.served >= 10; }));
  bench.prober->unwatch({vm(1)});
  CHECK(eventually([&] { return server.live == 0; }));
}

TEST_CASE("probes: tcp fails when nobody listens") {
  Bench bench;
  const auto told = bench.first_of(probe(ProbeKind::tcp, closed_port()));
  CHECK(told.outcome == kFailed);
  CHECK(contains(told.detail, "refused"));
}

TEST_CASE("probes: tcp fails when nobody answers in time") {
  // A full queue drops what knocks.
  Listener listener(0);
  std::vector<int> guests;
  for (int i = 0; i < 4; ++i) {
    guests.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    ::connect(guests.back(), listener.any(), sizeof listener.address);
  }
  Bench bench;
  const auto told = bench.first_of(probe(ProbeKind::tcp, listener.port(), 200ms));
  CHECK(told.outcome == kFailed);
  CHECK(told.detail == "no answer within 0.2 s");
  for (const int fd : guests) ::close(fd);
  ::close(listener.socket);
}

TEST_CASE("probes: http asks for the path, directly, whatever proxies the environment names") {
  ::setenv("http_proxy", ("http://127.0.0.1:" + std::to_string(closed_port())).c_str(), 1);
  std::string request;
  const auto told = http([&](int fd) {
    const std::string got = receive_request(fd);
    if (request.empty()) request = got;
    send_text(fd, page("200 OK", "fine"));
  });
  ::unsetenv("http_proxy");
  CHECK(told.outcome == kPassed);
  CHECK(told.detail == "HTTP status 200");
  CHECK(contains(request, "GET /health?deep=1 HTTP/1.1\r\n"));
}

TEST_CASE("probes: http judges by status and text") {
  CHECK(http(answers(page("200 OK", "state: up")), "state: up").outcome == kPassed);
  const auto lacks = http(answers(page("200 OK", "state: down")), "state: up");
  CHECK(lacks.outcome == kFailed);
  CHECK(contains(lacks.detail, "lacks"));
  const auto status = http(answers(page("500 Broken", "state: up")), "state: up");
  CHECK(status.outcome == kFailed);
  CHECK(status.detail == "HTTP status 500, not 200");
  CHECK(http(answers(page("503 Busy", "")), "", 503).outcome == kPassed);
  CHECK(http(answers("HTTP/1.1 204 Empty\r\n\r\n"), "", 204).outcome == kPassed);
}

TEST_CASE("probes: http finds its text across packets") {
  const auto told = http(
      [](int fd) {
        receive_request(fd);
        send_text(fd, "HTTP/1.1 200 OK\r\n\r\n" + std::string(5000, 'x') + "stat");
        std::this_thread::sleep_for(50ms);
        send_text(fd, "e: up" + std::string(5000, 'x'));
      },
      "state: up");
  CHECK(told.outcome == kPassed);
}

TEST_CASE("probes: http follows no redirect") {
  const auto told = http([](int fd) {
    const std::string request = receive_request(fd);
    send_text(fd, contains(request, "/good") ? page("200 OK", "")
                                             : page("302 Found", "", "Location: /good\r\n"));
  });
  CHECK(told.outcome == kFailed);
  CHECK(told.detail == "HTTP status 302, not 200");
}

TEST_CASE("probes: http that never answers, or never ends, is a failure in time") {
  const auto mute = http([](int fd) { wait_for_close(fd); }, "", 200, 200ms);
  CHECK(mute.outcome == kFailed);
  CHECK(mute.detail == "no answer within 0.2 s");
  const auto dribbles = http(
      [](int fd) {
        receive_request(fd);
        send_text(fd, "HTTP/1.1 200 OK\r\n\r\n");
        while (send_text(fd, "x")) std::this_thread::sleep_for(10ms);
      },
      "state: up", 200, 300ms);
  CHECK(dribbles.detail == "no answer within 0.3 s");
}

TEST_CASE("probes: http pages and headers without an end are cut short") {
  const auto endless = [](const std::string& head, const std::string& more) {
    return [head, more](int fd) {
      receive_request(fd);
      bool listening = send_text(fd, head);
      while (listening) listening = send_text(fd, more);
    };
  };
  const std::string lines(4000, 'x');
  const auto pages = http(endless("HTTP/1.1 200 OK\r\n\r\n", lines), "state: up");
  CHECK(pages.outcome == kFailed);
  CHECK(contains(pages.detail, "lacks"));
  // Without a text the status is the whole answer.
  CHECK(http(endless("HTTP/1.1 200 OK\r\n\r\n", lines)).outcome == kPassed);
  const auto headers = http(endless("HTTP/1.1 200 OK\r\n", "A: " + lines + "\r\n"));
  CHECK(headers.outcome == kFailed);
  CHECK(contains(headers.detail, "no end"));
}

TEST_CASE("probes: what is no http is a failure with a clean detail") {
  CHECK(http(answers("\x01\xff\x1b[31m garbage\r\n\r\n")).outcome == kFailed);
  CHECK(http(answers("")).outcome == kFailed);
  CHECK(http(answers("HTTP/1.1 \xff\xfe\r\n\r\n")).outcome == kFailed);
}

TEST_CASE("probes: a heartbeat passes as long as it changes") {
  std::atomic<int> beat{0};
  std::atomic<bool> beating{true};
  Server server([&](int fd) {
    if (beating) ++beat;
    send_text(fd, "beat " + std::to_string(beat) + "\nand more");
    wait_for_close(fd);
  });
  Bench bench;
  CHECK(bench.first_of(probe(ProbeKind::heartbeat, server.port)).outcome == kPassed);
  REQUIRE(eventually([&] { return beat >= 10; }));
  CHECK(bench.sink.checked(vm(1)).size() == 1);
  beating = false;
  REQUIRE(eventually([&] { return bench.sink.checked(vm(1)).size() >= 3; }));
  const auto stands = bench.sink.checked(vm(1))[1];
  CHECK(stands.outcome == kFailed);
  CHECK(stands.detail == "the heartbeat stands still at \"beat " + std::to_string(beat) + "\"");
  beating = true;
  REQUIRE(eventually([&] { return bench.sink.checked(vm(1)).back().outcome == kPassed; }));
  bench.prober->unwatch({vm(1)});
  CHECK(eventually([&] { return server.live == 0; }));  // no connection is left open
}

TEST_CASE("probes: a heartbeat ends with its line, its connection or 256 bytes") {
  Server endless([](int fd) {
    while (send_text(fd, std::string(1000, '\xff'))) {
    }
  });
  Bench bench;
  CHECK(bench.first_of(probe(ProbeKind::heartbeat, endless.port)).outcome == kPassed);
  REQUIRE(eventually([&] { return bench.sink.checked(vm(1)).size() >= 2; }));
  const auto stands = bench.sink.checked(vm(1))[1];
  CHECK(stands.outcome == kFailed);
  CHECK(stands.detail.size() <= 200);
  CHECK(is_utf8(stands.detail));
}

TEST_CASE("probes: a heartbeat without a word is a failure") {
  Server mute([](int fd) { wait_for_close(fd); });
  Server rude(says(""));
  Server terse(says("7"));
  Bench bench;
  bench.start();
  bench.prober->watch(watch_order(vm(1), 1, {probe(ProbeKind::heartbeat, mute.port, 200ms)}));
  bench.prober->watch(watch_order(vm(2), 1, {probe(ProbeKind::heartbeat, rude.port)}));
  bench.prober->watch(watch_order(vm(3), 1, {probe(ProbeKind::heartbeat, terse.port)}));
  CHECK(bench.sink.first(vm(1)).detail == "no answer within 0.2 s");
  CHECK(bench.sink.first(vm(2)).detail == "it closed without a word");
  CHECK(bench.sink.first(vm(3)).outcome == kPassed);
}

TEST_CASE("probes: the agent is asked for the address once, and again after a failure") {
  Server server(nullptr);
  Bench bench;
  std::string address = "127.0.0.1";
  bench.agent.on_addresses = [&address](VmId) {
    return std::vector<std::string>{address, "192.0.2.1"};
  };
  bench.start();
  Probe other = probe(ProbeKind::tcp, server.port);
  other.name = "q";
  bench.prober->watch(watch_order(vm(1), 1, {probe(ProbeKind::tcp, server.port), other}, ""));
  CHECK(bench.sink.outcomes(vm(1), 2) == std::vector<CheckOutcome>{kPassed, kPassed});
  REQUIRE(eventually([&] { return server.served >= 10; }));
  CHECK(bench.agent.lookups == 1);
  // 127.0.0.2 is this machine as well, but nobody listens there.
  bench.agent.change([&](FakeAgent&) { address = "127.0.0.2"; });
  bench.prober->watch(watch_order(vm(1), 2, {probe(ProbeKind::tcp, server.port)}, ""));
  REQUIRE(eventually([&] { return bench.sink.checked(vm(1)).size() >= 5; }));
  CHECK(bench.sink.checked(vm(1))[3].outcome == kFailed);
  bench.agent.change([&](FakeAgent&) { address = "127.0.0.1"; });
  CHECK(eventually([&] { return bench.sink.checked(vm(1)).back().outcome == kPassed; }));
  CHECK(bench.agent.lookups >= 4);
}

TEST_CASE("probes: without an address a network check fails and says so") {
  Bench bench;
  bench.agent.on_addresses = [](VmId of) -> AgentAnswer<std::vector<std::string>> {
    if (of == vm(1)) return std::vector<std::string>{};
    if (of == vm(2)) return silent();
    return frozen();
  };
  bench.start();
  for (unsigned i = 1; i <= 3; ++i) {
    bench.prober->watch(watch_order(vm(i), 1, {probe(ProbeKind::tcp, closed_port())}, ""));
  }
  CHECK(bench.sink.first(vm(1)).outcome == kFailed);
  CHECK(contains(bench.sink.first(vm(1)).detail, "no address"));
  CHECK(bench.sink.first(vm(2)).outcome == kFailed);
  CHECK(contains(bench.sink.first(vm(2)).detail, "no address"));
  REQUIRE(eventually([&] { return bench.prober->counts().inconclusive >= 3; }));
  CHECK(bench.sink.checked(vm(3)).empty());
}

TEST_CASE("probes: a network that this host has not got says nothing of the guest") {
  Bench bench;
  bench.start();
  bench.prober->watch(watch_order(vm(1), 1, {probe(ProbeKind::tcp, 80)}, "nowhere.invalid"));
  REQUIRE(eventually([&] { return bench.prober->counts().inconclusive >= 2; }, 60s));
  CHECK(bench.sink.checked(vm(1)).empty());
}
