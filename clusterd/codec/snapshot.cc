#include "clusterd/codec/snapshot.h"

#include "clusterd/codec/header.h"
#include "clusterd/codec/validate.h"

namespace clusterd {
namespace {

using namespace codec_detail;

constexpr std::size_t kChecksumSize = sizeof(Digest::value);

}  // namespace

std::string encode_state(const ClusterState& state) {
  StringSink body;
  write(body, state);
  const std::string bytes = std::move(body).take();
  StringSink sink;
  write_header(sink, kSnapshotMagic);
  write(sink, digest_of(bytes));
  sink.bytes(bytes.data(), bytes.size());
  return std::move(sink).take();
}

std::variant<ClusterState, WireError> decode_state(std::string_view bytes) {
  if (bytes.size() < kHeaderSize + kChecksumSize) return WireError{WireFault::too_short, ""};
  if (bytes.size() > limits::kSnapshot) return WireError{WireFault::too_long, ""};
  if (bytes.substr(0, kSnapshotMagic.size()) != kSnapshotMagic) {
    return WireError{WireFault::not_ours, ""};
  }
  if (const auto version = version_of(bytes); version != kVersion) {
    return WireError{WireFault::version, std::to_string(version)};
  }
  Digest checksum;
  Reader(bytes.substr(kHeaderSize, kChecksumSize)).read(checksum);
  const auto body = bytes.substr(kHeaderSize + kChecksumSize);
  if (digest_of(body) != checksum) return WireError{WireFault::malformed, "checksum"};
  ClusterState state;
  Reader reader(body);
  reader.read(state);
  if (!reader.complete()) return WireError{WireFault::malformed, ""};
  if (auto problem = validate(state); !problem.empty()) {
    return WireError{WireFault::invalid, std::move(problem)};
  }
  return state;
}

Digest state_digest(const ClusterState& state) {
  Hasher hasher;
  write(hasher, state);
  return hasher.digest();
}

}  // namespace clusterd
