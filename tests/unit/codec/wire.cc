// The wire format: every kind round-trips, and nothing that arrives can do harm.
#include "clusterd/codec/wire.h"

#include <catch2/catch.hpp>

#include "clusterd/base/prng.h"
#include "clusterd/codec/record.h"
#include "clusterd/codec/validate.h"
#include "tests/unit/codec/samples.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

const Message* accepted(const std::variant<Message, WireError>& decoded) {
  return std::get_if<Message>(&decoded);
}

WireFault fault_of(const std::variant<Message, WireError>& decoded) {
  REQUIRE(std::holds_alternative<WireError>(decoded));
  return std::get<WireError>(decoded).fault;
}

// What decodes must be valid and must have exactly one encoding.
void check_canonical(const std::string& bytes) {
  const auto decoded = decode(bytes);
  const Message* message = accepted(decoded);
  if (message == nullptr) return;
  if (encode(*message) != bytes || !validate(*message).empty()) {
    FAIL("a mutated message decodes to something that encodes differently");
  }
}

}  // namespace

TEST_CASE("wire: one message of every kind comes back as it was") {
  const auto samples = sample_messages();
  std::set<std::size_t> kinds;
  for (const Message& message : samples) {
    kinds.insert(message.body.index());
    const std::string bytes = encode(message);
    const auto decoded = decode(bytes);
    INFO("kind " << message.body.index());
    if (const auto* error = std::get_if<WireError>(&decoded)) FAIL(error->sentence());
    CHECK(encode(std::get<Message>(decoded)) == bytes);
  }
  CHECK(kinds.size() == std::variant_size_v<Body>);
}

TEST_CASE("wire: every truncation and every trailing byte of every kind is refused") {
  for (const Message& message : sample_messages()) {
    const std::string bytes = encode(message);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      if (accepted(decode(bytes.substr(0, size))) != nullptr) {
        FAIL("kind " << message.body.index() << " cut to " << size << " bytes is accepted");
      }
    }
    CHECK(fault_of(decode(bytes + '\0')) == WireFault::malformed);
  }
}

TEST_CASE("wire: a hundred thousand random mutations do no harm") {
  Prng prng(1);
  std::vector<std::string> samples;
  for (const Message& message : sample_messages()) samples.push_back(encode(message));
  for (int i = 0; i < 100000; ++i) {
    std::string bytes = samples[prng.below(samples.size())];
    const auto changes = prng.between(1, 4);
    for (std::int64_t n = 0; n < changes; ++n) {
      const std::size_t at = prng.below(bytes.size());
      switch (prng.below(4)) {
        case 0: bytes[at] = static_cast<char>(prng.below(256)); break;
        case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << prng.below(8))); break;
        case 2: bytes.insert(at, 1, static_cast<char>(prng.below(256))); break;
        default: bytes.erase(at, 1 + prng.below(8)); break;
      }
      if (bytes.empty()) break;
    }
    check_canonical(bytes);
  }
}

TEST_CASE("wire: random bytes behind a valid header do no harm") {
  Prng prng(2);
  const std::string header = encode(sample_messages().front()).substr(0, 6);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = header;
    const auto size = prng.below(200);
    for (std::uint64_t n = 0; n < size; ++n) bytes += static_cast<char>(prng.below(256));
    check_canonical(bytes);
  }
}

TEST_CASE("wire: every refusal says why") {
  const std::string bytes = encode(sample_messages().front());
  CHECK(fault_of(decode("CLD")) == WireFault::too_short);
  CHECK(fault_of(decode("hello, world")) == WireFault::not_ours);
  std::string newer = bytes;
  newer[4] = 2;
  CHECK(fault_of(decode(newer)) == WireFault::version);
  Message anonymous = sample_of(Advance{});
  anonymous.incarnation = Incarnation{};
  CHECK(fault_of(decode(encode(anonymous))) == WireFault::invalid);
  for (int i = 0; i <= static_cast<int>(enum_last(WireFault{})); ++i) {
    CHECK_FALSE(name_of(static_cast<WireFault>(i)).empty());
  }
}

TEST_CASE("wire: fragments come back, and claims out of bounds are refused") {
  const Fragment fragment{Incarnation(3), 9, 1, 3, "piece"};
  const std::string bytes = encode(fragment);
  CHECK(is_fragment(bytes));
  CHECK_FALSE(is_fragment(encode(sample_messages().front())));
  const auto decoded = decode_fragment(bytes);
  REQUIRE(std::holds_alternative<Fragment>(decoded));
  CHECK(std::get<Fragment>(decoded).bytes == "piece");
  CHECK(bytes.size() == kFragmentOverhead + 5);
  for (const Fragment& wrong :
       {Fragment{Incarnation(0), 9, 1, 3, "x"}, Fragment{Incarnation(3), 9, 3, 3, "x"},
        Fragment{Incarnation(3), 9, 0, 0, "x"}, Fragment{Incarnation(3), 9, 0, 1, ""},
        Fragment{Incarnation(3), 9, 0, 0xffffffff, "x"}}) {
    CHECK(std::holds_alternative<WireError>(decode_fragment(encode(wrong))));
  }
}

TEST_CASE("record: a log record tells sender, message and the digest over both") {
  const std::string message = encode(sample_of(Advance{}));
  const std::string record = encode_record(NodeId(4), message);
  const auto decoded = decode_record(record);
  REQUIRE(std::holds_alternative<Record>(decoded));
  CHECK(std::get<Record>(decoded).sender == NodeId(4));
  CHECK(std::get<Record>(decoded).digest == record_digest(NodeId(4), message));
  CHECK(record_digest(NodeId(4), message) != record_digest(NodeId(5), message));
  for (std::size_t size = 0; size < record.size(); ++size) {
    CHECK(std::holds_alternative<WireError>(decode_record(record.substr(0, size))));
  }
  const std::string ack = encode_record(NodeId(4), encode(sample_of(Ack{})));
  CHECK(std::holds_alternative<WireError>(decode_record(ack)));
}
