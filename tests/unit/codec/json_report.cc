// The shapes that docs/api.md names: what it says is there is there, and nothing else.
#include "clusterd/codec/json_report.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace {

using namespace clusterd;
using Json = nlohmann::ordered_json;

// The keys of an object and of the objects below it, as docs/api.md writes a shape.
std::string shape(const Json& json) {
  if (json.is_array()) return "[" + (json.empty() ? "" : shape(json[0])) + "]";
  if (!json.is_object()) return "";
  std::string text;
  for (const auto& [key, value] : json.items()) {
    const std::string below = shape(value);
    text += (text.empty() ? "\"" : ", \"") + key + "\"" + (below.empty() ? "" : ": " + below);
  }
  return "{" + text + "}";
}

// A documented shape, without the line breaks and the examples of values.
bool documented(const std::string& wanted) {
  std::ifstream in(CLUSTERD_SOURCE_DIR "/docs/api.md");
  std::stringstream all;
  all << in.rdbuf();
  std::string flat;
  for (const char c : all.str()) {
    if (c != '\n') flat += c;
    if (c == '\n' && !flat.empty() && flat.back() != ' ') flat += ' ';
    while (flat.size() > 1 && flat.back() == ' ' && flat[flat.size() - 2] == ' ') flat.pop_back();
  }
  INFO("docs/api.md should have: " << wanted);
  return flat.find(wanted) != std::string::npos;
}

ReserveReport some_reserve() {
  return {1, 0, false, false, "exact", {{{"n3"}, "big"}}, "give n2 4 GiB more"};
}

}  // namespace

TEST_CASE("json: a status has the shape of docs/api.md") {
  StatusReport report;
  report.reserve = some_reserve();
  report.nodes.resize(1);
  report.nodes[0].capacity = {1, 1};
  report.nodes[0].fence_devices.push_back({"bmc", Power::on, true});
  report.vms.resize(1);
  report.operations.resize(1);
  const Json json = Json::parse(to_json(report));
  CHECK(documented(shape(json.at("cluster").at("reserve"))));
  CHECK(documented(shape(json.at("nodes"))));
  CHECK(documented(shape(json.at("vms"))));
  CHECK(documented(shape(json.at("operations"))));
}

TEST_CASE("json: a reserve that nobody knows is null") {
  CHECK(Json::parse(to_json(StatusReport{})).at("cluster").at("reserve").is_null());
}

TEST_CASE("json: a forecast has the shape of docs/api.md, which is the contract's") {
  ForecastReport report;
  report.feasible = false;
  report.actions = {{"web1", "start", "n1", "n4"}, {"ci7", "preempt", "n4", ""}};
  report.assumed = {{"web1", "n1"}};
  report.unplaced = {{"big", true, "", {{"n2", "memory: needs 32 GiB, 20 GiB free"}}}};
  report.degraded = {"n4"};
  report.reserve = some_reserve();
  const std::string text = to_json(report);
  const Json json = Json::parse(text);
  CHECK(documented(shape(json.at("actions"))));
  CHECK(documented(shape(json.at("unplaced"))));
  CHECK(text ==
        R"({"feasible":false,)"
        R"("actions":[{"vm":"web1","action":"start","from":"n1","to":"n4"},)"
        R"({"vm":"ci7","action":"preempt","from":"n4","to":null}],)"
        R"("unplaced":[{"vm":"big","guaranteed":true,"reason":null,)"
        R"("reasons":[{"node":"n2","reason":"memory: needs 32 GiB, 20 GiB free"}]}],)"
        R"("degraded":["n4"],"assumed":[{"vm":"web1","node":"n1"}],)"
        R"("reserve":{"required":1,"tolerated":0,"at_least":false,"ok":false,"proof":"exact",)"
        R"("blocking":[{"down":["n3"],"vm":"big"}],"remedy":"give n2 4 GiB more"},)"
        R"("reserve_before":null})");
}
