// The state as bytes: round trip, damage, digest.
#include "clusterd/codec/snapshot.h"

#include <catch2/catch.hpp>

#include "clusterd/base/prng.h"
#include "tests/support/cluster_builder.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

ClusterState sample() {
  return ClusterBuilder()
      .node("n1")
      .node("n2")
      .backup("n3")
      .vm("web1", {.on = "n1"})
      .vm("web2", {.on = "n2"})
      .lose("n1")
      .build();
}

}  // namespace

TEST_CASE("snapshot: a state comes back as it was, with the same digest") {
  const ClusterState state = sample();
  const auto decoded = decode_state(encode_state(state));
  REQUIRE(std::holds_alternative<ClusterState>(decoded));
  CHECK(std::get<ClusterState>(decoded) == state);
  CHECK(state_digest(std::get<ClusterState>(decoded)) == state_digest(state));
  ClusterState other = state;
  other.vms.begin()->second.generation = other.vms.begin()->second.generation.next();
  CHECK(state_digest(other) != state_digest(state));
}

TEST_CASE("snapshot: every truncation and every flipped bit is noticed") {
  const std::string bytes = encode_state(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    if (std::holds_alternative<ClusterState>(decode_state(bytes.substr(0, size)))) {
      FAIL("cut to " << size << " bytes and accepted");
    }
  }
  Prng prng(4);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    const std::size_t at = prng.below(damaged.size());
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << prng.below(8)));
    if (std::holds_alternative<ClusterState>(decode_state(damaged))) {
      FAIL("bit flip at " << at << " accepted");
    }
  }
}
