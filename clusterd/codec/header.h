// The header in front of everything encoded: four letters that tell the kind, and a version.
// Only codec/*.cc includes this.
#pragma once

#include <cstdint>
#include <string_view>

#include "clusterd/base/archive.h"

namespace clusterd::codec_detail {

inline constexpr std::string_view kMessageMagic = "CLDM";
inline constexpr std::string_view kFragmentMagic = "CLDF";
inline constexpr std::string_view kSnapshotMagic = "CLDS";
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kHeaderSize = 6;

inline void write_header(StringSink& sink, std::string_view magic) {
  sink.bytes(magic.data(), magic.size());
  write(sink, kVersion);
}

// Precondition: at least kHeaderSize bytes.
inline std::uint16_t version_of(std::string_view bytes) {
  std::uint16_t version = 0;
  Reader(bytes.substr(4, 2)).read(version);
  return version;
}

}  // namespace clusterd::codec_detail
