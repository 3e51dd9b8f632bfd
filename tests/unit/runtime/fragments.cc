// Values that travel in pieces: order, overtaking, throttling, and the void after a view change.
#include <catch2/catch.hpp>

#include <deque>

#include "clusterd/runtime/outbox.h"
#include "clusterd/runtime/reassembly.h"

using namespace clusterd;

namespace {

constexpr GroupMember kSender{NodeId(2), 7};

struct FakeGroup final : Group {
  SendStatus multicast(std::string_view bytes) override {
    REQUIRE(bytes.size() <= kMaxMessage);
    if (status == SendStatus::queued) sent.emplace_back(bytes);
    return status;
  }
  void leave() override {}
  SendStatus status = SendStatus::queued;
  std::deque<std::string> sent;
};

std::string large(std::size_t size, char first = 'a') {
  std::string bytes(size, ' ');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(first + i % 23);
  return bytes;
}

Fragment fragment_of(const std::string& bytes) {
  auto decoded = decode_fragment(bytes);
  REQUIRE(std::holds_alternative<Fragment>(decoded));
  return std::get<Fragment>(decoded);
}

bool refused(const Reassembly::Outcome& outcome) {
  return std::holds_alternative<Reassembly::Refused>(outcome);
}

}  // namespace

TEST_CASE("fragments: a large value arrives whole, at its last fragment") {
  FakeGroup group;
  Outbox outbox(group, Incarnation(5));
  Reassembly reassembly;
  const std::string value = large(10 * Group::kMaxMessage + 17);
  REQUIRE(outbox.send(value));
  std::size_t delivered = 0;
  while (!group.sent.empty()) {
    const Fragment fragment = fragment_of(group.sent.front());
    group.sent.pop_front();
    ++delivered;
    const auto outcome = reassembly.add(kSender, fragment);
    outbox.on_own_fragment();
    if (fragment.number + 1 < fragment.total) {
      CHECK(std::holds_alternative<Reassembly::Incomplete>(outcome));
    } else {
      REQUIRE(std::holds_alternative<std::string>(outcome));
      CHECK(std::get<std::string>(outcome) == value);
    }
  }
  CHECK(delivered == 11);
  CHECK(outbox.empty());
  CHECK(reassembly.bytes() == 0);
}

TEST_CASE("fragments: only a few are under way, and small messages overtake them") {
  FakeGroup group;
  Outbox outbox(group, Incarnation(5));
  REQUIRE(outbox.send(large(20 * Group::kMaxMessage)));
  CHECK(group.sent.size() == Outbox::kFragmentsUnderWay);
  REQUIRE(outbox.send("small"));
  REQUIRE(group.sent.size() == Outbox::kFragmentsUnderWay + 1);
  CHECK(group.sent.back() == "small");
  outbox.on_own_fragment();
  CHECK(group.sent.size() == Outbox::kFragmentsUnderWay + 2);
}

TEST_CASE("fragments: a value that is incomplete at a view change is void") {
  Reassembly reassembly;
  CHECK(std::holds_alternative<Reassembly::Incomplete>(
      reassembly.add(kSender, {Incarnation(5), 1, 0, 2, "first "})));
  reassembly.reset();
  CHECK(reassembly.bytes() == 0);
  CHECK(refused(reassembly.add(kSender, {Incarnation(5), 1, 1, 2, "second"})));
}

TEST_CASE("fragments: out of order, repeated or inconsistent ones void their value only") {
  Reassembly reassembly;
  CHECK(refused(reassembly.add(kSender, {Incarnation(5), 1, 1, 3, "x"})));
  reassembly.reset();
  static_cast<void>(reassembly.add(kSender, {Incarnation(5), 2, 0, 3, "x"}));
  static_cast<void>(reassembly.add(kSender, {Incarnation(5), 3, 0, 2, "left "}));
  CHECK(refused(reassembly.add(kSender, {Incarnation(5), 2, 2, 3, "x"})));
  CHECK(refused(reassembly.add(kSender, {Incarnation(5), 2, 1, 3, "x"})));
  const auto whole = reassembly.add(kSender, {Incarnation(5), 3, 1, 2, "right"});
  REQUIRE(std::holds_alternative<std::string>(whole));
  CHECK(std::get<std::string>(whole) == "left right");
}

TEST_CASE("fragments: senders do not mix, and each has a bounded number of values") {
  Reassembly reassembly;
  const GroupMember other{NodeId(3), 7};
  static_cast<void>(reassembly.add(kSender, {Incarnation(5), 1, 0, 2, "a"}));
  static_cast<void>(reassembly.add(other, {Incarnation(6), 1, 0, 2, "b"}));
  const auto whole = reassembly.add(other, {Incarnation(6), 1, 1, 2, "B"});
  REQUIRE(std::holds_alternative<std::string>(whole));
  CHECK(std::get<std::string>(whole) == "bB");
  for (std::uint64_t n = 2; n <= Reassembly::kMaxValues; ++n) {
    CHECK_FALSE(refused(reassembly.add(kSender, {Incarnation(5), n, 0, 2, "a"})));
  }
  CHECK(refused(reassembly.add(kSender, {Incarnation(5), 99, 0, 2, "a"})));
}

TEST_CASE("outbox: what the group does not take waits in order until it is writable again") {
  FakeGroup group;
  Outbox outbox(group, Incarnation(5));
  group.status = SendStatus::try_again;
  REQUIRE(outbox.send("one"));
  REQUIRE(outbox.send("two"));
  CHECK(group.sent.empty());
  group.status = SendStatus::queued;
  outbox.on_writable();
  CHECK(group.sent == std::deque<std::string>{"one", "two"});
  CHECK(outbox.empty());
}

TEST_CASE("outbox: a view change drops what is not sent; the bound is kept") {
  FakeGroup group;
  Outbox outbox(group, Incarnation(5));
  group.status = SendStatus::try_again;
  for (std::size_t n = 0; n < Outbox::kMaxWaiting; ++n) REQUIRE(outbox.send("x"));
  CHECK_FALSE(outbox.send("one too many"));
  outbox.drop_all();
  CHECK(outbox.empty());
  group.status = SendStatus::queued;
  REQUIRE(outbox.send("new"));
  CHECK(group.sent == std::deque<std::string>{"new"});
}

TEST_CASE("outbox: a connection that is gone loses everything and blocks nothing") {
  FakeGroup group;
  Outbox outbox(group, Incarnation(5));
  group.status = SendStatus::failed;
  CHECK(outbox.send("lost"));
  CHECK(outbox.send(large(3 * Group::kMaxMessage)));
  CHECK(outbox.empty());
}
