// The reserve that status and metrics show: as reserve_of() says, and anew only after a change.
#include "clusterd/runtime/reserve_watch.h"

#include <catch2/catch.hpp>

#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

ClusterBuilder two_hosts() {
  ClusterBuilder cluster;
  cluster.node("n1", {.memory = gib(8)}).node("n2", {.memory = gib(8)});
  cluster.vm("a", {.on = "n1", .memory = gib(4)});
  return cluster;
}

void change(ClusterBuilder& cluster) {
  cluster.state().position.index = cluster.state().position.index.next();
  cluster.state().config.version = cluster.state().config.version.next();
}

}  // namespace

TEST_CASE("reserve watch: it says what reserve_of says") {
  ClusterBuilder cluster = two_hosts();
  ReserveWatch watch;
  const auto look = [&] { return watch.look(cluster.state(), cluster.state().time); };
  const auto proven = [&] { return reserve_of(cluster.state(), cluster.state().time); };
  REQUIRE(look());
  CHECK(look()->ok);
  CHECK(*look() == proven());
  cluster.vm("b", {.on = "n2", .memory = gib(5)});
  change(cluster);
  CHECK_FALSE(look()->ok);
  CHECK(*look() == proven());
}

TEST_CASE("reserve watch: what has not changed is not proven again") {
  ClusterBuilder cluster = two_hosts();
  ReserveWatch watch;
  CHECK(watch.look(cluster.state(), cluster.state().time)->ok);
  cluster.vm("b", {.on = "n2", .memory = gib(5)});  // without a log entry: that never happens
  CHECK(watch.look(cluster.state(), cluster.state().time)->ok);
}

TEST_CASE("reserve watch: before the founding nothing is known") {
  ReserveWatch watch;
  CHECK_FALSE(watch.look(ClusterState{}, ClusterTime{}));
}
