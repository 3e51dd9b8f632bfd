#include "clusterd/adapters/corosync/view_pairing.h"

#include <catch2/catch.hpp>

namespace clusterd {
namespace {

using Kind = GroupChangeKind;

const GroupMember kOne{NodeId(1), 10};
const GroupMember kTwo{NodeId(2), 20};
const GroupMember kThree{NodeId(3), 30};
const RingId kFirst{1, 4};
const RingId kSecond{1, 8};
const RingId kThird{1, 12};

std::string text_of(const std::set<NodeId>& nodes) {
  std::string text;
  for (const NodeId node : nodes) text += std::to_string(node.value);
  return text;
}

// Writes the story down: "view 123/123 quorate", "message a".
class Listener final : public GroupListener {
 public:
  void on_view(const ViewChanged& view) override {
    std::string members;
    for (const auto& member : view.members) members += std::to_string(member.node.value);
    story.push_back("view " + members + "/" + text_of(view.ring) + shown(view.quorum));
  }
  void on_quorum(const QuorumChanged& quorum) override {
    story.push_back("quorum" + shown(quorum.quorum));
  }
  void on_silent(const std::set<NodeId>&) override {}
  void on_message(GroupMember, std::string_view bytes) override {
    story.push_back("message " + std::string(bytes));
  }
  void on_lost(const std::string&) override {}
  void on_writable() override {}

  std::vector<std::string> take() { return std::exchange(story, {}); }

 private:
  static std::string shown(const QuorumFacts& facts) {
    return std::string(facts.quorate ? " quorate" : " not quorate") +
           (facts.device_votes == 0 ? "" : " device");
  }
  std::vector<std::string> story;
};

QuorumSnapshot snapshot(RingId ring, std::set<NodeId> nodes, bool quorate) {
  QuorumSnapshot made{ring, std::move(nodes), {}};
  made.facts.quorate = quorate;
  return made;
}

const std::set<NodeId> kAll{NodeId(1), NodeId(2), NodeId(3)};
const std::set<NodeId> kPair{NodeId(1), NodeId(2)};

using Story = std::vector<std::string>;

// Node 1 in a calm ring of three, story told.
struct Calm {
  Calm() {
    pairing.group_changed({kOne, kTwo, kThree}, Kind::within_ring);
    pairing.ring_changed(kFirst, kAll);
    pairing.quorum_known(snapshot(kFirst, kAll, true));
    flush();
  }
  Story flush() {
    pairing.flush(listener);
    return listener.take();
  }
  ViewPairing pairing{kOne};
  Listener listener;
};

TEST_CASE("view pairing: nothing is told before CPG and quorum agree") {
  ViewPairing pairing(kOne);
  Listener listener;
  pairing.ring_changed(kFirst, kAll);  // may come before this process is a member
  pairing.quorum_known(snapshot(kFirst, kAll, true));
  pairing.flush(listener);
  CHECK(listener.take().empty());
  CHECK(pairing.waiting());
  pairing.group_changed({kTwo, kOne}, Kind::within_ring);
  pairing.ring_changed(kFirst, kAll);  // told twice
  pairing.message(kTwo, "a");
  pairing.flush(listener);
  CHECK(listener.take() == Story{"view 12/123 quorate", "message a"});
  CHECK_FALSE(pairing.waiting());
  CHECK(pairing.held_bytes() == 0);
}

TEST_CASE("view pairing: messages wait for the view they were delivered in") {
  Calm calm;
  calm.pairing.message(kTwo, "old");
  calm.pairing.group_changed({kOne, kTwo}, Kind::with_ring);
  calm.pairing.ring_changed(kSecond, kPair);
  calm.pairing.message(kTwo, "new");
  CHECK(calm.flush() == Story{"message old"});
  CHECK(calm.pairing.waiting());
  calm.pairing.quorum_known(snapshot(kSecond, kPair, true));
  CHECK(calm.flush() == Story{"view 12/12 quorate", "message new"});
}

TEST_CASE("view pairing: quorum may speak first") {
  Calm calm;
  calm.pairing.quorum_known(snapshot(kSecond, kPair, true));
  CHECK(calm.flush().empty());
  calm.pairing.message(kThree, "last words");
  calm.pairing.group_changed({kOne, kTwo}, Kind::with_ring);
  calm.pairing.ring_changed(kSecond, kPair);
  CHECK(calm.flush() == Story{"message last words", "view 12/12 quorate"});
}

TEST_CASE("view pairing: a daemon that comes and goes takes the data of its ring") {
  Calm calm;
  calm.pairing.group_changed({kOne, kTwo}, Kind::within_ring);
  calm.pairing.message(kTwo, "a");
  calm.pairing.group_changed({kOne, kTwo, kThree}, Kind::within_ring);
  CHECK(calm.flush() ==
        Story{"view 12/123 quorate", "message a", "view 123/123 quorate"});
}

TEST_CASE("view pairing: a daemon stops with its host, quorum is ahead") {
  Calm calm;
  calm.pairing.quorum_known(snapshot(kSecond, kPair, true));
  calm.pairing.group_changed({kOne, kTwo}, Kind::within_ring);
  calm.pairing.message(kTwo, "a");
  calm.pairing.ring_changed(kSecond, kPair);
  CHECK(calm.flush() == Story{"view 12/123 quorate", "message a", "view 12/12 quorate"});
}

TEST_CASE("view pairing: lost quorum is told at once, gained quorum with its view") {
  Calm calm;
  calm.pairing.quorum_lost();
  CHECK(calm.flush() == Story{"quorum not quorate"});
  calm.pairing.group_changed({kOne}, Kind::with_ring);
  calm.pairing.ring_changed(kSecond, {NodeId(1)});
  calm.pairing.quorum_known(snapshot(kThird, kAll, true));
  CHECK(calm.flush().empty());
  calm.pairing.group_changed({kOne, kTwo, kThree}, Kind::with_ring);
  calm.pairing.ring_changed(kThird, kAll);
  CHECK(calm.flush() == Story{"view 123/123 quorate"});
}

TEST_CASE("view pairing: an older ring's quorum never outlives its loss") {
  Calm calm;
  calm.pairing.quorum_lost();
  calm.pairing.group_changed({kOne, kTwo}, Kind::within_ring);
  CHECK(calm.flush() == Story{"quorum not quorate", "view 12/123 not quorate"});
}

TEST_CASE("view pairing: a ring that quorum never confirmed claims nothing") {
  Calm calm;
  calm.pairing.group_changed({kOne, kTwo}, Kind::with_ring);
  calm.pairing.ring_changed(kSecond, kPair);
  calm.pairing.message(kTwo, "between");
  calm.pairing.group_changed({kOne, kTwo, kThree}, Kind::with_ring);
  calm.pairing.ring_changed(kThird, kAll);
  CHECK(calm.flush() == Story{"view 12/12 not quorate", "message between"});
  calm.pairing.quorum_known(snapshot(kThird, kAll, true));
  CHECK(calm.flush() == Story{"view 123/123 quorate"});
}

TEST_CASE("view pairing: a ring without messages that quorum never confirmed is skipped") {
  Calm calm;
  calm.pairing.group_changed({kOne, kTwo}, Kind::with_ring);
  calm.pairing.ring_changed(kSecond, kPair);
  calm.pairing.group_changed({kOne, kTwo, kThree}, Kind::with_ring);
  calm.pairing.ring_changed(kThird, kAll);
  calm.pairing.message(kTwo, "a");
  calm.pairing.quorum_known(snapshot(kThird, kAll, true));
  CHECK(calm.flush() == Story{"view 123/123 quorate", "message a"});
}

TEST_CASE("view pairing: a node that slept is told a new view though the members are the same") {
  Calm calm;
  calm.pairing.group_changed({kOne}, Kind::with_ring);
  calm.pairing.group_changed({kOne, kTwo, kThree}, Kind::with_ring);
  calm.pairing.ring_changed(kSecond, kAll);
  calm.pairing.quorum_known(snapshot(kSecond, kAll, true));
  CHECK(calm.flush() == Story{"view 123/123 quorate"});
}

TEST_CASE("view pairing: votes that change inside a view are told once") {
  Calm calm;
  auto with_device = snapshot(kFirst, kAll, true);
  with_device.facts.device_votes = 1;
  calm.pairing.quorum_known(with_device);
  CHECK(calm.flush() == Story{"quorum quorate device"});
  calm.pairing.quorum_known(with_device);
  CHECK(calm.flush().empty());
}

TEST_CASE("view pairing: the story ends when this process is out") {
  Calm calm;
  calm.pairing.message(kTwo, "last");
  calm.pairing.group_changed({kTwo, kThree}, Kind::within_ring);
  calm.pairing.message(kTwo, "not ours");
  CHECK(calm.flush() == Story{"message last"});
  CHECK(calm.pairing.gone());
}

}  // namespace
}  // namespace clusterd
