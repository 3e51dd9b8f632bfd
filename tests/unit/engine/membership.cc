// Who may install a view, from which state, and when an Activate counts (R8-R10).
#include "clusterd/engine/membership.h"

#include <catch2/catch.hpp>

#include "clusterd/engine/apply.h"
#include "tests/support/cluster_builder.h"

using namespace clusterd;
using clusterd::test::numbered_uuid;

namespace {

constexpr NodeId n1{1};
constexpr NodeId n2{2};
constexpr NodeId n3{3};

// Three nodes, of which some have said Hello, all with intact states of epoch 5.
struct View {
  ViewChanged view;
  Hellos hellos;
  ClusterState state;

  View() {
    view.quorum.quorate = true;
    for (const NodeId id : {n1, n2, n3}) {
      view.members.push_back({id, 100 + id.value});
      view.ring.insert(id);
      view.quorum.names[id] = "n" + std::to_string(id.value);
      view.quorum.votes[id] = 1;
    }
  }
  Hello& says(NodeId id, Epoch epoch, LogIndex index) {
    HeardHello& heard = hellos[id];
    heard.incarnation = Incarnation(id.value);
    Hello& hello = heard.hello;
    hello.name = "n" + std::to_string(id.value);
    hello.machine.uuid = numbered_uuid(1, id.value);
    hello.boot.uuid = numbered_uuid(2, id.value);
    hello.cluster.uuid = numbered_uuid(3, 1);
    hello.condition = StoreCondition::intact;
    hello.accepted = true;
    hello.position.epoch = epoch;
    hello.position.index = index;
    return hello;
  }
  [[nodiscard]] Activate built(NodeId by) const {
    return build_activate(by, view, hellos, state, ClusterTime{});
  }
  [[nodiscard]] std::string check(NodeId by, const Activate& activate) const {
    return check_activate(by, activate, view, hellos);
  }
};

}  // namespace

TEST_CASE("membership: equal states are synced, older and other ones join") {
  View view;
  view.says(n1, Epoch(5), LogIndex(10));
  view.says(n2, Epoch(5), LogIndex(10));
  view.says(n3, Epoch(5), LogIndex(9));
  const Activate activate = view.built(n1);
  CHECK(activate.members.at(n1).phase == MemberPhase::synced);
  CHECK(activate.members.at(n2).phase == MemberPhase::synced);
  CHECK(activate.members.at(n3).phase == MemberPhase::joining);
  CHECK(activate.trusted);
  CHECK(view.check(n1, activate).empty());
}

TEST_CASE("membership: one with the same position but another history is not synced") {
  View view;
  view.says(n1, Epoch(5), LogIndex(10)).position.chain = Digest(1);
  view.says(n2, Epoch(5), LogIndex(10)).position.chain = Digest(2);
  CHECK(view.built(n1).members.at(n2).phase == MemberPhase::joining);
}

TEST_CASE("membership: the best state goes first, and an established history beats a longer one") {
  View view;
  view.says(n1, Epoch(9), LogIndex(90));
  view.says(n2, Epoch(6), LogIndex(10)).position.established = Epoch(6);
  view.says(n3, Epoch(9), LogIndex(91)).condition = StoreCondition::amnesiac;
  CHECK(candidates(view.hellos) == std::vector<NodeId>{n2, n1});
}

TEST_CASE("membership: who was not heard when the Activate was made, but has the better state") {
  View view;
  view.says(n1, Epoch(5), LogIndex(10));
  view.says(n2, Epoch(5), LogIndex(10));
  const Activate early = view.built(n1);
  REQUIRE(early.members.at(n3).boot == BootId{});
  SECTION("never speaks: it counts, and n3 is brought in later") {
    CHECK(view.check(n1, early).empty());
  }
  SECTION("speaks before it is delivered: it does not count") {
    view.says(n3, Epoch(5), LogIndex(11));
    CHECK(view.check(n1, early) == "a member has a better state");
    CHECK(view.check(n3, view.built(n3)).empty());
  }
  SECTION("is of another cluster: that is no better state") {
    view.says(n3, Epoch(6), LogIndex(11)).cluster.uuid = numbered_uuid(3, 2);
    CHECK(view.check(n1, early).empty());
  }
}

TEST_CASE("membership: the next epoch is greater than any that a member knows") {
  View view;
  view.says(n1, Epoch(9), LogIndex(90));
  view.says(n2, Epoch(6), LogIndex(10)).position.established = Epoch(6);
  const Activate activate = view.built(n2);
  CHECK(activate.epoch == Epoch(10));
  CHECK(view.check(n2, activate).empty());
}

TEST_CASE("membership: an Activate that tells untruths does not count") {
  View view;
  view.says(n1, Epoch(5), LogIndex(10));
  view.says(n2, Epoch(5), LogIndex(9));
  view.says(n3, Epoch(5), LogIndex(10));
  Activate activate = view.built(n1);
  REQUIRE(view.check(n1, activate).empty());
  SECTION("a member is missing") {
    activate.members.erase(n3);
  }
  SECTION("an older state is called synced") {
    activate.members.at(n2).phase = MemberPhase::synced;
  }
  SECTION("a boot is misquoted") {
    activate.members.at(n3).boot.uuid = numbered_uuid(7, 7);
  }
  SECTION("a daemon is misquoted") {
    activate.members.at(n3).incarnation = Incarnation(99);
  }
  SECTION("its epoch is one that was there") {
    activate.epoch = Epoch(5);
  }
  CHECK_FALSE(view.check(n1, activate).empty());
}

TEST_CASE("membership: trust needs intact states on a strict majority, or an unbroken chain") {
  View view;
  Hello& best = view.says(n1, Epoch(5), LogIndex(10));
  CHECK_FALSE(is_trusted(view.hellos, best, 3));
  SECTION("a second intact one of three") {
    view.says(n2, Epoch(4), LogIndex(1));
    CHECK(is_trusted(view.hellos, best, 3));
    CHECK_FALSE(is_trusted(view.hellos, best, 4));
  }
  SECTION("a second one that lost its data") {
    view.says(n2, Epoch(4), LogIndex(1)).condition = StoreCondition::amnesiac;
    CHECK_FALSE(is_trusted(view.hellos, best, 3));
  }
  SECTION("a member that never lost quorum") {
    best.unbroken = true;
    CHECK(is_trusted(view.hellos, best, 3));
  }
  SECTION("... but of an older epoch than the winner's") {
    Hello& other = view.says(n2, Epoch(4), LogIndex(1));
    other.unbroken = true;
    CHECK_FALSE(is_trusted(view.hellos, best, 5));
  }
}

TEST_CASE("membership: a late Hello opens the view again only if it knows more") {
  View view;
  const Hello opened_by = view.says(n1, Epoch(5), LogIndex(10));
  Hello late = view.says(n2, Epoch(5), LogIndex(99));
  CHECK_FALSE(reopens(late, opened_by, Epoch(6)));  // a longer log of an epoch that is over

  SECTION("it was in a later established epoch") {
    late.position.established = Epoch(1);
    CHECK(reopens(late, opened_by, Epoch(6)));
  }
  SECTION("it has used the epoch that the view took for new") {
    late.position.epoch = Epoch(6);
    CHECK(reopens(late, opened_by, Epoch(6)));
  }
  SECTION("not if its own state may have lost something") {
    late.position.epoch = Epoch(9);
    late.condition = StoreCondition::amnesiac;
    CHECK_FALSE(reopens(late, opened_by, Epoch(6)));
  }
  SECTION("not if it is another cluster's") {
    late.position.epoch = Epoch(9);
    late.cluster.uuid = numbered_uuid(3, 2);
    CHECK_FALSE(reopens(late, opened_by, Epoch(6)));
  }
}

TEST_CASE("membership: a cluster is founded by nodes that are all there, blank and free of VMs") {
  View view;
  for (const NodeId id : {n1, n2, n3}) {
    Hello& hello = view.says(id, Epoch(0), LogIndex(0));
    hello.condition = StoreCondition::blank;
    hello.cluster = ClusterId{};
  }
  Activate founding = view.built(n1);
  founding.founding = Founding{ClusterId{numbered_uuid(3, 1)}, "prod"};
  CHECK(view.check(n1, founding).empty());
  CHECK(view.check(n2, view.built(n2)) == "its sender has no intact state");
  std::string why;
  SECTION("not quorate") {
    view.view.quorum.quorate = false;
    why = "this node is not quorate";
  }
  SECTION("two are missing") {
    view.hellos.erase(n2);
    view.hellos.erase(n3);
    why = "every node of corosync.conf must run clusterd; missing: n2, n3";
  }
  SECTION("one was in a cluster") {
    view.hellos.at(n2).hello.condition = StoreCondition::amnesiac;
    why = "n2 already has a cluster's state: if it is to be given up, stop its daemon and move its "
          "state_dir away";
  }
  SECTION("one guards VMs") {
    view.hellos.at(n3).hello.ha_domains = true;
    why = "n3 guards VMs of an earlier cluster (state_dir/protected): remove them by hand when you "
          "know that nothing runs them";
  }
  CHECK(check_founding(view.view, view.hellos) == why);
  CHECK(view.check(n1, founding) == why);
}

TEST_CASE("membership: an Activate counts only from one who spoke, and quotes only what was said") {
  View view;
  view.says(n1, Epoch(5), LogIndex(10));
  view.says(n2, Epoch(5), LogIndex(10));
  Activate activate = view.built(n1);
  CHECK(view.check(n3, activate) == "its sender has not said Hello in this view");
  SECTION("a silent one is called synced") {
    activate.members.at(n3).phase = MemberPhase::synced;
    CHECK(view.check(n1, activate) == "a silent member cannot be synced");
  }
  SECTION("a silent one is given a boot") {
    activate.members.at(n3).boot.uuid = numbered_uuid(2, 3);
    CHECK(view.check(n1, activate) == "it knows a Hello that was not delivered");
  }
  SECTION("one begins demoted") {
    activate.members.at(n2).phase = MemberPhase::demoted;
    CHECK(view.check(n1, activate) == "a member cannot begin demoted");
  }
}

TEST_CASE("membership: who is admitted late changes nothing for the others") {
  ClusterState state = test::ClusterBuilder().node("n1").node("n2").node("n3").build();
  const auto say = [&](NodeId from, Body body) {
    const Member& sender = state.view.members.at(from);
    Message message{state.position.epoch, sender.incarnation, state.time, std::move(body)};
    return apply(state, {from, std::move(message), Digest(1)}).refusal;
  };
  // What the coordinator knew when it wrote the Activate, and what the log has said since.
  state.view.members.at(n2).phase = MemberPhase::joining;
  Activate admits;
  admits.epoch = state.position.epoch.next();
  admits.members = state.view.members;
  admits.votes = state.view.votes;
  admits.admits = true;
  state.view.members.at(n3) = Member{};
  REQUIRE(say(n2, Synced{}).empty());
  REQUIRE(say(n1, admits).empty());
  CHECK(state.view.members.at(n2).phase == MemberPhase::synced);
  CHECK(state.view.members.at(n3).boot == admits.members.at(n3).boot);
  CHECK(state.accepted);
}
