// A saved `status --json`: what was printed can be read, and whatever else stands there is told.
#include "clusterd/codec/json_status.h"

#include <catch2/catch.hpp>

#include "clusterd/codec/json_report.h"

namespace {

using namespace clusterd;

std::vector<std::string> problems(const std::string& text) {
  const auto read = read_status(text);
  std::vector<std::string> told;
  if (const auto* found = std::get_if<std::vector<StatusProblem>>(&read)) {
    for (const auto& problem : *found) told.push_back(problem.message);
  }
  return told;
}

StatusReport sample() {
  StatusReport report;
  NodeReport n1;
  n1.id = NodeId(7);
  n1.name = "n1";
  n1.state = "online";
  n1.role = NodeRole::backup;
  n1.declared = true;
  n1.capacity = {1ULL << 36, 32};
  n1.memory_total = (1ULL << 36) - 5;
  n1.memory_used = 77;
  n1.vcpus_total = 128;
  n1.vcpus_used = 9;
  report.nodes.push_back(n1);
  VmReport web;
  web.name = "web";
  web.uuid = "00000000-0000-4000-8000-000000000001";
  web.desired = DesiredState::stopped;
  web.declared = DesiredState::running;
  web.state = "stopping";
  web.node = "n1";
  web.health = "none";
  web.priority = 600;
  web.size = {1ULL << 32, 3};
  web.preemptible = true;
  report.vms.push_back(web);
  return report;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("json_status: what status prints is read again") {
  const StatusReport report = sample();
  const auto read = read_status(to_json(report));
  REQUIRE(std::holds_alternative<StatusReport>(read));
  const auto& again = std::get<StatusReport>(read);
  REQUIRE(again.nodes.size() == 1);
  CHECK(again.nodes[0].id == NodeId(7));
  CHECK(again.nodes[0].name == "n1");
  CHECK(again.nodes[0].state == "online");
  CHECK(again.nodes[0].role == NodeRole::backup);
  CHECK(again.nodes[0].declared);
  CHECK(again.nodes[0].capacity == report.nodes[0].capacity);
  CHECK(again.nodes[0].memory_total == report.nodes[0].memory_total);
  CHECK(again.nodes[0].vcpus_total == 128);
  REQUIRE(again.vms.size() == 1);
  CHECK(again.vms[0].name == "web");
  CHECK(again.vms[0].uuid == report.vms[0].uuid);
  CHECK(again.vms[0].desired == DesiredState::stopped);
  CHECK(again.vms[0].declared == DesiredState::running);
  CHECK(again.vms[0].state == "stopping");
  CHECK(again.vms[0].node == "n1");
  CHECK(again.vms[0].priority == 600);
  CHECK(again.vms[0].size == report.vms[0].size);
  CHECK(again.vms[0].preemptible);
  CHECK(to_json(again).find("\"capacity\":{") != std::string::npos);
}

TEST_CASE("json_status: the shape of the contract is enough") {
  const auto read = read_status(
      R"({"cluster": {"name": "prod"},
          "nodes": [{"name": "n1", "state": "online", "role": "worker", "memory_total": 68719476736,
                     "memory_used": 12884901888, "vcpus_total": 32, "vcpus_used": 6, "vms": 3}],
          "vms": [{"name": "web1", "desired": "running", "state": "running", "node": "n1",
                   "health": "healthy", "priority": 600, "reason": ""},
                  {"name": "web2", "desired": "running", "state": "waiting", "node": null}],
          "operations": []})");
  REQUIRE(std::holds_alternative<StatusReport>(read));
  const auto& status = std::get<StatusReport>(read);
  CHECK(status.nodes[0].declared);
  CHECK(status.vms[1].node.empty());
  CHECK_FALSE(status.vms[0].declared);
}

TEST_CASE("json_status: no JSON, or another one") {
  const auto read = read_status("{\"nodes\": [}");
  REQUIRE(std::holds_alternative<std::vector<StatusProblem>>(read));
  CHECK(std::get<std::vector<StatusProblem>>(read) ==
        std::vector<StatusProblem>{{11, "is no JSON from here on"}});
  CHECK(problems("") == Lines{"is no JSON from here on"});
  CHECK(problems("[1e999]") == Lines{"has a number that is too large"});
  CHECK(problems("[]").size() == 2);
  CHECK(problems("{\"nodes\": [], \"vms\": 3}") ==
        Lines{"has no list of vms: it must be what `clusterctl status --json` prints"});
}

TEST_CASE("json_status: every problem is told, with its path") {
  CHECK(problems(R"({"nodes": [{"name": "n1", "state": "online", "role": "boss"},
                               {"name": "n1", "state": 3, "memory_total": -1},
                               7],
                     "vms": [{"name": "", "desired": "running", "state": "running", "node": "n9"},
                             {"name": "a", "uuid": "x", "desired": "on", "vcpus": 1.5}]})") ==
        Lines{"nodes[0].role: must be worker or backup", "nodes[1].state: must be a text",
              "nodes[1].memory_total: must be a whole number up to 112589990684262400",
              "nodes[1].name: n1 stands here twice", "nodes[2]: must be an object",
              "vms[0].name: is empty", "vms[0].node: n9 is none of the nodes",
              "vms[1].uuid: is no UUID", "vms[1].desired: must be running, stopped or ignored",
              "vms[1].state: is missing", "vms[1].vcpus: must be a whole number up to 1048576"});
}
