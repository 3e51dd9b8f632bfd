#include <catch2/catch.hpp>

#include "clusterd/engine/constraints.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

// What refuses() says of VM "a" on n1; empty: nothing.
std::string refusal(ClusterBuilder& cluster) {
  const auto no = refuses(cluster.state(), cluster.vm_id("a"), NodeId(1), cluster.state().time);
  return no ? sentence(*no) : "";
}

ClusterBuilder pair() { return ClusterBuilder().node("n1").node("n2").vm("a"); }

}  // namespace

TEST_CASE("constraints: a healthy member takes a VM that asks for nothing") {
  ClusterBuilder cluster = pair();
  CHECK(refusal(cluster).empty());
}

TEST_CASE("constraints: a node that was never seen takes nothing") {
  ClusterBuilder cluster = pair();
  const auto no = refuses(cluster.state(), cluster.vm_id("a"), NodeId(9), cluster.state().time);
  REQUIRE(no);
  CHECK(sentence(*no) == "not_a_member: was never seen");
}

TEST_CASE("constraints: a node that is no full member takes nothing, and each case has a name") {
  ClusterBuilder cluster = pair();
  NodeState& node = cluster.node_state("n1");
  Member& member = cluster.state().view.members[NodeId(1)];
  SECTION("joining") {
    member.phase = MemberPhase::joining;
    CHECK(refusal(cluster) == "not_synced: has no trusted copy of the state yet");
  }
  SECTION("demoted") {
    member.phase = MemberPhase::demoted;
    CHECK(refusal(cluster) == "not_synced: stopped acknowledging");
  }
  SECTION("inventory open") {
    member.inventory_done = false;
    CHECK(refusal(cluster) == "inventory: has not reported its VMs yet");
  }
  SECTION("lost") {
    cluster.lose("n1");
    CHECK(refusal(cluster) == "lost: not yet proven dead");
  }
  SECTION("proven dead") {
    cluster.prove_dead("n1");
    CHECK(refusal(cluster) == "not_a_member: is not in the cluster now");
  }
  SECTION("left") {
    cluster.state().view.members.erase(NodeId(1));
    node.departure.emplace();
    CHECK(refusal(cluster) == "left: has left the cluster");
  }
  SECTION("unmanaged") {
    cluster.state().view.members.erase(NodeId(1));
    cluster.state().view.ring_only.insert(NodeId(1));
    CHECK(refusal(cluster) == "unmanaged: its daemon does not run");
  }
  SECTION("condemned") {
    node.dead[node.boot] = {};
    CHECK(refusal(cluster) == "condemned: this boot of it is proven dead");
  }
  SECTION("undeclared") {
    cluster.state().config.nodes.erase("n1");
    CHECK(refusal(cluster) == "undeclared: is not in the configuration");
  }
  SECTION("maintenance") {
    node.maintenance = true;
    CHECK(refusal(cluster) == "maintenance: is in maintenance");
  }
  SECTION("hypervisor") {
    node.facts.problem = "libvirt does not answer";
    CHECK(refusal(cluster) == "hypervisor: libvirt does not answer");
  }
}

TEST_CASE("constraints: an open fence and its settling time keep VMs off, a reading does not") {
  ClusterBuilder cluster = pair();
  NodeState& node = cluster.node_state("n1");
  node.power.emplace();
  node.power->kind = PowerOpKind::fence;
  CHECK(refusal(cluster) == "fencing: a fence of it is open");
  node.power->kind = PowerOpKind::read_power;
  CHECK(refusal(cluster).empty());
  node.settle_until = cluster.state().time + Duration(1);
  CHECK(refusal(cluster) == "settling: a fence of it ended a moment ago");
  node.settle_until = cluster.state().time;
  CHECK(refusal(cluster).empty());
}

TEST_CASE("constraints: requires, allow and avoid") {
  ClusterBuilder cluster = pair();
  VmPolicy& policy = cluster.declaration("a").policy;
  SECTION("requires") {
    policy.requires_ = {"san-a", "vlan-12"};
    cluster.node_declaration("n1").provides = {"san-a"};
    CHECK(refusal(cluster) == "requires: lacks vlan-12");
    cluster.node_declaration("n1").provides.insert("vlan-12");
    CHECK(refusal(cluster).empty());
  }
  SECTION("allow") {
    policy.placement->allow = {"n2", "n3"};
    CHECK(refusal(cluster) == "allow: only n2, n3 may run it");
    policy.placement->allow.insert("n1");
    CHECK(refusal(cluster).empty());
  }
  SECTION("avoid") {
    policy.placement->avoid = {"n1"};
    CHECK(refusal(cluster) == "avoid: must not run on n1");
  }
}

TEST_CASE("constraints: away_from holds in both directions and against what may be active") {
  ClusterBuilder cluster = pair().vm("b", {.on = "n1"});
  SECTION("declared by the VM that starts") {
    cluster.declaration("a").policy.placement->away_from = {"b"};
    CHECK(refusal(cluster) == "away_from: b is or may be here");
  }
  SECTION("declared by the VM that runs") {
    cluster.declaration("b").policy.placement->away_from = {"a"};
    CHECK(refusal(cluster) == "away_from: b is or may be here");
  }
}

TEST_CASE("constraints: together_with binds to where the group is, also through others") {
  ClusterBuilder cluster = pair().vm("b").vm("c", {.on = "n2"});
  cluster.declaration("a").policy.placement->together_with = {"b"};
  cluster.declaration("c").policy.placement->together_with = {"b"};
  CHECK(refusal(cluster) == "together_with: c is on n2");
  cluster.vm_state("c").holders.clear();
  CHECK(refusal(cluster).empty());
}

TEST_CASE("constraints: rules may come from a profile, and the VM's own replace them") {
  ClusterBuilder cluster = pair().vm("b", {.on = "n1"});
  cluster.state().config.profiles["lonely"].placement.emplace().away_from = {"a"};
  cluster.declaration("b").profile = "lonely";
  CHECK(refusal(cluster).empty());  // its own, empty, rules count
  cluster.declaration("b").policy.placement.reset();
  CHECK(refusal(cluster) == "away_from: b is or may be here");
}

TEST_CASE("constraints: memory and vcpus are told as needed and free") {
  ClusterBuilder cluster = pair();
  SECTION("whole") {
    cluster.declaration("a").domain.size.memory = gib(65);
    CHECK(refusal(cluster) == "memory: needs 65 GiB, 64 GiB free");
  }
  SECTION("what does not fit by a byte never reads as equal") {
    cluster.declaration("a").domain.size.memory = gib(64) + 1;
    CHECK(refusal(cluster) == "memory: needs 64.1 GiB, 64 GiB free");
    cluster.declaration("a").domain.size.memory = gib(65) - 1;
    CHECK(refusal(cluster) == "memory: needs 65 GiB, 64 GiB free");
  }
  SECTION("small") {
    cluster.declaration("a").domain.size.memory = 512ULL << 20;
    cluster.node_state("n1").facts.total.memory = 100ULL << 20;
    CHECK(refusal(cluster) == "memory: needs 512 MiB, 100 MiB free");
  }
  SECTION("vcpus are overcommitted fourfold by default") {
    cluster.declaration("a").domain.size.vcpus = 128;
    CHECK(refusal(cluster).empty());
    cluster.declaration("a").domain.size.vcpus = 129;
    CHECK(refusal(cluster) == "vcpus: needs 129, 128 free");
  }
}

TEST_CASE("constraints: a VM that may be active here already needs no second room") {
  ClusterBuilder cluster = ClusterBuilder().node("n1", {.memory = gib(4)}).vm("a", {.on = "n1"});
  CHECK(refusal(cluster).empty());
}

TEST_CASE("constraints: an undeclared VM is refused, also under a name used again") {
  ClusterBuilder cluster = pair();
  cluster.vm_state("a").tombstone = true;
  CHECK(refusal(cluster) == "undeclared: the VM is not declared");
}

TEST_CASE("constraints: start_after waits for a VM that is seen running, for a bounded time") {
  ClusterBuilder cluster = pair().vm("db").vm("web", {.start_after = {"db"}});
  const ClusterTime since = cluster.state().time;
  const auto waits = [&](Duration later) {
    return waits_for(cluster.state(), cluster.vm_id("web"), since, since + later);
  };
  CHECK(waits(Duration(0)) == "start_after: db does not run yet");
  CHECK(waits(Duration(299999)) == "start_after: db does not run yet");
  CHECK_FALSE(waits(Duration(300000)));
  SECTION("it runs") {
    cluster.run("db", "n1");
    CHECK_FALSE(waits(Duration(0)));
    cluster.vm_state("db").operation.emplace();
    CHECK(waits(Duration(0)));  // not through with its start
  }
  SECTION("its host is lost: the last sighting is no longer believed") {
    cluster.run("db", "n1").lose("n1");
    CHECK(waits(Duration(0)));
  }
  SECTION("it is not wanted running") {
    cluster.order("db", DesiredState::stopped);
    CHECK_FALSE(waits(Duration(0)));
  }
}
