// What another daemon may multicast: messages and fragments; and the log's records of messages.
// runs: 15000
#include "clusterd/codec/wire.h"

#include "clusterd/base/assert.h"
#include "clusterd/codec/record.h"
#include "clusterd/codec/validate.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

template <class T>
const T* accepted(const std::variant<T, WireError>& decoded) {
  if (const auto* error = std::get_if<WireError>(&decoded)) fuzz::check_told(error->sentence());
  return std::get_if<T>(&decoded);
}

// Valid, with one encoding only, and as a record of the log it comes back with its digest.
void check_message(std::string_view bytes) {
  const auto decoded = decode(bytes);
  const Message* message = accepted(decoded);
  if (message == nullptr) return;
  CLUSTERD_ASSERT(validate(*message).empty());
  CLUSTERD_ASSERT(encode(*message) == bytes);

  const NodeId sender(7);
  const auto stored = decode_record(encode_record(sender, bytes));
  const Record* record = accepted(stored);
  CLUSTERD_ASSERT((record != nullptr) == is_log_entry(message->body));
  if (record == nullptr) return;
  CLUSTERD_ASSERT(record->sender == sender);
  CLUSTERD_ASSERT(record->digest == record_digest(sender, bytes));
  CLUSTERD_ASSERT(encode(record->message) == bytes);
}

void check_record(std::string_view bytes) {
  const auto decoded = decode_record(bytes);
  const Record* record = accepted(decoded);
  if (record == nullptr) return;
  CLUSTERD_ASSERT(is_log_entry(record->message.body));
  CLUSTERD_ASSERT(encode_record(record->sender, encode(record->message)) == bytes);
}

void check_fragment(std::string_view bytes) {
  const auto decoded = decode_fragment(bytes);
  const Fragment* fragment = accepted(decoded);
  if (fragment == nullptr) return;
  CLUSTERD_ASSERT(is_fragment(bytes));
  CLUSTERD_ASSERT(fragment->number < fragment->total);
  CLUSTERD_ASSERT(fragment->bytes.size() + kFragmentOverhead == bytes.size());
  CLUSTERD_ASSERT(encode(*fragment) == bytes);
}

}  // namespace

void fuzz_one(std::string_view input) {
  check_message(input);
  check_record(input);
  check_fragment(input);
}
