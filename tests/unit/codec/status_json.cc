// docs/api.md against what is printed: a key that stands in only one of them is a mistake.
#include <catch2/catch.hpp>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "clusterd/codec/json_report.h"
#include "clusterd/engine/report.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

// The example of this heading: from the line "```" to the next one.
std::string example(const std::string& heading) {
  std::ifstream in(CLUSTERD_SOURCE_DIR "/docs/api.md");
  const std::string manual{std::istreambuf_iterator<char>(in), {}};
  const auto begin = manual.find("```", manual.find("## `" + heading + "`"));
  REQUIRE(begin != std::string::npos);
  return manual.substr(begin, manual.find("```", begin + 3) - begin);
}

void check_keys(const nlohmann::json& json, const std::string& manual) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      CAPTURE(key);
      CHECK(manual.find("\"" + key + "\"") != std::string::npos);
      check_keys(value, manual);
    }
  } else if (json.is_array()) {
    for (const auto& value : json) check_keys(value, manual);
  }
}

nlohmann::json status() {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").vm("a", {.on = "n1"});
  cluster.state().config.fence_devices["bmc"].agent = "fence_x";
  cluster.node_declaration("n1").fencing = {{"bmc"}};
  HostFacts& facts = cluster.node_state("n1").facts;
  facts.cpu_vendor = "AMD";
  facts.cpu_model = "EPYC";
  facts.cpu_features = digest_of("a");
  cluster.vm_state("a").operation = VmOperation{};
  cluster.vm_state("a").operation->executor = cluster.host("n1");
  return nlohmann::json::parse(
      to_json(report_status(cluster.state(), LocalView{}, cluster.state().time)));
}

}  // namespace

TEST_CASE("status json: every key stands in docs/api.md") {
  check_keys(status(), example("status --json"));
}

TEST_CASE("status json: a node tells its CPU, and null for a pool that is not known") {
  const nlohmann::json nodes = status().at("nodes");
  CHECK(nodes.at(0).at("cpu_vendor") == "AMD");
  CHECK(nodes.at(0).at("cpu_model") == "EPYC");
  CHECK(nodes.at(0).at("cpu_pool") == "EPYC-af63dc");
  CHECK(nodes.at(1).at("cpu_pool").is_null());
}
