// What operators are told of random states: nothing that they could act on wrongly.
//
// They start by hand what is said to be stopped, and pull the cord of what is said to be dead.
#include <algorithm>
#include <catch2/catch.hpp>

#include "clusterd/codec/json_report.h"
#include "clusterd/engine/report.h"
#include "tests/support/honest_world.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

const VmState& vm_of(const ClusterState& state, const VmReport& report) {
  const auto found = std::find_if(state.vms.begin(), state.vms.end(),
                                  [&](const auto& vm) { return vm.first.str() == report.uuid; });
  REQUIRE(found != state.vms.end());
  return found->second;
}

void check_vm(const ClusterState& state, const VmReport& report) {
  CAPTURE(report.name, report.state, report.reason);
  const VmState& vm = vm_of(state, report);
  REQUIRE(report.name == vm.name);
  const bool gone =
      report.state == "stopped" || report.state == "waiting" || report.state == "failed";
  REQUIRE(gone == (vm.holders.empty() && !vm.operation));
  REQUIRE(report.node.empty() == vm.holders.empty());
  const bool wanted = report.desired == DesiredState::running;
  if (wanted && report.state != "running") REQUIRE_FALSE(report.reason.empty());
  if (report.state != "running") return;
  const auto runs = std::find_if(vm.holders.begin(), vm.holders.end(), [](const auto& holder) {
    return holder.second.state == DomainState::running;
  });
  REQUIRE(runs != vm.holders.end());
  REQUIRE_FALSE(state.nodes.at(runs->first.node).dead.contains(runs->first.boot));
}

void check_node(const ClusterState& state, const NodeReport& report) {
  CAPTURE(report.name, report.state, report.reason);
  const auto node = std::find_if(state.nodes.begin(), state.nodes.end(), [&](const auto& known) {
    return known.second.name == report.name;
  });
  REQUIRE(node != state.nodes.end());
  const auto member = state.view.members.find(node->first);
  const bool present = member != state.view.members.end();
  if (report.state == "online") {
    REQUIRE(present);
    REQUIRE(member->second.phase == MemberPhase::synced);
    REQUIRE(member->second.inventory_done);
  } else {
    REQUIRE_FALSE(report.reason.empty());
  }
  if (report.state == "dead") {
    REQUIRE_FALSE(present);
    REQUIRE(node->second.dead.contains(node->second.boot));
  }
}

}  // namespace

TEST_CASE("reports property: of any state they are whole, true, and give a reason") {
  std::map<std::string, std::uint64_t> words;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    HonestWorld world(seed);
    LocalView local;
    local.active = local.quorate = true;
    for (int i = 0; i < 300; ++i) {
      static_cast<void>(world.deliver(world.next()));
      if (i % 5 != 0) continue;
      CAPTURE(seed, i);
      const ClusterState& state = world.state();
      const StatusReport report = report_status(state, local, state.time);
      REQUIRE(report.vms.size() == state.vms.size());
      REQUIRE(report.nodes.size() == state.nodes.size());
      for (const VmReport& vm : report.vms) {
        check_vm(state, vm);
        ++words["vm " + vm.state];
        const auto told = explain_vm(state, local, vm.name, state.time);
        REQUIRE(told);
        REQUIRE(told->nodes.size() == state.nodes.size());
        REQUIRE(told->history.size() <= 20);
        REQUIRE_FALSE(to_json(*told).empty());
      }
      for (const NodeReport& node : report.nodes) {
        check_node(state, node);
        ++words["node " + node.state];
      }
      REQUIRE_FALSE(to_json(report).empty());
    }
  }
  for (const char* word : {"vm running", "vm unknown", "vm stopped", "vm waiting", "vm starting",
                           "vm stuck", "node online", "node lost", "node fencing", "node dead",
                           "node left", "node unmanaged", "node joining"}) {
    CAPTURE(word);
    CHECK(words[word] > 0);
  }
}
