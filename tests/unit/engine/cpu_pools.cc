#include "clusterd/engine/cpu_pools.h"

#include <catch2/catch.hpp>

#include "clusterd/engine/report.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

void set_cpu(ClusterBuilder& cluster, const std::string& node, const std::string& vendor,
             const std::string& model, const std::string& features) {
  HostFacts& facts = cluster.node_state(node).facts;
  facts.cpu_vendor = vendor;
  facts.cpu_model = model;
  facts.cpu_features = digest_of(features);
}

std::vector<std::vector<NodeId>> nodes_of(const std::vector<CpuPool>& pools) {
  std::vector<std::vector<NodeId>> nodes;
  for (const CpuPool& pool : pools) nodes.push_back(pool.nodes);
  return nodes;
}

using Nodes = std::vector<std::vector<NodeId>>;

}  // namespace

TEST_CASE("cpu pools: hosts of one pool agree in vendor, model and every feature") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").node("n3").node("n4").node("n5");
  set_cpu(cluster, "n1", "AMD", "EPYC-Rome", "a");
  set_cpu(cluster, "n2", "AMD", "EPYC-Milan", "a");
  set_cpu(cluster, "n3", "AMD", "EPYC-Rome", "a");
  set_cpu(cluster, "n4", "AMD", "EPYC-Rome", "b");
  set_cpu(cluster, "n5", "Hygon", "EPYC-Rome", "a");
  CHECK(nodes_of(cpu_pools(cluster.state())) ==
        Nodes{{NodeId(1), NodeId(3)}, {NodeId(2)}, {NodeId(4)}, {NodeId(5)}});
}

TEST_CASE("cpu pools: a host that tells no host-model is in none, whatever else it tells") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2");
  CHECK(cpu_pools(cluster.state()).empty());
  set_cpu(cluster, "n1", "AMD", "EPYC", "a");
  cluster.node_state("n2").facts.cpu_model = "EPYC";
  CHECK(nodes_of(cpu_pools(cluster.state())) == Nodes{{NodeId(1)}});
  set_cpu(cluster, "n2", "AMD", "", "a");
  CHECK(nodes_of(cpu_pools(cluster.state())) == Nodes{{NodeId(1)}});
}

TEST_CASE("cpu pools: a pool is named by its CPU, and keeps its name as hosts come and go") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2");
  set_cpu(cluster, "n2", "AMD", "EPYC", "a");
  const std::vector<CpuPool> before = cpu_pools(cluster.state());
  REQUIRE(before.size() == 1);
  CHECK(before.front().name == "EPYC-af63dc");  // FNV-1a of "a" is af63dc4c8601ec8c
  set_cpu(cluster, "n1", "AMD", "EPYC", "a");
  cluster.lose("n2");
  const std::vector<CpuPool> after = cpu_pools(cluster.state());
  REQUIRE(after.size() == 1);
  CHECK(after.front().name == before.front().name);
  CHECK(after.front().nodes.size() == 2);
}

TEST_CASE("cpu pools: the status shows each host's, and nothing where it is not known") {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").node("n3");
  set_cpu(cluster, "n1", "AMD", "EPYC", "a");
  set_cpu(cluster, "n3", "AMD", "EPYC", "a");
  cluster.state().config.nodes.erase("n3");  // also of a node that is not declared
  const StatusReport status = report_status(cluster.state(), LocalView{}, cluster.state().time);
  CHECK(status.nodes.at(0).cpu_pool == "EPYC-af63dc");
  CHECK(status.nodes.at(0).cpu_model == "EPYC");
  CHECK(status.nodes.at(0).cpu_vendor == "AMD");
  CHECK(status.nodes.at(1).cpu_pool.empty());
  CHECK(status.nodes.at(2).cpu_pool == "EPYC-af63dc");
}
