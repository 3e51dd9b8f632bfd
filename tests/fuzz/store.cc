// The files of the store, whole and damaged: nothing is believed that was not written, and nothing
// that was acknowledged gets lost without being noticed.
// runs: 25000
#include <algorithm>
#include <vector>

#include "clusterd/adapters/store/format.h"
#include "clusterd/base/assert.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

enum class Kind { none, changed_byte, cut_off, longer };

struct Damaged {
  std::string bytes;
  Kind kind = Kind::none;
};

// One damage of any kind and place, as the script says.
Damaged damage(std::string bytes, fuzz::Script& script) {
  const auto kind = static_cast<Kind>(script.byte() % 4);
  const std::size_t at =
      (script.number() | (static_cast<std::size_t>(script.byte()) << 16)) % bytes.size();
  const auto bits = script.byte();
  switch (kind) {
    case Kind::none:
      break;
    case Kind::changed_byte:
      if (bits == 0) return {std::move(bytes), Kind::none};
      bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ bits);
      break;
    case Kind::cut_off:
      bytes.resize(at);
      break;
    case Kind::longer:
      if (script.at_end()) return {std::move(bytes), Kind::none};
      bytes += script.rest();
      break;
  }
  return {std::move(bytes), kind};
}

void check_snapshot(StoreGeneration generation, std::string_view payload, fuzz::Script script) {
  const Damaged file = damage(encode_snapshot(generation, payload), script);
  const auto parsed = parse_snapshot(file.bytes);
  if (const auto* wrong = std::get_if<Damage>(&parsed)) fuzz::check_told(wrong->what);
  const auto* snapshot = std::get_if<SnapshotFile>(&parsed);
  CLUSTERD_ASSERT((snapshot != nullptr) == (file.kind == Kind::none));
  if (snapshot == nullptr) return;
  CLUSTERD_ASSERT(snapshot->generation == generation);
  CLUSTERD_ASSERT(snapshot->payload == payload);
}

// The records in a log whose position acknowledges the first of them, as FileStore writes it.
std::string log_of(StoreGeneration generation, const std::vector<std::string_view>& records,
                   std::size_t acknowledged) {
  std::string bytes = encode_empty_log(generation);
  LogEnd end = empty_log_end(generation);
  std::uint64_t turn = 1;
  for (std::size_t i = 0; i < records.size(); ++i) {
    append_frame(bytes, end, records[i]);
    if (i >= acknowledged) continue;
    const std::string position = encode_position(generation, ++turn, end);
    bytes.replace(static_cast<std::size_t>(position_offset(turn)), position.size(), position);
  }
  return bytes;
}

void check_log(StoreGeneration generation, const std::vector<std::string_view>& records,
               std::size_t acknowledged, fuzz::Script& script) {
  const Damaged file = damage(log_of(generation, records, acknowledged), script);
  const auto parsed = parse_log(file.bytes, generation);
  if (const auto* wrong = std::get_if<Damage>(&parsed)) fuzz::check_told(wrong->what);
  const auto* log = std::get_if<LogFile>(&parsed);
  if (log == nullptr) {
    CLUSTERD_ASSERT(file.kind == Kind::changed_byte || file.kind == Kind::cut_off);
    return;
  }
  CLUSTERD_ASSERT(log->records.size() >= acknowledged);
  const std::size_t same = std::min(log->records.size(), records.size());
  CLUSTERD_ASSERT(std::equal(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(same),
                             log->records.begin()));
  if (file.kind == Kind::none) CLUSTERD_ASSERT(log->records.size() == records.size());
  // What follows the known records can only be what was put there.
  if (log->records.size() > records.size()) CLUSTERD_ASSERT(file.kind == Kind::longer);
  CLUSTERD_ASSERT(log->acknowledged <= log->end.offset);
  CLUSTERD_ASSERT(log->end.offset <= file.bytes.size());
}

}  // namespace

// A script: generation, how many records, how many of them are acknowledged, the records as
// chunks, and one damage. All that is behind also is a file by itself.
void fuzz_one(std::string_view input) {
  fuzz::Script script(input);
  const StoreGeneration generation(script.byte());
  std::vector<std::string_view> records(script.byte() % 8U);
  const std::size_t acknowledged = script.byte() % (records.size() + 1);
  for (auto& record : records) record = script.chunk();
  check_snapshot(generation, records.empty() ? input : records.front(), script);
  check_log(generation, records, acknowledged, script);

  const auto parsed = parse_snapshot(input);
  if (const auto* file = std::get_if<SnapshotFile>(&parsed)) {
    CLUSTERD_ASSERT(encode_snapshot(file->generation, file->payload) == input);
  }
}
