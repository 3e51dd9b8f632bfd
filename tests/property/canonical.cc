// The canonical encoding, for random values of every type that travels or is stored.
//
// One value, one encoding: what decodes encodes to the very bytes it came from, so that equal
// digests mean equal states, and nobody can write one message in two ways.
#include <catch2/catch.hpp>

#include "clusterd/codec/record.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/codec/validate.h"
#include "clusterd/model/control.h"
#include "tests/support/random_value.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

template <class T>
std::string bytes_of(const T& value) {
  StringSink sink;
  write(sink, value);
  return std::move(sink).take();
}

// True if the bytes decode; then they must be the encoding of what they decode to.
template <class T>
bool decodes_canonically(std::string_view bytes) {
  T value{};
  Reader reader(bytes);
  reader.read(value);
  if (!reader.complete()) return false;
  if (bytes_of(value) != bytes) FAIL("other bytes than those of the value were accepted");
  return true;
}

// Hands `visit` many values of every alternative.
template <class Variant, class Visit>
void every_alternative(std::uint64_t rounds, std::uint64_t odd, Visit visit) {
  for (std::size_t index = 0; index < std::variant_size_v<Variant>; ++index) {
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
      CAPTURE(index, seed);
      Prng prng(seed);
      Variant value;
      RandomValue(prng, odd).fill_alternative(value, index);
      visit(value, prng);
    }
  }
}

char changed(char byte, std::uint64_t flip) {
  return static_cast<char>(static_cast<std::uint64_t>(byte) ^ flip);
}

template <class T>
void check_damage(const T& value, Prng& prng) {
  const std::string bytes = bytes_of(value);
  REQUIRE(decodes_canonically<T>(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    if (decodes_canonically<T>(std::string_view(bytes).substr(0, size))) {
      FAIL("cut to " << size << " of " << bytes.size() << " bytes and accepted");
    }
  }
  std::string damaged = bytes;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const std::uint64_t flip : {std::uint64_t{1}, 1 + prng.below(255), std::uint64_t{0x80}}) {
      damaged[at] = changed(bytes[at], flip);
      static_cast<void>(decodes_canonically<T>(damaged));
    }
    damaged[at] = bytes[at];
  }
  if (decodes_canonically<T>(bytes + '\0')) FAIL("a byte is left over and accepted");
}

Message message_with(const Body& body, Prng& prng, std::uint64_t odd) {
  Message message = RandomValue(prng, odd).make<Message>();
  message.body = body;
  return message;
}

}  // namespace

TEST_CASE("canonical property: requests and replies, cut anywhere or with any byte changed") {
  every_alternative<ControlRequest>(
      12, 20, [](const ControlRequest& value, Prng& prng) { check_damage(value, prng); });
  every_alternative<ControlRequest>(
      12, 0, [](const ControlRequest& value, Prng&) { REQUIRE(validate(value) == ""); });
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    check_damage(RandomValue(prng, 20).make<ControlReply>(), prng);
  }
}

TEST_CASE("canonical property: messages, cut anywhere or with any byte changed") {
  every_alternative<Body>(12, 20, [](const Body& body, Prng& prng) {
    check_damage(message_with(body, prng, 20), prng);
  });
}

TEST_CASE("canonical property: decode takes exactly the messages that validate takes") {
  std::map<std::size_t, std::uint64_t> valid;
  std::uint64_t invalid = 0;
  const auto judge = [&](const Body& body, Prng& prng, std::uint64_t odd) {
    const Message message = message_with(body, prng, odd);
    const std::string bytes = encode(message);
    const auto decoded = decode(bytes);
    const auto* back = std::get_if<Message>(&decoded);
    REQUIRE((back != nullptr) == validate(message).empty());
    ++(back != nullptr ? valid[body.index()] : invalid);
    const auto record = decode_record(encode_record(NodeId(7), bytes));
    const auto* stored = std::get_if<Record>(&record);
    REQUIRE((stored != nullptr) == (back != nullptr && is_log_entry(body)));
    if (back == nullptr) return;
    REQUIRE(encode(*back) == bytes);
    if (stored == nullptr) return;
    REQUIRE(encode(stored->message) == bytes);
    REQUIRE(stored->digest == record_digest(NodeId(7), bytes));
  };
  every_alternative<Body>(60, 0, [&](const Body& body, Prng& prng) { judge(body, prng, 0); });
  every_alternative<Body>(60, 30, [&](const Body& body, Prng& prng) { judge(body, prng, 30); });
  // A generator that makes only easy or only refused values would prove nothing.
  for (std::size_t index = 0; index < std::variant_size_v<Body>; ++index) {
    CAPTURE(index);
    CHECK(valid[index] >= 20);
  }
  CHECK(invalid > 100);
}

TEST_CASE("canonical property: a damaged message is refused or is another valid message") {
  every_alternative<Body>(8, 0, [](const Body& body, Prng& prng) {
    const std::string bytes = encode(message_with(body, prng, 0));
    std::string damaged = bytes;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      damaged[at] = changed(bytes[at], 1 + prng.below(255));
      const auto decoded = decode(damaged);
      const auto* message = std::get_if<Message>(&decoded);
      if (message != nullptr && (encode(*message) != damaged || !validate(*message).empty())) {
        FAIL("byte " << at << " changed: it decodes to something that encodes differently");
      }
      damaged[at] = bytes[at];
    }
  });
}

TEST_CASE("canonical property: whole states come back equal, and damage is noticed") {
  std::uint64_t valid = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    const auto state = RandomValue(prng, seed % 3 == 0 ? 5 : 0).make<ClusterState>();
    const std::string bytes = encode_state(state);
    const auto decoded = decode_state(bytes);
    const auto* back = std::get_if<ClusterState>(&decoded);
    REQUIRE((back != nullptr) == validate(state).empty());
    if (back != nullptr) {
      REQUIRE(*back == state);
      REQUIRE(state_digest(*back) == state_digest(state));
      ++valid;
    }
    REQUIRE(decodes_canonically<ClusterState>(bytes_of(state)));
    for (int i = 0; i < 40; ++i) {
      std::string damaged = bytes;
      const std::size_t at = prng.below(damaged.size());
      damaged[at] = changed(damaged[at], 1 + prng.below(255));
      if (std::holds_alternative<ClusterState>(decode_state(damaged))) {
        FAIL("byte " << at << " changed and accepted");
      }
      if (std::holds_alternative<ClusterState>(
              decode_state(std::string_view(bytes).substr(0, at)))) {
        FAIL("cut to " << at << " bytes and accepted");
      }
    }
  }
  CHECK(valid >= 50);
}
