#include "clusterd/adapters/store/format.h"

#include <array>
#include <cstdio>
#include <optional>
#include <utility>

#include "clusterd/base/archive.h"

namespace clusterd {
namespace {

constexpr std::uint64_t kSnapshotMagic = 0x3130'5041'4e53'4c43;  // "CLSNAP01" in the file
constexpr std::uint64_t kLogMagic = 0x3130'3047'4f4c'4c43;       // "CLLOG001"
constexpr std::size_t kSnapshotHeader = 32;

template <class... Ts>
std::string packed(const Ts&... values) {
  StringSink sink;
  (write(sink, values), ...);
  return std::move(sink).take();
}

Digest log_digest(StoreGeneration generation) { return digest_of(packed(kLogMagic, generation)); }

Digest snapshot_digest(StoreGeneration generation, std::string_view payload) {
  Hasher hasher;
  write(hasher, kSnapshotMagic);
  write(hasher, generation);
  write(hasher, static_cast<std::uint64_t>(payload.size()));
  hasher.bytes(payload.data(), payload.size());
  return hasher.digest();
}

struct Position {
  std::uint64_t turn = 0;
  LogEnd end;
};

Digest position_digest(StoreGeneration generation, std::uint64_t turn, const LogEnd& end) {
  return digest_of(packed(generation, turn, end.offset, end.chain));
}

std::optional<Position> parse_position(std::string_view block, StoreGeneration generation) {
  Reader reader(block);
  Position position;
  Digest digest;
  reader.read(position.turn);
  reader.read(position.end.offset);
  reader.read(position.end.chain);
  reader.read(digest);
  if (!reader.ok() || digest != position_digest(generation, position.turn, position.end)) {
    return std::nullopt;
  }
  return position;
}

}  // namespace

std::string encode_snapshot(StoreGeneration generation, std::string_view payload) {
  std::string bytes = packed(kSnapshotMagic, generation, static_cast<std::uint64_t>(payload.size()),
                             snapshot_digest(generation, payload));
  bytes.append(payload);
  return bytes;
}

std::variant<SnapshotFile, Damage> parse_snapshot(std::string_view bytes) {
  Reader reader(bytes);
  std::uint64_t magic = 0;
  std::uint64_t length = 0;
  Digest digest;
  SnapshotFile file;
  reader.read(magic);
  reader.read(file.generation);
  reader.read(length);
  reader.read(digest);
  if (!reader.ok()) return Damage{"the snapshot is cut off"};
  if (magic != kSnapshotMagic) return Damage{"the snapshot is not one, or of another version"};
  const std::string_view payload = bytes.substr(kSnapshotHeader);
  if (payload.size() != length) return Damage{"the snapshot has another length than it says"};
  if (snapshot_digest(file.generation, payload) != digest) {
    return Damage{"the snapshot's checksum is wrong"};
  }
  file.payload = std::string(payload);
  return file;
}

std::string log_name(StoreGeneration generation) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "log-%016llx",
                static_cast<unsigned long long>(generation.value));
  return name.data();
}

std::string encode_empty_log(StoreGeneration generation) {
  std::string bytes = packed(kLogMagic, generation, log_digest(generation));
  bytes.resize(kLogStart, '\0');
  const std::string position = encode_position(generation, 1, empty_log_end(generation));
  bytes.replace(static_cast<std::size_t>(position_offset(1)), position.size(), position);
  return bytes;
}

LogEnd empty_log_end(StoreGeneration generation) { return {kLogStart, log_digest(generation)}; }

std::string encode_position(StoreGeneration generation, std::uint64_t turn, const LogEnd& end) {
  return packed(turn, end.offset, end.chain, position_digest(generation, turn, end));
}

std::uint64_t position_offset(std::uint64_t turn) { return kLogBlock * (1 + turn % 2); }

std::variant<LogFile, Damage> parse_log(std::string_view bytes, StoreGeneration generation) {
  if (bytes.size() < kLogStart) return Damage{"the log is cut off in its header"};
  if (!bytes.starts_with(packed(kLogMagic, generation, log_digest(generation)))) {
    return Damage{"the log's header is damaged, or of another log"};
  }
  std::optional<Position> newest;
  for (const std::uint64_t turn : {0U, 1U}) {
    const auto at = static_cast<std::size_t>(position_offset(turn));
    const auto position = parse_position(bytes.substr(at, kLogBlock), generation);
    if (position && (!newest || newest->turn < position->turn)) newest = position;
  }
  if (!newest) return Damage{"the log's acknowledged position is damaged"};

  LogFile log;
  log.end = empty_log_end(generation);
  log.turn = newest->turn;
  log.acknowledged = newest->end.offset;
  bool met = log.end.offset == newest->end.offset && log.end.chain == newest->end.chain;
  while (const auto payload = next_frame(bytes, log.end)) {
    log.records.emplace_back(*payload);
    met = met || (log.end.offset == newest->end.offset && log.end.chain == newest->end.chain);
  }
  if (!met) {
    return Damage{"the log is whole up to byte " + std::to_string(log.end.offset) + " only, but " +
                  std::to_string(newest->end.offset) + " had been acknowledged"};
  }
  return log;
}

}  // namespace clusterd
