#include "clusterd/engine/reserve.h"

#include <catch2/catch.hpp>

#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

Reserve reserve(const ClusterBuilder& cluster, const ReserveEffort& effort = {}) {
  const ClusterState state = cluster.build();
  return reserve_of(state, state.time, effort);
}

// Three hosts of 10 GiB; n1 runs what has to move when it is lost.
ClusterBuilder three(const std::vector<std::uint64_t>& n1, std::uint64_t n2, std::uint64_t n3) {
  ClusterBuilder cluster;
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name, {.memory = gib(10)});
  int number = 0;
  for (const std::uint64_t size : n1) {
    cluster.vm("v" + std::to_string(++number), {.on = "n1", .memory = gib(size), .vcpus = 1});
  }
  if (n2 != 0) cluster.vm("w2", {.on = "n2", .memory = gib(n2), .vcpus = 1});
  if (n3 != 0) cluster.vm("w3", {.on = "n3", .memory = gib(n3), .vcpus = 1});
  return cluster;
}

std::string remedy(const Reserve& reserve) {
  return reserve.remedy ? reserve.remedy->text : "";
}

}  // namespace

TEST_CASE("reserve: free 6 and 5 take 5, 3 and 3") {
  ClusterBuilder cluster;
  cluster.node("n1", {.memory = gib(11)}).node("n2", {.memory = gib(6)});
  cluster.node("n3", {.memory = gib(5)});
  cluster.vm("a", {.on = "n1", .memory = gib(5)}).vm("b", {.on = "n1", .memory = gib(3)});
  cluster.vm("c", {.on = "n1", .memory = gib(3)});
  CHECK(reserve(cluster).ok);
  cluster.declaration("b").domain.size.memory = gib(4);
  CHECK_FALSE(reserve(cluster).ok);
}

TEST_CASE("reserve: one large VM is no percentage") {
  // A third of everything is free, but nowhere in one piece.
  ClusterBuilder cluster;
  for (const char* name : {"n1", "n2", "n3", "n4"}) cluster.node(name, {.memory = gib(12)});
  cluster.vm("large", {.on = "n1", .memory = gib(8)});
  for (const char* node : {"n2", "n3", "n4"}) {
    for (int i = 0; i < 7; ++i) {
      cluster.vm(std::string(node) + std::to_string(i), {.on = node, .memory = gib(1)});
    }
  }
  const Reserve lost = reserve(cluster);
  CHECK(lost.tolerated == 0);
  REQUIRE(lost.blocking.size() == 1);
  CHECK(lost.blocking[0] == Blocking{{NodeId(1)}, cluster.vm_id("large")});
  CHECK(remedy(lost) == "3 GiB more on n2");
}

TEST_CASE("reserve: three that keep apart need three hosts that are left") {
  ClusterBuilder cluster;
  for (const char* name : {"n1", "n2", "n3", "n4"}) cluster.node(name);
  cluster.vm("a", {.on = "n1", .placement = {.away_from = {"b", "c"}}});
  cluster.vm("b", {.on = "n2", .placement = {.away_from = {"c"}}}).vm("c", {.on = "n3"});
  const Reserve held = reserve(cluster);
  CHECK(held.tolerated == 1);
  CHECK(held.ok);
  CHECK_FALSE(held.at_least);
  CHECK(held.blocking.size() == 6);
}

TEST_CASE("reserve: every host's failure counts, and whole groups") {
  ClusterBuilder cluster = three({2}, 4, 4);
  CHECK(reserve(cluster).tolerated == 2);
  cluster.vm("g1", {.on = "n2", .memory = gib(4), .placement = {.together_with = {"g2"}}});
  cluster.vm("g2", {.on = "n2", .memory = gib(2)});
  // 6 GiB in one piece, and 4 beside it.
  CHECK(reserve(cluster).ok);
  cluster.vm("x", {.on = "n3", .memory = gib(3)});
  const Reserve lost = reserve(cluster);
  REQUIRE(lost.blocking.size() == 1);
  CHECK(lost.blocking[0].down == std::vector<NodeId>{NodeId(2)});
  CHECK_FALSE(lost.ok);
}

TEST_CASE("reserve: preemptible VMs are room, and nobody's duty") {
  ClusterBuilder cluster = three({5}, 6, 6);
  CHECK_FALSE(reserve(cluster).ok);
  cluster.declaration("w2").policy.preemptible = true;
  CHECK(reserve(cluster).tolerated == 1);
  cluster.declaration("w3").policy.preemptible = true;
  CHECK(reserve(cluster).tolerated == 2);
}

TEST_CASE("reserve: a group with one guaranteed member is guaranteed") {
  ClusterBuilder cluster = three({5}, 6, 0);
  cluster.declaration("w2").policy.preemptible = true;
  cluster.vm("w4", {.on = "n2", .memory = gib(1), .placement = {.together_with = {"w2"}}});
  cluster.vm("w5", {.on = "n3", .memory = gib(6)});
  const Reserve lost = reserve(cluster);
  CHECK_FALSE(lost.ok);
  CHECK(lost.blocking.size() == 3);
}

TEST_CASE("reserve: an overfull host takes nothing, and loses nothing of what is there") {
  ClusterBuilder cluster = three({5, 6}, 0, 0);
  cluster.vm("u", {.on = "n2", .memory = gib(1)});
  const Reserve held = reserve(cluster);
  CHECK(held.ok);
  cluster.vm("u3", {.on = "n3", .memory = gib(6)});
  CHECK_FALSE(reserve(cluster).ok);
}

TEST_CASE("reserve: VMs count where the plan puts them; those without a place do not") {
  ClusterBuilder cluster = three({5}, 5, 0);
  CHECK(reserve(cluster).ok);
  cluster.vm("new", {.memory = gib(6)});  // has only n3
  CHECK_FALSE(reserve(cluster).ok);
  cluster.order("new", DesiredState::stopped);
  cluster.vm("larger", {.memory = gib(11)});  // has none
  CHECK(reserve(cluster).ok);
}

TEST_CASE("reserve: a VM of a lost host counts where it will be recovered") {
  ClusterBuilder cluster = three({3}, 3, 3);
  cluster.lose("n1");
  CHECK(reserve(cluster).ok);
  cluster.vm("w4", {.on = "n3", .memory = gib(3)});
  CHECK_FALSE(reserve(cluster).ok);
}

TEST_CASE("reserve: hosts in maintenance take nothing; one that settles will") {
  ClusterBuilder cluster = three({5}, 5, 0);
  cluster.node_state("n3").settle_until = cluster.state().time + Duration(5000);
  cluster.vm("w4", {.on = "n2", .memory = gib(3)});
  CHECK(reserve(cluster).ok);
  cluster.node_state("n3").maintenance = true;
  CHECK_FALSE(reserve(cluster).ok);
}

TEST_CASE("reserve: more than is required is told, and what is not tolerated beyond it") {
  ClusterBuilder cluster;
  for (int n = 1; n <= 5; ++n) cluster.node("n" + std::to_string(n), {.memory = gib(10)});
  for (int n = 1; n <= 5; ++n) {
    cluster.vm("v" + std::to_string(n), {.on = "n" + std::to_string(n), .memory = gib(5)});
  }
  const Reserve held = reserve(cluster);
  CHECK(held.tolerated == 2);
  CHECK(held.blocking.size() == kBlockingShown);
  CHECK_FALSE(held.remedy);
  cluster.settings([](ClusterSettings& s) { s.reserve_host_failures = 3; });
  CHECK_FALSE(reserve(cluster).ok);
}

TEST_CASE("reserve: no more hosts can be lost than there are") {
  CHECK(reserve(three({}, 0, 0)).tolerated == 3);
  ClusterBuilder one;
  one.node("n1").vm("v", {.on = "n1"});
  CHECK(reserve(one).tolerated == 0);
  CHECK(reserve(ClusterBuilder()).tolerated == 0);
}

TEST_CASE("reserve: what is not decided within the limit is unknown, and counts as no") {
  const ClusterBuilder cluster = three({5, 3}, 5, 5);
  CHECK(reserve(cluster).proof == Proof::exact);
  const Reserve unknown = reserve(cluster, {.all_steps = 0});
  CHECK(unknown.proof == Proof::unknown);
  CHECK_FALSE(unknown.ok);
  CHECK(unknown.at_least);
  CHECK_FALSE(unknown.remedy);
}

TEST_CASE("reserve: larger sets than required are many; then the number is a lower bound") {
  ClusterBuilder cluster;
  for (int n = 1; n <= 8; ++n) {
    cluster.node("n" + std::to_string(n));
    cluster.vm("v" + std::to_string(n), {.on = "n" + std::to_string(n)});
  }
  const Reserve some = reserve(cluster, {.beyond = 20});
  CHECK(some.tolerated == 1);
  CHECK(some.at_least);
  CHECK(some.ok);
  CHECK(some.proof == Proof::exact);
  CHECK(reserve(cluster).tolerated == 7);
}

TEST_CASE("reserve: the remedy is the least memory on one host, or a small VM moved") {
  ClusterBuilder cluster;
  cluster.node("n1", {.memory = gib(10)}).node("n2", {.memory = gib(10)});
  cluster.node("n3", {.memory = gib(10)});
  cluster.vm("db1", {.on = "n1", .memory = gib(7)}).vm("web1", {.on = "n2", .memory = gib(2)});
  cluster.vm("web2", {.on = "n2", .memory = gib(3)}).vm("web3", {.on = "n3", .memory = gib(4)});
  // Without n1, db1 needs 7 where 5 and 6 are free.
  const Reserve lost = reserve(cluster);
  CHECK(lost.blocking == std::vector<Blocking>{{{NodeId(1)}, cluster.vm_id("db1")}});
  CHECK(remedy(lost) == "1 GiB more on n3, or web1 moved from n2 to n1");
  cluster.settings([](ClusterSettings& s) { s.overcommit.memory = 500; });
  for (const char* name : {"n1", "n2", "n3"}) cluster.node_state(name).facts.total.memory = gib(20);
  CHECK(reserve(cluster).remedy->memory->bytes == gib(2));
}

TEST_CASE("reserve: there is no remedy where no memory and no move would do") {
  ClusterBuilder cluster = three({2}, 2, 2);
  cluster.declaration("v1").policy.placement->allow = {"n1"};
  const Reserve lost = reserve(cluster);
  CHECK_FALSE(lost.ok);
  CHECK_FALSE(lost.remedy);
}

TEST_CASE("reserve: a prover that has seen the state before answers alike") {
  ClusterBuilder cluster = three({2, 3}, 4, 4);
  ReserveProver prover;
  for (const char* node : {"n1", "n2", "n3", "n2", "n1"}) {
    cluster.vm_state("v1").holders.clear();
    cluster.run("v1", node);
    const ClusterState state = cluster.build();
    CHECK(prover.prove(state, state.time) == reserve_of(state, state.time));
  }
}
