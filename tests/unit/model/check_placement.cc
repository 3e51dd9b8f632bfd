#include "clusterd/model/check_placement.h"

#include <catch2/catch.hpp>

using namespace clusterd;

namespace {

constexpr std::uint64_t kGib = 1ULL << 30;
using Names = std::set<std::string>;

struct Rules {
  Names away_from = {};
  Names together_with = {};
  Names allow = {};
  Names needs = {};
  std::uint64_t memory = 1;  // GiB
  DesiredState state = DesiredState::running;
  bool preemptible = false;
};

struct Declared {
  Declared() { config_.cluster.reserve_host_failures = 0; }
  Declared& node(const std::string& name, std::optional<std::uint64_t> memory = std::nullopt,
                 const Names& provides = {}) {
    NodeDeclaration& node = config_.nodes[name];
    if (memory) node.capacity = Resources{*memory * kGib, 64};
    node.provides = provides;
    node.fencing = {{"bmc"}};
    config_.fence_devices["bmc"].agent = "fence_x";
    return *this;
  }
  Declared& vm(const std::string& name, const Rules& rules = {}) {
    VmDeclaration& vm = config_.vms[name];
    vm.domain.uuid.uuid.bytes[15] = static_cast<std::uint8_t>(config_.vms.size());
    config_.domain_xml[vm.domain.xml] = "<domain/>";
    vm.domain.size = {rules.memory * kGib, 1};
    vm.policy.placement.emplace();
    vm.policy.placement->away_from = rules.away_from;
    vm.policy.placement->together_with = rules.together_with;
    vm.policy.placement->allow = rules.allow;
    vm.policy.requires_ = rules.needs;
    vm.policy.state = rules.state;
    vm.policy.preemptible = rules.preemptible;
    return *this;
  }
  // All that check() finds, as "path: message", warnings with "warning: " in front.
  std::vector<std::string> found() const {
    std::vector<std::string> lines;
    for (const Finding& finding : check(config_)) {
      lines.push_back((finding.severity == Severity::warning ? "warning: " : "") + finding.path +
                      ": " + finding.message);
    }
    return lines;
  }

  Configuration config_;
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("check: away_from contradicts together_with through others, and the chain is named") {
  const Lines lines = Declared()
                          .node("n1")
                          .node("n2")
                          .vm("app", {.together_with = {"cache"}})
                          .vm("cache")
                          .vm("db", {.together_with = {"cache"}})
                          .vm("web", {.away_from = {"db"}, .together_with = {"app"}})
                          .found();
  CHECK(lines == Lines{"vms.web.placement.away_from[db]: together_with binds web and db to one "
                       "node: web names app, app names cache, db names cache"});
}

TEST_CASE("check: a group that no node can take as a whole") {
  SECTION("memory; members that are stopped need none") {
    Declared cluster;
    cluster.node("n1", 4).node("n2", 6);
    cluster.vm("a", {.together_with = {"b", "c"}, .memory = 3}).vm("b", {.memory = 3});
    cluster.vm("c", {.memory = 3, .state = DesiredState::stopped});
    CHECK(cluster.found().empty());
    cluster.vm("c", {.memory = 3});
    CHECK(cluster.found() == Lines{"vms.a.placement.together_with: a, b, c together are larger "
                                   "than each of n1, n2, even if empty"});
  }
  SECTION("what it requires stands on different nodes") {
    const Lines lines = Declared()
                            .node("n1", 8, {"san-a"})
                            .node("n2", 8, {"san-b"})
                            .vm("a", {.needs = {"san-a"}})
                            .vm("b", {.together_with = {"a"}, .needs = {"san-b"}})
                            .found();
    CHECK(lines == Lines{"vms.b.placement.together_with: a, b together require san-a, san-b: "
                         "none of n1, n2 provides all of that"});
  }
  SECTION("allow leaves each another node") {
    const Lines lines = Declared()
                            .node("n1")
                            .node("n2")
                            .vm("a", {.allow = {"n1"}})
                            .vm("b", {.together_with = {"a"}})
                            .vm("c", {.together_with = {"b"}, .allow = {"n2"}})
                            .found();
    CHECK(lines == Lines{"vms.b.placement.together_with: allow and avoid leave no node to a, b, c "
                         "together: a may use n1; c may use n2"});
  }
  SECTION("what is wrong with a member alone is told once") {
    const Lines lines =
        Declared().node("n1", 4).vm("a", {.together_with = {"b"}, .memory = 5}).vm("b").found();
    CHECK(lines == Lines{"vms.a: is larger than each of n1, even if empty"});
  }
}

TEST_CASE("check: a keep-apart group larger than its hosts") {
  SECTION("whoever of the two says it") {
    Declared cluster;
    cluster.node("n1").node("n2");
    cluster.vm("a", {.away_from = {"b", "c"}}).vm("b", {.away_from = {"c"}}).vm("c");
    CHECK(cluster.found() == Lines{"vms.a.placement.away_from: away_from asks for more nodes than "
                                   "there are for a, b, c: only n1, n2 can take them"});
    cluster.node("n3");
    CHECK(cluster.found().empty());
  }
  SECTION("their nodes are those that are large enough and allowed") {
    const Lines lines = Declared()
                            .node("n1", 8)
                            .node("n2", 8)
                            .node("n3", 2)
                            .vm("a", {.away_from = {"b", "c"}, .memory = 4})
                            .vm("b", {.away_from = {"c"}, .memory = 4})
                            .vm("c", {.allow = {"n1", "n2"}})
                            .vm("d", {.away_from = {"a"}})
                            .found();
    CHECK(lines == Lines{"vms.a.placement.away_from: away_from asks for more nodes than there are "
                         "for a, b, c: only n1, n2 can take them"});
  }
  SECTION("different nodes for each") {
    const Lines lines = Declared()
                            .node("n1")
                            .node("n2")
                            .node("n3")
                            .vm("a", {.allow = {"n1"}})
                            .vm("b", {.allow = {"n1", "n2"}})
                            .vm("c", {.away_from = {"a", "b"}, .allow = {"n2"}})
                            .vm("d", {.away_from = {"a", "b", "c"}})
                            .vm("e", {.away_from = {"a", "b"}, .allow = {"n1", "n2"}})
                            .found();
    CHECK(lines.empty());  // a and b may share n1
    const Lines more = Declared()
                           .node("n1")
                           .node("n2")
                           .node("n3")
                           .vm("a", {.away_from = {"b"}, .allow = {"n1"}})
                           .vm("b", {.allow = {"n1", "n2"}})
                           .vm("c", {.away_from = {"a", "b"}, .allow = {"n2"}})
                           .found();
    CHECK(more == Lines{"vms.a.placement.away_from: away_from asks for more nodes than there are "
                        "for a, b, c: a may use n1; b may use n1, n2; c may use n2"});
  }
  SECTION("who is not to run needs no node") {
    const Lines lines = Declared()
                            .node("n1")
                            .vm("a", {.away_from = {"b"}})
                            .vm("b", {.state = DesiredState::stopped})
                            .found();
    CHECK(lines.empty());
  }
  SECTION("a group keeps apart as a whole") {
    const Lines lines = Declared()
                            .node("n1")
                            .node("n2")
                            .vm("a", {.together_with = {"x"}})
                            .vm("b", {.away_from = {"a"}})
                            .vm("c", {.away_from = {"x", "b"}})
                            .vm("x")
                            .found();
    CHECK(lines == Lines{"vms.b.placement.away_from: away_from asks for more nodes than there are "
                         "for a with x, b, c: only n1, n2 can take them"});
  }
}

TEST_CASE("check: preemptible has no effect on a group with a member that must run") {
  const Lines lines = Declared()
                          .node("n1")
                          .node("n2")
                          .vm("a", {.together_with = {"b"}, .preemptible = true})
                          .vm("b")
                          .vm("c", {.together_with = {"d"}, .preemptible = true})
                          .vm("d", {.preemptible = true})
                          .found();
  CHECK(lines == Lines{"warning: vms.a.preemptible: has no effect: together_with binds it to b, "
                       "which is not preemptible (a names b)"});
}

TEST_CASE("check: every impossible declaration is told at once") {
  const Lines lines = Declared()
                          .node("n1", 4)
                          .vm("a", {.away_from = {"b"}})
                          .vm("b")
                          .vm("c", {.memory = 5})
                          .vm("d", {.away_from = {"e"}, .together_with = {"e"}})
                          .vm("e")
                          .vm("f", {.needs = {"san"}})
                          .found();
  CHECK(lines == Lines{"vms.a.placement.away_from: away_from asks for more nodes than there are "
                       "for a, b: only n1 can take them",
                       "vms.c: is larger than each of n1, even if empty",
                       "vms.d.placement.away_from[e]: together_with binds d and e to one node: d "
                       "names e",
                       "vms.f: requires san: none of n1 provides that"});
}

TEST_CASE("check: a reserve of as many hosts as there are is a warning") {
  Declared cluster;
  cluster.node("n1").vm("a");
  cluster.config_.cluster.reserve_host_failures = 1;
  CHECK(cluster.found() == Lines{"warning: cluster.reserve.host_failures: is 1, and there is only "
                                 "1 node: that reserve can never hold, and admission does not ask "
                                 "for it"});
  CHECK(cluster.node("n2").found().empty());
}
