// R29: a replica that differs from the others finds out, stops, and starts over with their state.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/sim/cluster.h"

using namespace clusterd;
using namespace clusterd::sim;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

std::string reason_of_vm1(SimCluster& cluster, std::uint32_t node) {
  return cluster.node(node).state().vms.begin()->second.failures.reason;
}

// Enough entries for the next common position.
void pass_time(SimCluster& cluster) {
  for (int i = 0; i < 80; ++i) {
    ApplyConfiguration apply;
    apply.base = cluster.node(2).state().config.version;
    cluster.ask(NodeId(2), apply);
  }
}

bool was_set_aside(const ClusterState& state, NodeId node) {
  return std::any_of(state.history.begin(), state.history.end(), [&](const auto& event) {
    return event.second.kind == EventKind::node_demoted && event.second.node == node;
  });
}

}  // namespace

TEST_CASE("divergence: the one that differs starts over, be it the coordinator or not") {
  const std::uint32_t odd = GENERATE(1U, 3U);
  SimOptions options;
  options.nodes = 3;
  options.vms = 2;
  SimCluster cluster(options);
  REQUIRE(cluster.found().empty());
  REQUIRE(cluster.settle(minutes(2)));
  cluster.node(odd).flip_bit();
  REQUIRE(reason_of_vm1(cluster, odd) != reason_of_vm1(cluster, 2));
  pass_time(cluster);
  REQUIRE(cluster.run_until([&] { return !cluster.node(odd).flipped(); }, minutes(1)));
  REQUIRE(cluster.settle(minutes(2)));
  CHECK_FALSE(cluster.violated());
  CHECK(reason_of_vm1(cluster, odd) == reason_of_vm1(cluster, 2));
  CHECK(was_set_aside(cluster.node(2).state(), NodeId(odd)));
  CHECK(cluster.all_run());
}

TEST_CASE("divergence: of two, the second one starts over") {
  SimOptions options;
  options.nodes = 2;
  options.backups = 0;
  options.vms = 2;
  SimCluster cluster(options);
  REQUIRE(cluster.found().empty());
  REQUIRE(cluster.settle(minutes(2)));
  cluster.node(2).flip_bit();
  pass_time(cluster);
  REQUIRE(cluster.run_until([&] { return !cluster.node(2).flipped(); }, minutes(1)));
  REQUIRE(cluster.settle(minutes(3)));
  CHECK_FALSE(cluster.violated());
  CHECK(reason_of_vm1(cluster, 1) == reason_of_vm1(cluster, 2));
}
