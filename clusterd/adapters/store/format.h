// The files of a store, as bytes: how they are written, and what of them can be believed.
//
// snapshot     magic, generation, length, digest of all that, payload
// log-GENERATION
//   block 0    magic, generation, digest
//   block 1, 2 the acknowledged position, written in turn, so that one of them is always whole
//   then       records, as frames (base/frames.h); the first chain is the header's digest
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "clusterd/base/frames.h"
#include "clusterd/base/strong_id.h"

namespace clusterd {

// Which snapshot a log continues; +1 with every install.
using StoreGeneration = StrongId<struct StoreGenerationTag>;

using LogEnd = FrameEnd;

inline constexpr std::size_t kLogBlock = 4096;
inline constexpr std::size_t kLogStart = 3 * kLogBlock;
inline constexpr std::size_t kMaxRecord = 64 * 1024 * 1024;

struct Damage {
  std::string what;
};

struct SnapshotFile {
  StoreGeneration generation;
  std::string payload;
};
[[nodiscard]] std::string encode_snapshot(StoreGeneration generation, std::string_view payload);
[[nodiscard]] std::variant<SnapshotFile, Damage> parse_snapshot(std::string_view bytes);

[[nodiscard]] std::string log_name(StoreGeneration generation);

// A log without records, acknowledged as such.
[[nodiscard]] std::string encode_empty_log(StoreGeneration generation);
[[nodiscard]] LogEnd empty_log_end(StoreGeneration generation);

// "Up to here everything was durable": one block, and where it goes. `turn` counts up by one.
[[nodiscard]] std::string encode_position(StoreGeneration generation, std::uint64_t turn,
                                          const LogEnd& end);
[[nodiscard]] std::uint64_t position_offset(std::uint64_t turn);

struct LogFile {
  std::vector<std::string> records;
  LogEnd end;              // behind the last whole record; what follows is torn
  std::uint64_t turn = 0;  // of the newest acknowledged position
  std::uint64_t acknowledged = 0;  // its offset
};
// Damage: something that had been acknowledged is not there any more.
[[nodiscard]] std::variant<LogFile, Damage> parse_log(std::string_view bytes,
                                                      StoreGeneration generation);

}  // namespace clusterd
