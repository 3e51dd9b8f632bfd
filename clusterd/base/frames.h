// Frames: records one behind the other, each with its length and a checksum; the store's log and
// recordings are made of them.
//
// A frame's chain is the digest of the chain before it, its length and its payload: no frame is
// believed behind another one, or in another file, than it was written in. FNV-1a changes with
// every single byte, so that one flipped byte is always seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "clusterd/base/digest.h"

namespace clusterd {

// Where frames end: the next one begins there and continues this chain.
struct FrameEnd {
  std::uint64_t offset = 0;
  Digest chain;
};

inline constexpr std::size_t kFrameHeader = 12;
inline constexpr std::size_t kMaxFrame = 256 * 1024 * 1024;  // bytes of one payload

// Appends a frame's bytes to `out` and moves `end` behind it. Precondition: at most kMaxFrame.
void append_frame(std::string& out, FrameEnd& end, std::string_view payload);

// The payload of the frame that begins at `end`, which moves behind it; nothing, and `end` stays,
// when there is no whole one. Precondition: end.offset is within `bytes`.
[[nodiscard]] std::optional<std::string_view> next_frame(std::string_view bytes, FrameEnd& end);

}  // namespace clusterd
