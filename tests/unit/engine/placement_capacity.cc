#include <catch2/catch.hpp>
#include <limits>

#include "clusterd/engine/capacity.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

constexpr NodeId kN1{1};
constexpr NodeId kN2{2};

}  // namespace

TEST_CASE("capacity: the declared capacity wins over the reported, less what the host keeps") {
  ClusterBuilder cluster = ClusterBuilder().node("n1");
  CHECK(Capacity(cluster.state()).of(kN1).memory == gib(64));
  cluster.node_declaration("n1").host_reserved = {gib(4), 2};
  CHECK(Capacity(cluster.state()).of(kN1).memory == gib(60));
  cluster.node_declaration("n1").capacity = Resources{gib(10), 8};
  CHECK(Capacity(cluster.state()).of(kN1).memory == gib(6));
  CHECK(Capacity(cluster.state()).of(kN1).vcpus == 24);
  cluster.node_declaration("n1").host_reserved = {gib(11), 9};
  CHECK(Capacity(cluster.state()).of(kN1).memory == 0);
  CHECK(Capacity(cluster.state()).of(kN1).vcpus == 0);
}

TEST_CASE("capacity: overcommit is applied in thousandths and never wraps") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = 1001, .vcpus = 3});
  cluster.settings([](ClusterSettings& s) { s.overcommit = {1500, 333, 1000}; });
  CHECK(Capacity(cluster.state()).of(kN1).memory == 1501);
  CHECK(Capacity(cluster.state()).of(kN1).vcpus == 0);
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  cluster.node_state("n1").facts.total.memory = kMost;
  CHECK(Capacity(cluster.state()).of(kN1).memory == kMost);
}

TEST_CASE("capacity: a VM counts on every holder, and not on boots proven dead") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").vm("a", {.on = "n1"});
  cluster.run("a", "n2");
  CHECK(Capacity(cluster.state()).of(kN1).memory_free() == gib(60));
  CHECK(Capacity(cluster.state()).of(kN2).memory_free() == gib(60));
  NodeState& node = cluster.node_state("n1");
  node.dead[node.boot] = {};
  CHECK(Capacity(cluster.state()).of(kN1).memory_free() == gib(64));
  CHECK(capacity_of(cluster.state(), kN1) == Capacity(cluster.state()).of(kN1));
  CHECK(capacity_of(cluster.state(), kN2) == Capacity(cluster.state()).of(kN2));
}

TEST_CASE("capacity: two boots of one node hold the memory once, while one is not proven dead") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").vm("a", {.on = "n1"});
  const Host older{kN1, BootId{numbered_uuid(5, 1)}};
  cluster.vm_state("a").holders[older] = {};
  CHECK(Capacity(cluster.state()).of(kN1).memory_free() == gib(60));
  NodeState& node = cluster.node_state("n1");
  node.dead[node.boot] = {};
  CHECK(Capacity(cluster.state()).of(kN1).memory_free() == gib(60));
  node.dead[older.boot] = {};
  CHECK(Capacity(cluster.state()).of(kN1).memory_free() == gib(64));
}

TEST_CASE("capacity: an overfull node has nothing free, and a deleted VM still counts") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = gib(3)}).vm("a", {.on = "n1"});
  cluster.vm_state("a").tombstone = true;
  CHECK(Capacity(cluster.state()).of(kN1).memory_free() == 0);
}

TEST_CASE("capacity: reserving is seen at once, and unknown nodes offer nothing") {
  ClusterBuilder cluster = ClusterBuilder().node("n1");
  Capacity capacity(cluster.state());
  capacity.reserve({gib(1), 1}, kN1);
  capacity.reserve({gib(1), 1}, kN2);
  CHECK(capacity.of(kN1).memory_free() == gib(63));
  CHECK(capacity.of(kN2).memory_free() == 0);
}
