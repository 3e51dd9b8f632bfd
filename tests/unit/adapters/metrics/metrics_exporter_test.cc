// MetricsExporter through a real HTTP GET, judged by promtool.
#include "clusterd/adapters/metrics/metrics_exporter.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <array>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

using namespace clusterd;

namespace {

std::unique_ptr<MetricsExporter> exporter() {
  auto opened = MetricsExporter::open("127.0.0.1:0", "0.1.0-test");
  REQUIRE(opened.ok());
  return std::move(opened).value();
}

int connected(const MetricsExporter& metrics) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(fd >= 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(metrics.port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

// A connection that has asked for the page.
int asking(const MetricsExporter& metrics) {
  const int fd = connected(metrics);
  const std::string request = "GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n";
  REQUIRE(::write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size()));
  return fd;
}

std::string scrape(const MetricsExporter& metrics) {
  const int fd = asking(metrics);
  std::string answer;
  std::array<char, 65536> buffer{};
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(fd);
  REQUIRE(answer.find("200 OK") != answer.npos);
  return answer.substr(answer.find("\r\n\r\n") + 4);
}

bool has(const std::string& page, const std::string& line) {
  return ("\n" + page).find("\n" + line + "\n") != std::string::npos;
}

// What promtool complains about; empty: nothing.
std::string promtool(const std::string& page) {
  std::string file = "/tmp/clusterd-metrics-XXXXXX";
  const int fd = ::mkstemp(file.data());
  REQUIRE(fd >= 0);
  REQUIRE(::write(fd, page.data(), page.size()) == static_cast<ssize_t>(page.size()));
  ::close(fd);
  FILE* pipe = ::popen(("promtool check metrics < " + file + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string complaints;
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) complaints += buffer.data();
  const int status = ::pclose(pipe);
  ::unlink(file.c_str());
  if (status != 0 && complaints.empty()) complaints = "promtool failed";
  return complaints;
}

MetricsSnapshot snapshot() {
  MetricsSnapshot now;
  now.quorate = true;
  now.synced = true;
  now.epoch = 12;
  now.reserve = MetricsSnapshot::Reserve{1, 2};
  now.nodes = {{"n1", "online"}, {"n2", "unmanaged"}};
  now.vms = {{"web1", "running", "healthy", Duration(8500)}, {"db1", "waiting", "none", {}}};
  return now;
}

// With every metric on it.
std::string full_page(MetricsExporter& metrics) {
  metrics.publish(snapshot());
  metrics.count_fence("n1", "bmc-n1", Outcome::done);
  metrics.count_restart("web1", Cause::host_lost);
  metrics.count_rejected("n2", "malformed");
  metrics.count_libvirt_call("virDomainCreateXML");
  metrics.count_guest_check("failed");
  metrics.observe_failover("last_active", Duration(4200));
  return scrape(metrics);
}

// "NAME TYPE" of all metrics on a page, the web server's own aside.
std::set<std::string> families(const std::string& page) {
  std::set<std::string> found;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE clusterd_", 0) == 0) found.insert(line.substr(7));
  }
  return found;
}

// The same of the tables in docs/metrics.md: "| `NAME` | TYPE | ...".
std::set<std::string> documented() {
  std::set<std::string> found;
  std::ifstream lines(CLUSTERD_SOURCE_DIR "/docs/metrics.md");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("| `clusterd_", 0) != 0) continue;
    const auto name_end = line.find('`', 3);
    const auto type = name_end + 4;
    found.insert(line.substr(3, name_end - 3) + " " +
                 line.substr(type, line.find(' ', type) - type));
  }
  return found;
}

}  // namespace

TEST_CASE("metrics: docs/metrics.md names every metric with its type, and no other") {
  const auto metrics = exporter();
  const auto shown = families(full_page(*metrics));
  CHECK(shown.size() > 15);
  CHECK(documented() == shown);
}

TEST_CASE("metrics: a real scrape with everything in it passes promtool") {
  const auto metrics = exporter();
  const std::string page = full_page(*metrics);
  INFO(page);
  CHECK(promtool(page) == "");
  for (const char* line : {
           "clusterd_build_info{version=\"0.1.0-test\"} 1",
           "clusterd_quorate 1",
           "clusterd_synced 1",
           "clusterd_armed 1",
           "clusterd_epoch 12",
           "clusterd_reserve_required_failures 1",
           "clusterd_reserve_tolerated_failures 2",
           "clusterd_node_state{node=\"n1\",state=\"online\"} 1",
           "clusterd_node_state{node=\"n1\",state=\"lost\"} 0",
           "clusterd_unmanaged_nodes 1",
           "clusterd_vm_state{vm=\"web1\",state=\"running\"} 1",
           "clusterd_vm_health{vm=\"web1\",health=\"healthy\"} 1",
           "clusterd_vms{state=\"waiting\"} 1",
           "clusterd_vms{state=\"unknown\"} 0",
           "clusterd_rto_predicted_seconds{vm=\"web1\"} 8.5",
           "clusterd_fence_total{node=\"n1\",device=\"bmc-n1\",outcome=\"done\"} 1",
           "clusterd_vm_restarts_total{vm=\"web1\",cause=\"host_lost\"} 1",
           "clusterd_rejected_messages_total{source=\"n2\",reason=\"malformed\"} 1",
           "clusterd_libvirt_calls_total{call=\"virDomainCreateXML\"} 1",
           "clusterd_guest_checks_total{outcome=\"failed\"} 1",
           "clusterd_failover_duration_seconds_bucket{phase=\"last_active\",le=\"3\"} 0",
           "clusterd_failover_duration_seconds_bucket{phase=\"last_active\",le=\"5\"} 1",
           "clusterd_failover_duration_seconds_sum{phase=\"last_active\"} 4.2",
       }) {
    INFO(line);
    CHECK(has(page, line));
  }
}

TEST_CASE("metrics: promtool as used here does find fault with a bad page") {
  CHECK(promtool("clusterd_fence 1\n# TYPE clusterd_x counter\nclusterd_x 1\n") != "");
}

TEST_CASE("metrics: what is removed or changed leaves no ghost behind") {
  const auto metrics = exporter();
  metrics->publish(snapshot());
  metrics->count_restart("web1", Cause::desired);
  metrics->count_restart("db1", Cause::desired);
  metrics->count_fence("n2", "bmc-n2", Outcome::unknown);
  MetricsSnapshot later = snapshot();
  later.vms.erase(later.vms.begin());
  later.vms[0].state = "running";
  later.nodes.pop_back();
  later.reserve.reset();
  metrics->publish(later);
  const std::string page = scrape(*metrics);
  CHECK(page.find("web1") == page.npos);
  CHECK(page.find("n2") == page.npos);
  CHECK(page.find("reserve") == page.npos);
  CHECK(page.find("vm=\"db1\",state=\"waiting\"") == page.npos);
  CHECK(has(page, "clusterd_vm_state{vm=\"db1\",state=\"running\"} 1"));
  CHECK(has(page, "clusterd_vm_restarts_total{vm=\"db1\",cause=\"desired\"} 1"));
}

TEST_CASE("metrics: before the first snapshot a scrape is valid and claims no quorum") {
  const auto metrics = exporter();
  CHECK(has(scrape(*metrics), "clusterd_quorate 0"));
}

TEST_CASE("metrics: labels that are no UTF-8 or need escaping do not spoil the scrape") {
  const auto metrics = exporter();
  MetricsSnapshot now;
  now.vms = {{"a\"b\\c\nd", "running", "none", {}},
             {std::string("\xff\xc0\x80z\xed\xa0\x80"), "running", "none", {}},
             {"gr\xc3\xbc\xc3\x9f", "running", "none", {}}};
  metrics->publish(now);
  const std::string page = scrape(*metrics);
  INFO(page);
  CHECK(has(page, "clusterd_vm_state{vm=\"a\\\"b\\\\c?d\",state=\"running\"} 1"));
  CHECK(has(page, "clusterd_vm_state{vm=\"???z???\",state=\"running\"} 1"));
  CHECK(has(page, "clusterd_vm_state{vm=\"gr\xc3\xbc\xc3\x9f\",state=\"running\"} 1"));
}

TEST_CASE("metrics: a peer that sends garbage cannot make series without end") {
  const auto metrics = exporter();
  for (int i = 0; i < 5000; ++i) metrics->count_rejected("n1", "reason " + std::to_string(i));
  const std::string page = scrape(*metrics);
  CHECK(has(page, "clusterd_rejected_messages_total{source=\"other\",reason=\"other\"} 4800"));
}

TEST_CASE("metrics: scrapes beside publishing see one snapshot, never a mixture") {
  const auto metrics = exporter();
  std::thread writer([&] {
    for (std::uint64_t i = 1; i <= 300; ++i) {
      MetricsSnapshot now;
      now.epoch = now.alarms = i;
      metrics->publish(now);
    }
  });
  for (int i = 0; i < 20; ++i) {
    const std::string page = scrape(*metrics);
    const auto value = [&](const std::string& name) {
      const auto at = page.find("\n" + name + " ");
      return std::stoi(page.substr(at + name.size() + 2));
    };
    CHECK(value("clusterd_epoch") == value("clusterd_alarms"));
  }
  writer.join();
}

TEST_CASE("metrics: an address that is taken is an error, not an exception") {
  const auto first = exporter();
  const auto second =
      MetricsExporter::open("127.0.0.1:" + std::to_string(first->port()), "test");
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().message.find("127.0.0.1") != std::string::npos);
}

TEST_CASE("metrics: 4000 VMs are scraped whole") {
  const auto metrics = exporter();
  MetricsSnapshot now;
  for (int i = 0; i < 4000; ++i) {
    now.vms.push_back({"vm" + std::to_string(i), "running", "healthy", Duration(9000)});
  }
  metrics->publish(std::move(now));
  const auto begin = std::chrono::steady_clock::now();
  const std::string page = scrape(*metrics);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  CHECK(has(page, "clusterd_vms{state=\"running\"} 4000"));
  INFO("4000 VMs: " << page.size() << " bytes in " << took.count() << " ms");
  CHECK(page.size() < 2000000);
}

TEST_CASE("metrics: clients that go away in the middle, or never ask, keep nobody from scraping") {
  const auto metrics = exporter();
  MetricsSnapshot now = snapshot();
  for (int i = 0; i < 4000; ++i) {
    now.vms.push_back({"vm" + std::to_string(i), "running", "healthy", Duration(9000)});
  }
  metrics->publish(std::move(now));
  std::vector<int> silent;
  SECTION("go away") {
    for (int i = 0; i < 40; ++i) {
      const int fd = asking(*metrics);
      const linger reset{1, 0};
      REQUIRE(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
      ::close(fd);
    }
  }
  SECTION("never ask") {
    for (int i = 0; i < 8; ++i) silent.push_back(connected(*metrics));
  }
  CHECK(has(scrape(*metrics), "clusterd_vms{state=\"running\"} 4001"));
  for (const int fd : silent) ::close(fd);
}
