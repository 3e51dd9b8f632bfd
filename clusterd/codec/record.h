// Record: a log entry on disk: who sent it, and the message's bytes as the group delivered them.
//
// The digest covers both; it is what apply chains, so that the record and the delivery agree.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "clusterd/base/digest.h"
#include "clusterd/codec/wire.h"

namespace clusterd {

struct Record {
  NodeId sender;
  Message message;
  Digest digest;
};

[[nodiscard]] std::string encode_record(NodeId sender, std::string_view message_bytes);
// Of the bytes that encode_record makes, without making them.
[[nodiscard]] Digest record_digest(NodeId sender, std::string_view message_bytes);
[[nodiscard]] std::variant<Record, WireError> decode_record(std::string_view bytes);

}  // namespace clusterd
