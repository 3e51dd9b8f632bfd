#include "clusterd/codec/record.h"

#include "clusterd/base/archive.h"

namespace clusterd {
namespace {

constexpr std::size_t kSenderSize = sizeof(NodeId::value);

}  // namespace

std::string encode_record(NodeId sender, std::string_view message_bytes) {
  StringSink sink;
  write(sink, sender);
  sink.bytes(message_bytes.data(), message_bytes.size());
  return std::move(sink).take();
}

Digest record_digest(NodeId sender, std::string_view message_bytes) {
  Hasher hasher;
  write(hasher, sender);
  hasher.bytes(message_bytes.data(), message_bytes.size());
  return hasher.digest();
}

std::variant<Record, WireError> decode_record(std::string_view bytes) {
  if (bytes.size() < kSenderSize) return WireError{WireFault::too_short, ""};
  Record record;
  Reader(bytes.substr(0, kSenderSize)).read(record.sender);
  auto decoded = decode(bytes.substr(kSenderSize));
  if (auto* error = std::get_if<WireError>(&decoded)) return std::move(*error);
  record.message = std::move(std::get<Message>(decoded));
  if (!is_log_entry(record.message.body)) {
    return WireError{WireFault::invalid, "not a log entry"};
  }
  record.digest = digest_of(bytes);
  return record;
}

}  // namespace clusterd
