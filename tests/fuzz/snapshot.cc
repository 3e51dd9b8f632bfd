// A state as bytes: what a joiner is sent, and what lies on the disk.
// runs: 10000
#include "clusterd/codec/snapshot.h"

#include "clusterd/base/archive.h"
#include "clusterd/base/assert.h"
#include "clusterd/codec/validate.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

// Valid, and with one encoding only.
void check_state(std::string_view bytes) {
  const auto decoded = decode_state(bytes);
  if (const auto* error = std::get_if<WireError>(&decoded)) fuzz::check_told(error->sentence());
  const auto* state = std::get_if<ClusterState>(&decoded);
  if (state == nullptr) return;
  CLUSTERD_ASSERT(validate(*state).empty());
  CLUSTERD_ASSERT(encode_state(*state) == bytes);
}

}  // namespace

// As it is, and as the body of a snapshot with the right checksum.
void fuzz_one(std::string_view input) {
  check_state(input);
  StringSink sink;
  const std::string header = encode_state({}).substr(0, 6);
  sink.bytes(header.data(), header.size());
  write(sink, digest_of(input));
  sink.bytes(input.data(), input.size());
  check_state(std::move(sink).take());
}
