// New demand that would cost the cluster its reserve: refused or told; failures are never asked.
#include "clusterd/engine/admission.h"

#include <catch2/catch.hpp>

#include "clusterd/engine/apply.h"
#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"
#include "clusterd/engine/review.h"
#include "tests/support/cluster_builder.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

constexpr NodeId n1{1};

Applied say(ClusterState& state, Body body) {
  Message message;
  message.epoch = state.position.epoch;
  message.incarnation = Incarnation(1);
  message.stamp = state.time + Duration(10);
  message.body = std::move(body);
  return apply(state, {n1, message, Digest(1)});
}

// Three hosts of 8 GiB with a VM of 4 GiB each: any of them may be lost, and two may not.
ClusterBuilder three_hosts() {
  ClusterBuilder cluster;
  for (const char* name : {"n1", "n2", "n3"}) cluster.node(name, {.memory = gib(8)});
  for (const char* name : {"1", "2", "3"}) {
    cluster.vm(std::string("vm") + name, {.on = std::string("n") + name});
  }
  cluster.state().config.domain_xml[Digest{}] = "<domain/>";
  return cluster;
}

ClusterBuilder& stopped(ClusterBuilder& cluster, const std::string& name, std::uint64_t memory) {
  cluster.vm(name, {.memory = gib(memory)});
  cluster.order(name, DesiredState::stopped);
  return cluster;
}

ChangeConfiguration change(const ClusterBuilder& cluster) {
  ChangeConfiguration body;
  body.base = cluster.build().config.version;
  return body;
}

// A VM like the others that nobody has declared yet.
ChangeConfiguration with_vm(ClusterBuilder& cluster, const std::string& name,
                            std::uint64_t memory) {
  ChangeConfiguration body = change(cluster);
  VmDeclaration& vm = body.upsert.vms[name];
  vm.domain.uuid = VmId{numbered_uuid(3, 99)};
  vm.domain.size = {gib(memory), 2};
  return body;
}

std::vector<Finding> about_reserve(const Judged& judged) {
  std::vector<Finding> found;
  for (const Finding& finding : judged.findings) {
    if (finding.message.find("reserve") != std::string::npos) found.push_back(finding);
  }
  return found;
}

std::size_t alarms(const ClusterState& state) {
  std::size_t count = 0;
  for (const auto& [sequence, event] : state.history) {
    count += event.kind == EventKind::alarm ? 1U : 0U;
  }
  return count;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("admission: a start that would lose the reserve is refused, and told why") {
  ClusterBuilder cluster = three_hosts();
  stopped(cluster, "fits", 4);
  stopped(cluster, "big", 4);
  ClusterState state = cluster.build();
  // Two hosts hold four VMs of 4 GiB, and not more.
  CHECK(say(state, OrderVm{cluster.vm_id("fits"), VmOrderKind::start, 0}).refusal.empty());
  const Applied applied = say(state, OrderVm{cluster.vm_id("big"), VmOrderKind::start, 0});
  INFO(applied.refusal);
  CHECK(has(applied.refusal, "big: would lose the reserve of 1 host failure: if "));
  CHECK(has(applied.refusal, "finds no place"));
  CHECK(has(applied.refusal, "`admission: warn`"));
  CHECK(state.vms.at(cluster.vm_id("big")).ordered == DesiredState::stopped);
}

TEST_CASE("admission: warn lets a start through, tells the client and the history") {
  ClusterBuilder cluster = three_hosts();
  stopped(cluster, "big", 4);
  stopped(cluster, "more", 4);
  cluster.settings([](ClusterSettings& s) { s.admission = Admission::warn; });
  ClusterState state = cluster.build();
  CHECK(say(state, OrderVm{cluster.vm_id("big"), VmOrderKind::start, 0}).note.empty());
  const Applied applied = say(state, OrderVm{cluster.vm_id("more"), VmOrderKind::start, 0});
  CHECK(applied.refusal.empty());
  CHECK(has(applied.note, "more: loses the reserve of 1 host failure: if "));
  CHECK(should_run(state.vms.at(cluster.vm_id("more"))));
  CHECK(alarms(state) == 1);
}

TEST_CASE("admission: a reserve that does not hold before hinders nothing") {
  ClusterBuilder cluster = three_hosts();
  cluster.vm("vm4", {.on = "n1"}).vm("vm5", {.on = "n2"});  // five do not fit on two hosts
  stopped(cluster, "vm6", 4);
  ClusterState state = cluster.build();
  const Applied applied = say(state, OrderVm{cluster.vm_id("vm6"), VmOrderKind::start, 0});
  CHECK(applied.refusal.empty());
  CHECK(applied.note.empty());
}

TEST_CASE("admission: whoever repeats an order, restarts or stops asks for nothing new") {
  ClusterBuilder cluster = three_hosts();
  cluster.vm("vm4", {.on = "n1"});
  ClusterState state = cluster.build();
  for (const VmOrderKind order : {VmOrderKind::start, VmOrderKind::restart, VmOrderKind::stop}) {
    CHECK(say(state, OrderVm{cluster.vm_id("vm4"), order, 0}).refusal.empty());
  }
}

TEST_CASE("admission: enabling a VM that runs somewhere makes it guaranteed") {
  ClusterBuilder cluster;
  cluster.node("n1", {.memory = gib(4)}).node("n2", {.memory = gib(8)});
  cluster.node("n3", {.memory = gib(4)});
  cluster.vm("vm1", {.on = "n2"}).vm("vm2", {.on = "n2"}).vm("vm3", {.on = "n3"});
  cluster.order("vm2", DesiredState::ignored);
  ClusterState state = cluster.build();
  // n1 has room for one of the VMs of n2, and nobody promises anything to the other one.
  const Applied applied = say(state, OrderVm{cluster.vm_id("vm2"), VmOrderKind::enable, 0});
  CHECK(has(applied.refusal, "vm2: would lose the reserve of 1 host failure: if n2 is lost, "));
}

TEST_CASE("admission: a VM that has no place now is nobody's reserve: it waits") {
  ClusterBuilder cluster = three_hosts();
  stopped(cluster, "large", 8);
  ClusterState state = cluster.build();
  CHECK(say(state, OrderVm{cluster.vm_id("large"), VmOrderKind::start, 0}).refusal.empty());
}

TEST_CASE("admission: a preemptible VM takes nothing of the reserve") {
  ClusterBuilder cluster = three_hosts();
  cluster.vm("vm4", {.on = "n1"});
  stopped(cluster, "dev", 4);
  cluster.declaration("dev").policy.preemptible = true;
  ClusterState state = cluster.build();
  CHECK(say(state, OrderVm{cluster.vm_id("dev"), VmOrderKind::start, 0}).refusal.empty());
}

TEST_CASE("admission: a recovery goes on while the reserve is broken") {
  ClusterBuilder cluster = three_hosts();
  cluster.vm("vm4", {.on = "n1"});
  const ClusterState state = cluster.prove_dead("n1").build();
  const VmPlan plan = plan_vms(state, state.time);
  REQUIRE(plan.intents.size() == 2);
  ClusterState after = state;
  for (const Body& intent : plan.intents) {
    const StartVm& start = std::get<StartVm>(intent);
    Message message;
    message.epoch = state.position.epoch;
    message.incarnation = Incarnation(2);
    message.stamp = after.time;
    message.body = start;
    CHECK(apply(after, {NodeId(2), message, Digest(1)}).refusal.empty());
  }
}

TEST_CASE("admission: a configuration that would lose the reserve is an error at what changed") {
  ClusterBuilder cluster = three_hosts();
  cluster.vm("vm4", {.on = "n1"});
  ClusterState state = cluster.build();
  const ChangeConfiguration body = with_vm(cluster, "web", 4);
  const auto found = about_reserve(judge(state, body));
  REQUIRE(found.size() == 1);
  CHECK(found[0].severity == Severity::error);
  CHECK(found[0].path == "vms.web");
  CHECK(has(found[0].message, "would lose the reserve of 1 host failure: if "));
  CHECK(has(say(state, body).refusal, "vms.web: would lose the reserve"));
  CHECK(state.config.vms.count("web") == 0);

  ChangeConfiguration warned = body;
  warned.upsert.cluster = state.config.cluster;
  warned.upsert.cluster->admission = Admission::warn;
  const auto warnings = about_reserve(judge(state, warned));
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].severity == Severity::warning);
  CHECK(say(state, warned).refusal.empty());
  CHECK(state.config.vms.count("web") == 1);
  CHECK(alarms(state) == 1);
}

TEST_CASE("admission: a grown VM, a smaller host and a stricter rule are new demand too") {
  ClusterBuilder cluster = three_hosts();
  cluster.vm("vm4", {.on = "n1"});
  const ClusterState state = cluster.build();
  const auto judged = [&](const std::function<void(Declarations&)>& what) {
    ChangeConfiguration body = change(cluster);
    what(body.upsert);
    const auto found = about_reserve(judge(state, body));
    return found.size() == 1 && found[0].severity == Severity::error ? found[0].path : "";
  };
  CHECK(judged([&](Declarations& d) {
          d.vms["vm1"] = state.config.vms.at("vm1");
          d.vms["vm1"].policy.memory = gib(5);
        }) == "vms.vm1");
  CHECK(judged([&](Declarations& d) {
          d.nodes["n3"] = state.config.nodes.at("n3");
          d.nodes["n3"].capacity = Resources{gib(7), 32};
        }) == "nodes.n3");
  CHECK(judged([&](Declarations& d) {
          d.vms["vm1"] = state.config.vms.at("vm1");
          d.vms["vm1"].policy.placement = PlacementRules{};
          d.vms["vm1"].policy.placement->allow = {"n1"};
        }) == "vms.vm1");
  CHECK(judged([&](Declarations& d) {
          d.cluster = state.config.cluster;
          d.cluster->overcommit.memory = 900;
        }) == "cluster.reserve");
  CHECK(judged([&](Declarations& d) {
          d.cluster = state.config.cluster;
          d.cluster->timers.ack_timeout = Duration(1500);
        }).empty());
}

TEST_CASE("review: the reserve after the change is shown, unless it would be refused") {
  ClusterBuilder cluster = three_hosts();
  const ClusterState state = cluster.build();
  const ConfigurationReview good = review(state, with_vm(cluster, "web", 4), state.time);
  REQUIRE(good.reserve);
  CHECK(good.reserve->ok);
  CHECK(good.reserve->required == 1);
  CHECK(good.reserve->tolerated == 1);
  ChangeConfiguration warned = with_vm(cluster, "web", 4);
  warned.upsert.vms["db"] = warned.upsert.vms["web"];
  warned.upsert.vms["db"].domain.uuid = VmId{numbered_uuid(3, 98)};
  CHECK_FALSE(review(state, warned, state.time).reserve);
  warned.upsert.cluster = state.config.cluster;
  warned.upsert.cluster->admission = Admission::warn;
  const ConfigurationReview broken = review(state, warned, state.time);
  REQUIRE(broken.reserve);
  CHECK_FALSE(broken.reserve->ok);
  CHECK_FALSE(broken.reserve->blocking.empty());
}

TEST_CASE("admission: what cannot matter to the reserve is not asked about") {
  ClusterBuilder cluster = three_hosts();
  const Configuration before = cluster.build().config;
  CHECK_FALSE(concerns_reserve(before, before));
  Configuration after = before;
  after.cluster.timers.ack_timeout = Duration(1);
  after.cluster.admission = Admission::warn;
  after.nodes["n1"].labels["rack"] = "r1";
  after.nodes["n1"].fencing = {{"bmc"}};
  after.fence_devices["bmc"].agent = "fence_x";
  after.vms["vm1"].policy.rto = Duration(60000);
  after.vms["vm1"].domain.xml = Digest(7);
  CHECK_FALSE(concerns_reserve(before, after));
  after.vms["vm1"].policy.priority = 7;
  CHECK(concerns_reserve(before, after) == "vms.vm1");
  after.nodes.erase("n3");
  CHECK(concerns_reserve(before, after) == "cluster.reserve");
}

TEST_CASE("admission: the first apply of a new cluster needs its reserve, and says how to go on") {
  ClusterBuilder cluster;
  cluster.node("n1", {.memory = gib(8)}).node("n2", {.memory = gib(8)});
  cluster.state().config.domain_xml[Digest{}] = "<domain/>";
  ChangeConfiguration body = change(cluster);
  for (int i = 1; i <= 3; ++i) {
    VmDeclaration& vm = body.upsert.vms["vm" + std::to_string(i)];
    vm.domain.uuid = VmId{numbered_uuid(3, static_cast<std::uint64_t>(i))};
    vm.domain.size = {gib(4), 2};
  }
  ClusterState state = cluster.build();
  const std::string refusal = say(state, body).refusal;
  INFO(refusal);
  CHECK(has(refusal, "cluster.reserve: would lose the reserve of 1 host failure: if n"));
  CHECK(has(refusal, "`admission: warn`, or a smaller `reserve`, lets it through"));
  body.upsert.vms.erase("vm3");
  CHECK(say(state, body).refusal.empty());
}

TEST_CASE("admission: N+1 holds and N+2 does not: a raised goal is told, not refused") {
  ClusterBuilder cluster = three_hosts();
  const ClusterState state = cluster.build();
  ChangeConfiguration body = change(cluster);
  body.upsert.cluster = state.config.cluster;
  body.upsert.cluster->reserve_host_failures = 2;
  const auto found = about_reserve(judge(state, body));
  REQUIRE(found.size() == 1);
  CHECK(found[0].severity == Severity::warning);
  CHECK(has(found[0].message, "the reserve of 2 host failures does not hold yet: if n"));
  SECTION("but what the old goal promised may not get lost beside it") {
    body.upsert.vms = with_vm(cluster, "web", 4).upsert.vms;
    body.upsert.vms["db"] = body.upsert.vms["web"];
    body.upsert.vms["db"].domain.uuid = VmId{numbered_uuid(3, 98)};
    const auto both = about_reserve(judge(state, body));
    REQUIRE(both.size() == 1);
    CHECK(both[0].severity == Severity::error);
    CHECK(has(both[0].message, "would lose the reserve of 1 host failure"));
  }
  SECTION("a goal that is lowered counts at once") {
    body.upsert.cluster->reserve_host_failures = 0;
    body.upsert.vms = with_vm(cluster, "web", 4).upsert.vms;
    body.upsert.vms["db"] = body.upsert.vms["web"];
    body.upsert.vms["db"].domain.uuid = VmId{numbered_uuid(3, 98)};
    CHECK(about_reserve(judge(state, body)).empty());
  }
}

TEST_CASE("admission: one node alone has no reserve to lose") {
  ClusterBuilder cluster;
  cluster.node("n1");
  stopped(cluster, "web", 4);
  ClusterState state = cluster.build();
  const Applied applied = say(state, OrderVm{cluster.vm_id("web"), VmOrderKind::start, 0});
  CHECK(applied.refusal.empty());
  CHECK(applied.note.empty());
}

TEST_CASE("admission: hosts that have not told what they have make no verdict possible") {
  ClusterBuilder cluster;
  cluster.node("n1", {.memory = gib(8)}).node("n2", {.memory = gib(8)});
  stopped(cluster, "web", 4);
  SECTION("a host counts its VMs") {
    cluster.state().view.members.at(NodeId(2)).inventory_done = false;
  }
  SECTION("a host joins") {
    cluster.state().view.members.at(NodeId(2)).phase = MemberPhase::joining;
  }
  SECTION("a host has told no memory") {
    cluster.node_state("n2").facts.total = {};
  }
  ClusterState state = cluster.build();
  const Applied applied = say(state, OrderVm{cluster.vm_id("web"), VmOrderKind::start, 0});
  CHECK(applied.refusal.empty());
  CHECK(has(applied.note, "cannot be judged"));
  CHECK(has(applied.note, "n2"));
}
