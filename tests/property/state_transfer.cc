// A snapshot at any point and the log after it make the state that the whole log makes: through
// the codec, the store, and the group in pieces. On this rest joiners, restarts, and S5.
#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <vector>

#include "clusterd/codec/record.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/runtime/load.h"
#include "clusterd/runtime/outbox.h"
#include "clusterd/runtime/reassembly.h"
#include "tests/support/honest_world.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

// A log as the disk has it, and what it did on the way.
struct Story {
  std::vector<std::string> records;
  std::vector<std::string> refusals;
  std::vector<Digest> digests;         // after each record
  std::vector<std::string> snapshots;  // before each record, and the last one

  Story(std::uint64_t seed, std::size_t length) {
    HonestWorld world(seed);
    for (std::size_t i = 0; i < length; ++i) {
      snapshots.push_back(encode_state(world.state()));
      const LogEntry entry = world.next();
      records.push_back(encode_record(entry.sender, encode(entry.message)));
      refusals.push_back(world.deliver(entry));
      digests.push_back(state_digest(world.state()));
    }
    snapshots.push_back(encode_state(world.state()));
  }
};

ClusterState decoded(const std::string& snapshot) {
  auto state = decode_state(snapshot);
  if (const auto* error = std::get_if<WireError>(&state)) FAIL(error->sentence());
  return std::get<ClusterState>(std::move(state));
}

// Applies the records from `first` on; everything they do must be as it was.
void follow(const Story& story, ClusterState state, std::size_t first) {
  for (std::size_t i = first; i < story.records.size(); ++i) {
    CAPTURE(first, i);
    auto record = decode_record(story.records[i]);
    REQUIRE(std::holds_alternative<Record>(record));
    auto& entry = std::get<Record>(record);
    const std::string refusal =
        apply(state, {entry.sender, std::move(entry.message), entry.digest}).refusal;
    REQUIRE(refusal == story.refusals[i]);
    REQUIRE(state_digest(state) == story.digests[i]);
  }
}

// ---- the disk --------------------------------------------------------------------------------

struct FakeStore final : Store {
  Result<StoredState> load() override { return stored; }
  [[nodiscard]] Status try_write(std::size_t) override { return ok_status(); }
  Status append(std::string_view) override { return ok_status(); }
  void sync(LogIndex) override {}
  Status install(std::string_view) override { return ok_status(); }
  Status set_aside(std::string_view) override { return ok_status(); }
  StoredState stored;
};

struct NoHypervisor final : Hypervisor {
  void start(const DispatchStart&) override {}
  void stop(const DispatchStop&) override {}
  void revoke_and_look(const RevokeAndLook&) override {}
  void look_up(const LookUp&) override {}
  void list(const ListDomains&) override {}
  Status protect(VmId) override { return ok_status(); }
  std::set<VmId> protected_vms() const override { return {}; }
};

// ---- the group -------------------------------------------------------------------------------

// Takes what is sent, and now and then nothing for a while.
struct FakeGroup final : Group {
  explicit FakeGroup(Prng& chance) : prng(chance) {}
  SendStatus multicast(std::string_view bytes) override {
    REQUIRE(bytes.size() <= kMaxMessage);
    if (prng.chance(300)) return SendStatus::try_again;
    sent.emplace_back(bytes);
    return SendStatus::queued;
  }
  void leave() override {}
  Prng& prng;
  std::deque<std::string> sent;
};

struct Sender {
  Sender(Prng& prng, std::uint32_t id)
      : member{NodeId(id), id}, group(prng), outbox(group, Incarnation(id)) {}
  GroupMember member;
  FakeGroup group;
  Outbox outbox;
  std::vector<std::string> values;  // as they were sent; small ones may overtake large ones
  std::vector<std::string> arrived;
};

// All members deliver the senders' messages in one order, drawn here.
void deliver_all(Prng& prng, std::vector<Sender*> senders) {
  Reassembly reassembly;
  const auto waits = [](const Sender* sender) {
    return !sender->group.sent.empty() || !sender->outbox.empty();
  };
  while (std::any_of(senders.begin(), senders.end(), waits)) {
    Sender& sender = *senders[prng.below(senders.size())];
    sender.outbox.on_writable();
    if (sender.group.sent.empty()) continue;
    const std::string bytes = sender.group.sent.front();
    sender.group.sent.pop_front();
    if (!is_fragment(bytes)) {
      sender.arrived.push_back(bytes);
      continue;
    }
    auto fragment = decode_fragment(bytes);
    REQUIRE(std::holds_alternative<Fragment>(fragment));
    auto outcome = reassembly.add(sender.member, std::get<Fragment>(std::move(fragment)));
    sender.outbox.on_own_fragment();
    REQUIRE_FALSE(std::holds_alternative<Reassembly::Refused>(outcome));
    if (auto* whole = std::get_if<std::string>(&outcome)) sender.arrived.push_back(*whole);
  }
  REQUIRE(reassembly.bytes() == 0);
}

Message message_with(Body body) {
  Message message;
  message.incarnation = Incarnation(1);
  message.body = std::move(body);
  return message;
}

}  // namespace

TEST_CASE("state transfer property: a snapshot at any point and the log after it are the log") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    const Story story(seed, 200);
    Prng prng(seed);
    follow(story, decoded(story.snapshots.front()), 0);
    for (int i = 0; i < 4; ++i) {
      const std::size_t cut = prng.below(story.snapshots.size());
      follow(story, decoded(story.snapshots[cut]), cut);
    }
    for (const std::string& snapshot : story.snapshots) {
      REQUIRE(encode_state(decoded(snapshot)) == snapshot);
    }
  }
}

TEST_CASE("state transfer property: what the disk has, whenever it was cut, loads as it was") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Story story(seed, 150);
    Prng prng(seed);
    const std::size_t cut = prng.below(story.records.size());
    const std::size_t end = cut + prng.below(story.records.size() - cut) + 1;
    CAPTURE(seed, cut, end);
    FakeStore store;
    store.stored.condition = StoreCondition::intact;
    store.stored.snapshot = story.snapshots[cut];
    store.stored.records.assign(story.records.begin() + static_cast<std::ptrdiff_t>(cut),
                                story.records.begin() + static_cast<std::ptrdiff_t>(end));
    const NoHypervisor hypervisor;
    auto loaded = load(store, hypervisor, ClusterTime{});
    REQUIRE(loaded.ok());
    REQUIRE(loaded.value().start.condition == StoreCondition::intact);
    REQUIRE(loaded.value().records == end - cut);
    REQUIRE(encode_state(loaded.value().start.state) == story.snapshots[end]);

    // A single damaged byte anywhere: the node has nothing then, and says why.
    std::string& damaged = prng.chance(300)
                               ? store.stored.snapshot
                               : store.stored.records[prng.below(store.stored.records.size())];
    damaged.resize(prng.below(damaged.size()));
    loaded = load(store, hypervisor, ClusterTime{});
    REQUIRE(loaded.ok());
    REQUIRE(loaded.value().start.condition == StoreCondition::amnesiac);
    REQUIRE(loaded.value().start.state == ClusterState{});
    REQUIRE_FALSE(loaded.value().problem.empty());
  }
}

TEST_CASE("state transfer property: in pieces, among other messages, a state arrives as it was") {
  std::size_t in_pieces = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    const Story story(seed, 50);
    Sender giver(prng, 1);
    Sender other(prng, 2);
    for (Sender* sender : {&giver, &other}) {
      for (std::size_t i = 0; i < 12; ++i) {
        std::string value = story.records[prng.below(story.records.size())];
        if (i % 4 == 0) {
          std::string state;
          const std::size_t size = 1 + prng.below(6 * Group::kMaxMessage);
          while (state.size() < size) state += story.snapshots.back();
          value = encode(message_with(Snapshot{i, std::move(state)}));
        }
        if (value.size() > Group::kMaxMessage) ++in_pieces;
        sender->values.push_back(value);
        REQUIRE(sender->outbox.send(std::move(value)));
      }
    }
    deliver_all(prng, {&giver, &other});
    for (Sender* sender : {&giver, &other}) {
      for (std::vector<std::string>* values : {&sender->values, &sender->arrived}) {
        std::stable_partition(values->begin(), values->end(), [](const std::string& value) {
          return value.size() > Group::kMaxMessage;
        });
      }
      REQUIRE(sender->arrived == sender->values);
    }
  }
  CHECK(in_pieces > 20);
}
