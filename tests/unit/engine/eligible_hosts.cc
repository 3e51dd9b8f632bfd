#include "clusterd/engine/eligible_hosts.h"

#include <catch2/catch.hpp>

#include "clusterd/engine/report.h"
#include "clusterd/engine/review.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

std::string few(const ClusterBuilder& cluster, const std::string& vm) {
  const ClusterState state = cluster.build();
  return few_hosts(state, Relations(state.config), cluster.vm_id(vm));
}

ClusterBuilder three() {
  return ClusterBuilder().node("n1").node("n2").node("n3").vm("a");
}

}  // namespace

TEST_CASE("eligible hosts: rules count, room and who is up do not") {
  ClusterBuilder cluster = three();
  cluster.declaration("a").domain.size.memory = gib(1000);
  cluster.declaration("a").policy.requires_ = {"san"};
  cluster.node_declaration("n2").provides = {"san"};
  cluster.node_declaration("n3").provides = {"san"};
  cluster.lose("n2");
  const ClusterState state = cluster.build();
  const EligibleHosts hosts = eligible_hosts(state, Relations(state.config), cluster.vm_id("a"));
  CHECK(hosts.may == std::vector<std::string>{"n2", "n3"});
  REQUIRE(hosts.others.size() == 1);
  CHECK(hosts.others.front().node == "n1");
  CHECK(hosts.others.front().reason == "requires: lacks san");
  CHECK(few(cluster, "a").empty());
}

TEST_CASE("eligible hosts: with fewer than two it is told which one, and why not the others") {
  ClusterBuilder cluster = three().node("n4");
  cluster.declaration("a").domain.virt_type = "kvm";
  cluster.declaration("a").domain.machine = "pc-q35-9.0";
  for (const char* name : {"n1", "n3"}) {
    cluster.node_state(name).facts.virt_type = "kvm";
    cluster.node_state(name).facts.machines = {"pc-q35-7.2"};
  }
  CHECK(few(cluster, "a").empty());
  cluster.node_declaration("n4").exclusive = true;
  CHECK(few(cluster, "a") ==
        "only n2 may run it: n1, n3: machine: needs pc-q35-9.0, this host has up to pc-q35-7.2; "
        "n4: exclusive: takes only VMs that allow it");
  cluster.declaration("a").policy.placement->avoid = {"n2"};
  CHECK(few(cluster, "a").starts_with("no host may run it: n1, n3: machine: "));
}

TEST_CASE("eligible hosts: one that was never seen counts, since nothing is known against it") {
  ClusterBuilder cluster = three();
  cluster.declaration("a").policy.placement->avoid = {"n2", "n3"};
  CHECK_FALSE(few(cluster, "a").empty());
  cluster.state().config.nodes["n9"];
  CHECK(few(cluster, "a").empty());
}

TEST_CASE("eligible hosts: a VM goes where all of its group may go") {
  ClusterBuilder cluster = three().vm("b");
  cluster.declaration("a").policy.placement->together_with = {"b"};
  cluster.declaration("a").policy.placement->avoid = {"n1"};
  CHECK(few(cluster, "a").empty());
  cluster.declaration("b").policy.placement->avoid = {"n2"};
  CHECK(few(cluster, "a") ==
        "only n3 may run it: n1: avoid: must not run on n1; "
        "n2: together_with: b may not (avoid: must not run on n2)");
  CHECK(few(cluster, "b") ==
        "only n3 may run it: n1: together_with: a may not (avoid: must not run on n1); "
        "n2: avoid: must not run on n2");
}

TEST_CASE("eligible hosts: nothing is said of VMs left alone, nor where there is one host") {
  ClusterBuilder cluster = three();
  cluster.declaration("a").policy.placement->allow = {"n1"};
  CHECK_FALSE(few(cluster, "a").empty());
  cluster.order("a", DesiredState::ignored);
  CHECK(few(cluster, "a").empty());
  const ClusterBuilder alone = ClusterBuilder().node("n1").vm("a");
  CHECK(few(alone, "a").empty());
}

TEST_CASE("eligible hosts: explain says it, with all else that hinders the VM") {
  ClusterBuilder cluster = three();
  cluster.run("a", "n1");
  cluster.declaration("a").policy.placement->avoid = {"n2", "n3"};
  const auto report =
      explain_vm(cluster.state(), LocalView{.active = true}, "a", cluster.state().time);
  REQUIRE(report);
  CHECK(report->why ==
        std::vector<std::string>{"only n1 may run it: n2: avoid: must not run on n2; n3: avoid: "
                                 "must not run on n3"});
}

TEST_CASE("eligible hosts: a review warns, before the change and of VMs that it does not name") {
  ClusterBuilder cluster = three().vm("b");
  // Where only one host may run a VM no host may be lost: not the point here.
  cluster.settings([](ClusterSettings& s) { s.reserve_host_failures = 0; });
  for (const char* name : {"a", "b"}) {
    cluster.state().config.domain_xml[cluster.declaration(name).domain.xml] = "<domain/>";
    cluster.declaration(name).policy.placement->avoid = {"n3"};
  }
  ChangeConfiguration change;
  NodeDeclaration exclusive = cluster.node_declaration("n2");
  exclusive.exclusive = true;
  change.upsert.nodes["n2"] = exclusive;
  change.upsert.vms["a"] = cluster.declaration("a");
  change.upsert.vms["a"].policy.placement->allow = {"n1", "n2"};
  const ConfigurationReview told = review(cluster.build(), change, cluster.state().time);
  std::vector<std::string> warnings;
  for (const Finding& finding : told.judged.findings) {
    CHECK(finding.severity == Severity::warning);
    if (finding.message.find("may run it") == std::string::npos) continue;
    warnings.push_back(finding.path + ": " + finding.message);
  }
  CHECK(warnings == std::vector<std::string>{
                        "vms.b: only n1 may run it: n2: exclusive: takes only VMs that allow it; "
                        "n3: avoid: must not run on n3"});
}
