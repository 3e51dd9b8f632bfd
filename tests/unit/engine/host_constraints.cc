// Exclusive nodes, and what a domain demands of its host: machine type and CPU.
#include <catch2/catch.hpp>

#include "clusterd/engine/constraints.h"
#include "clusterd/engine/placement.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

struct OneHost {
  ClusterBuilder cluster = ClusterBuilder().node("n1").node("n2").vm("a");

  OneHost() {
    domain().virt_type = "kvm";
    facts().virt_type = "kvm";
  }
  DomainFacts& domain() { return cluster.declaration("a").domain; }
  HostFacts& facts() { return cluster.node_state("n1").facts; }
  // What refuses() says of VM "a" on n1; empty: nothing.
  std::string refusal() {
    const auto no = refuses(cluster.state(), cluster.vm_id("a"), NodeId(1), cluster.state().time);
    return no ? sentence(*no) : "";
  }
};

}  // namespace

TEST_CASE("constraints: an exclusive node takes only VMs that allow it") {
  OneHost host;
  PlacementRules& rules = *host.cluster.declaration("a").policy.placement;
  host.cluster.node_declaration("n1").exclusive = true;
  CHECK(host.refusal() == "exclusive: takes only VMs that allow it");
  rules.prefer.nodes = {"n1"};  // a wish is no permission
  CHECK(host.refusal() == "exclusive: takes only VMs that allow it");
  rules.allow = {"n1", "n2"};
  CHECK(host.refusal().empty());
  rules.avoid = {"n1"};
  CHECK(host.refusal() == "avoid: must not run on n1");
}

TEST_CASE("constraints: a VM starts only where its machine type exists") {
  OneHost host;
  host.domain().machine = "pc-i440fx-9.0";
  CHECK(host.refusal().empty());  // the host has told nothing
  host.facts().machines = {"pc", "pc-i440fx-2.12", "pc-i440fx-7.2", "pc-q35-9.1", "q35"};
  CHECK(host.refusal() == "machine: needs pc-i440fx-9.0, this host has up to pc-i440fx-7.2");
  SECTION("versions are numbers") {
    host.facts().machines = {"pc-i440fx-2.9", "pc-i440fx-2.12"};
    CHECK(host.refusal() == "machine: needs pc-i440fx-9.0, this host has up to pc-i440fx-2.12");
  }
  SECTION("an old type that this QEMU has dropped") {
    host.domain().machine = "pc-i440fx-1.3";
    CHECK(host.refusal() == "machine: needs pc-i440fx-1.3, which this host does not have");
  }
  SECTION("another family, and no family at all") {
    host.domain().machine = "pseries-7.2";
    CHECK(host.refusal() == "machine: needs pseries-7.2, which this host does not have");
    host.domain().machine = "microvm";
    CHECK(host.refusal() == "machine: needs microvm, which this host does not have");
    host.domain().machine = "pc-i440fx-";
    CHECK(host.refusal() == "machine: needs pc-i440fx-, which this host does not have");
  }
  SECTION("an alias is a name like others, and no name asks for nothing") {
    host.domain().machine = "q35";
    CHECK(host.refusal().empty());
    host.domain().machine = "";
    CHECK(host.refusal().empty());
  }
  SECTION("the host was asked about domains of another type") {
    host.facts().virt_type = "qemu";
    CHECK(host.refusal().empty());
  }
}

TEST_CASE("constraints: a custom CPU model must be usable on the host") {
  OneHost host;
  host.domain().cpu = {CpuMode::custom, "EPYC-Milan", "", true};
  CHECK(host.refusal().empty());  // the host has told nothing
  host.facts().cpu_models = {"EPYC", "qemu64"};
  CHECK(host.refusal() == "cpu: needs CPU model EPYC-Milan, not usable here");
  SECTION("it is") {
    host.facts().cpu_models.insert("EPYC-Milan");
    CHECK(host.refusal().empty());
  }
  SECTION("libvirt is told not to check") {
    host.domain().cpu.checked = false;
    CHECK(host.refusal().empty());
  }
  SECTION("a start with any other mode takes what the host has") {
    for (const CpuMode mode :
         {CpuMode::none, CpuMode::host_model, CpuMode::host_passthrough, CpuMode::maximum}) {
      host.domain().cpu.mode = mode;
      CHECK(host.refusal().empty());
    }
  }
  SECTION("the host was asked about domains of another type") {
    host.domain().virt_type = "qemu";
    CHECK(host.refusal().empty());
  }
}

TEST_CASE("constraints: a custom CPU may name its vendor") {
  OneHost host;
  host.domain().cpu = {CpuMode::custom, "qemu64", "Intel", true};
  host.facts().cpu_models = {"qemu64"};
  CHECK(host.refusal().empty());  // the host's is not known
  host.facts().cpu_vendor = "AMD";
  CHECK(host.refusal() == "cpu: needs a CPU of Intel, this one is of AMD");
  host.facts().cpu_vendor = "Intel";
  CHECK(host.refusal().empty());
}

TEST_CASE("constraints: the first rule that is broken is the one that is told") {
  OneHost host;
  host.domain().machine = "pc-i440fx-9.0";
  host.domain().cpu = {CpuMode::custom, "EPYC-Milan", "", true};
  host.facts().machines = {"pc"};
  host.facts().cpu_models = {"qemu64"};
  host.cluster.node_declaration("n1").exclusive = true;
  CHECK(host.refusal() == "exclusive: takes only VMs that allow it");
  host.cluster.node_declaration("n1").exclusive = false;
  CHECK(host.refusal() == "machine: needs pc-i440fx-9.0, which this host does not have");
  host.facts().machines = {"pc-i440fx-9.0"};
  CHECK(host.refusal() == "cpu: needs CPU model EPYC-Milan, not usable here");
}

TEST_CASE("placement: a plan passes by exclusive hosts and those without the machine type") {
  ClusterBuilder cluster =
      ClusterBuilder().node("n1").node("n2").node("n3").node("n4").vm("a", {.on = "n1"});
  cluster.declaration("a").domain.virt_type = "kvm";
  cluster.declaration("a").domain.machine = "pc-q35-9.0";
  cluster.node_declaration("n2").exclusive = true;
  cluster.node_state("n3").facts.virt_type = "kvm";
  cluster.node_state("n3").facts.machines = {"pc-q35-7.2"};
  cluster.prove_dead("n1");
  const StartDemand demand{cluster.vm_id("a"), Cause::host_lost, std::nullopt, ""};
  const auto plan = plan_starts(cluster.state(), {demand}, cluster.state().time);
  REQUIRE(plan.size() == 1);
  CHECK(std::get<Chosen>(plan.front().result).node == NodeId(4));
  cluster.lose("n4");
  const auto none = plan_starts(cluster.state(), {demand}, cluster.state().time);
  std::vector<std::string> told;
  for (const Exclusion& no : std::get<NoCandidate>(none.front().result).excluded) {
    told.push_back(sentence(no));
  }
  CHECK(told ==
        std::vector<std::string>{"not_a_member: is not in the cluster now",
                                 "exclusive: takes only VMs that allow it",
                                 "machine: needs pc-q35-9.0, this host has up to pc-q35-7.2",
                                 "lost: not yet proven dead"});
}
