// A cluster out of files and a saved status.
#include "clusterd/engine/offline.h"

#include <catch2/catch.hpp>

#include "clusterd/engine/constraints.h"
#include "clusterd/engine/queries.h"
#include "clusterd/engine/report.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

Configuration two_nodes() {
  Configuration config;
  for (const char* name : {"n1", "n2"}) config.nodes[name].capacity = Resources{gib(64), 32};
  VmDeclaration& web = config.vms["web"];
  web.policy.memory = gib(4);
  return config;
}

StatusReport saved_of(const ClusterState& state) {
  LocalView local;
  local.active = local.quorate = true;
  return report_status(state, local, state.time);
}

std::vector<std::string> errors(const OfflineState& offline) {
  std::vector<std::string> found;
  for (const Finding& finding : offline.findings) {
    if (finding.severity == Severity::error) found.push_back(finding.path + ": " + finding.message);
  }
  return found;
}

std::vector<std::string> warnings(const OfflineState& offline) {
  std::vector<std::string> found;
  for (const Finding& finding : offline.findings) {
    if (finding.severity == Severity::warning) found.push_back(finding.path);
  }
  return found;
}

const VmState& vm_of(const OfflineState& offline, const std::string& name) {
  return offline.state.vms.at(offline.state.config.vms.at(name).domain.uuid);
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("offline: without a status every node is online, and nothing runs") {
  const OfflineState offline = offline_state(two_nodes(), nullptr);
  CHECK(errors(offline).empty());
  REQUIRE(offline.state.nodes.size() == 2);
  for (const auto& [id, node] : offline.state.nodes) {
    CHECK_FALSE(node_exclusion(offline.state, id, offline.state.time));
  }
  const VmState& web = vm_of(offline, "web");
  CHECK(should_run(web));
  CHECK(web.holders.empty());
  CHECK(web.size == Resources{gib(4), 1});
}

TEST_CASE("offline: a VM without XML has a UUID of its own, always the same") {
  Configuration config = two_nodes();
  config.vms["web2"] = config.vms["web"];
  const OfflineState offline = offline_state(config, nullptr);
  CHECK(offline.state.vms.size() == 2);
  CHECK(offline_state(config, nullptr).state == offline.state);
}

TEST_CASE("offline: what has no size, and what has no capacity") {
  Configuration config = two_nodes();
  config.vms["web"].policy.memory.reset();
  config.nodes["n2"].capacity.reset();
  const Lines found = errors(offline_state(config, nullptr));
  REQUIRE(found.size() == 2);
  CHECK(found[0].rfind("nodes.n2: its capacity is not known", 0) == 0);
  CHECK(found[1] == "vms.web: has neither a domain nor memory: its size is not known");
}

TEST_CASE("offline: a size may come from the profile") {
  Configuration config = two_nodes();
  config.profiles["small"].memory = gib(1);
  config.vms["web"].policy.memory.reset();
  config.vms["web"].profile = "small";
  CHECK(errors(offline_state(config, nullptr)).empty());
}

TEST_CASE("offline: a cluster that is saved and read again stands as it stood") {
  ClusterBuilder cluster;
  cluster.node("n1").node("n2").node("n3").backup("n4").node("n5");
  cluster.vm("a", {.on = "n1"}).vm("b", {.on = "n2", .memory = gib(7)}).vm("c").vm("d");
  cluster.order("d", DesiredState::stopped);
  cluster.vm_state("c").guest_off = true;
  cluster.lose("n2").prove_dead("n5");
  cluster.node_state("n3").maintenance = true;
  const ClusterState state = cluster.build();
  Configuration files = state.config;
  for (auto& [name, vm] : files.vms) {  // as inline sizes say it
    vm.policy.memory = vm.domain.size.memory;
    vm.policy.vcpus = vm.domain.size.vcpus;
    vm.domain = {};
  }
  const StatusReport saved = saved_of(state);
  const OfflineState offline = offline_state(files, &saved);
  CHECK(errors(offline).empty());
  CHECK(warnings(offline).empty());
  const StatusReport again = saved_of(offline.state);
  REQUIRE(again.nodes.size() == saved.nodes.size());
  for (std::size_t i = 0; i < saved.nodes.size(); ++i) {
    CAPTURE(saved.nodes[i].name);
    CHECK(again.nodes[i].id == saved.nodes[i].id);
    CHECK(again.nodes[i].state == saved.nodes[i].state);
    CHECK(again.nodes[i].role == saved.nodes[i].role);
    CHECK(again.nodes[i].capacity == saved.nodes[i].capacity);
    CHECK(again.nodes[i].memory_total == saved.nodes[i].memory_total);
    CHECK(again.nodes[i].memory_used == saved.nodes[i].memory_used);
  }
  for (std::size_t i = 0; i < saved.vms.size(); ++i) {
    CAPTURE(saved.vms[i].name);
    CHECK(again.vms[i].uuid == saved.vms[i].uuid);
    CHECK(again.vms[i].state == saved.vms[i].state);
    CHECK(again.vms[i].desired == saved.vms[i].desired);
    CHECK(again.vms[i].node == saved.vms[i].node);
    CHECK(again.vms[i].size == saved.vms[i].size);
  }
}

TEST_CASE("offline: every word that status has for a node leads back to it") {
  ClusterBuilder cluster;
  cluster.node("n1").node("n2");
  const ClusterState state = cluster.build();
  for (const char* word :
       {"online", "joining", "maintenance", "unmanaged", "lost", "dead", "left", "condemned"}) {
    CAPTURE(word);
    StatusReport saved = saved_of(state);
    saved.nodes[1].state = word;
    CHECK(saved_of(offline_state(state.config, &saved).state).nodes[1].state == word);
  }
}

TEST_CASE("offline: an order stands until the file's own word changes") {
  ClusterBuilder cluster;
  cluster.node("n1").vm("web").order("web", DesiredState::stopped);
  const ClusterState state = cluster.build();
  const StatusReport saved = saved_of(state);
  CHECK_FALSE(should_run(vm_of(offline_state(state.config, &saved), "web")));
  Configuration files = state.config;
  files.vms["web"].policy.state = DesiredState::running;  // what it was already
  CHECK_FALSE(should_run(vm_of(offline_state(files, &saved), "web")));
  StatusReport other = saved;
  other.vms[0].declared = DesiredState::stopped;
  CHECK(should_run(vm_of(offline_state(files, &other), "web")));
}

TEST_CASE("offline: what only the status knows counts, and is told") {
  ClusterBuilder cluster;
  cluster.node("n1").backup("n2").vm("web", {.on = "n1", .memory = gib(9)});
  const StatusReport saved = saved_of(cluster.build());
  const OfflineState offline = offline_state(Configuration{}, &saved);
  CHECK(errors(offline).empty());
  CHECK(warnings(offline) == Lines{"nodes", "vms"});
  CHECK(capacity_of(offline.state, cluster.node_id("n1")).memory_used == gib(9));
  CHECK(offline.state.config.nodes.at("n2").role == NodeRole::backup);
}

TEST_CASE("offline: a node that the status does not know counts as new, and is told") {
  ClusterBuilder cluster;
  cluster.node("n1");
  const ClusterState state = cluster.build();
  const StatusReport saved = saved_of(state);
  Configuration files = state.config;
  files.nodes["n2"].capacity = Resources{gib(64), 32};
  const OfflineState offline = offline_state(files, &saved);
  CHECK(errors(offline).empty());
  CHECK(warnings(offline) == Lines{"nodes.n2"});
  CHECK(offline.state.view.members.size() == 2);
}

TEST_CASE("offline: without the host's own capacity what VMs may have leads back to it") {
  Configuration files;
  files.cluster.overcommit.memory = 1300;
  files.nodes["n1"].host_reserved = {gib(2), 1};
  files.vms["web"].policy.memory = gib(1);
  StatusReport saved;
  saved.nodes.resize(1);
  NodeReport& node = saved.nodes[0];
  node.name = "n1";
  node.state = "online";
  node.declared = true;
  node.memory_total = 71'234'567'891;
  node.vcpus_total = 124;
  const OfflineState offline = offline_state(files, &saved);
  CHECK(errors(offline).empty());
  const NodeCapacity room = capacity_of(offline.state, offline.state.nodes.begin()->first);
  CHECK(room.memory == 71'234'567'891);
  CHECK(room.vcpus == 124);
}
