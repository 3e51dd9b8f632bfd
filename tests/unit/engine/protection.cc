#include "clusterd/engine/protection.h"

#include <catch2/catch.hpp>

#include "tests/support/cluster_builder.h"

using namespace clusterd;
using clusterd::test::ClusterBuilder;

namespace {

// Two hosts, each with a BMC; both devices of n2's second level are calibrated.
struct Lab : ClusterBuilder {
  Lab() {
    node("n1").node("n2").vm("a", {.on = "n1"}).vm("b", {.on = "n2"});
    node_declaration("n1").fencing = {{"bmc-n1"}};
    node_declaration("n2").fencing = {{"bmc-n2"}, {"pdu-a", "pdu-b"}};
    reads("n1", "bmc-n1", Power::on);
    reads("n2", "pdu-a", Power::on);
    reads("n2", "pdu-b", Power::on);
  }
  void reads(const std::string& name, const std::string& device, Power reading) {
    NodeState& node = node_state(name);
    node.calibration[device] = {node.boot, reading, state().time, ""};
  }
};

}  // namespace

TEST_CASE("protection: a VM is protected while its host can be fenced and somebody is left") {
  Lab lab;
  CHECK(can_be_fenced(lab.state(), lab.node_id("n1")));
  CHECK(can_be_fenced(lab.state(), lab.node_id("n2")));
  CHECK(unprotected_vms(lab.state()) == 0);
}

TEST_CASE("protection: a device that is not calibrated protects nobody") {
  Lab lab;
  SECTION("no answer") { lab.reads("n2", "pdu-b", Power::unknown); }
  SECTION("says off although the host lives") { lab.reads("n2", "pdu-b", Power::off); }
  SECTION("said on for an earlier boot") {
    lab.node_state("n2").calibration["pdu-b"].boot = BootId{test::numbered_uuid(9, 9)};
  }
  SECTION("none is declared") { lab.node_declaration("n2").fencing.clear(); }
  SECTION("a level without devices") { lab.node_declaration("n2").fencing = {{}}; }
  SECTION("an undeclared host") { lab.state().config.nodes.erase("n2"); }
  CHECK(unprotected_vms(lab.state()) == 1);
}

TEST_CASE("protection: without a further synced member, or with a brake on, nobody is") {
  Lab lab;
  SECTION("the other member has no copy of the state") {
    lab.state().view.members.at(lab.node_id("n2")).phase = MemberPhase::joining;
    // b's host is not synced, but n1 is: it could start b again.
    CHECK(unprotected_vms(lab.state()) == 1);
  }
  SECTION("disarmed") {
    lab.state().armed = false;
    CHECK(unprotected_vms(lab.state()) == 2);
  }
}

TEST_CASE("protection: who should not run, or runs nowhere, is not counted") {
  Lab lab;
  lab.state().armed = false;
  lab.order("a", DesiredState::stopped);
  lab.vm_state("b").holders.clear();
  CHECK(unprotected_vms(lab.state()) == 0);
}
