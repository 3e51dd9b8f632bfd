// Wire: Message <-> bytes, with magic and version, total and bounded (protocol R29).
//
// The same bytes travel over the group and stand in the log on disk. A message that does not
// decode or validate is refused by every member alike; the reason is typed for the metrics.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "clusterd/model/message.h"

namespace clusterd {

enum class WireFault : std::uint8_t {
  too_short,
  too_long,
  not_ours,   // wrong magic
  version,    // a newer (or never released) encoding
  malformed,  // does not decode, or bytes are left over
  invalid,    // decodes, but a value is out of its bounds
};
constexpr WireFault enum_last(WireFault) { return WireFault::invalid; }
[[nodiscard]] std::string_view name_of(WireFault fault);

struct WireError {
  WireFault fault = WireFault::malformed;
  std::string detail;

  [[nodiscard]] std::string sentence() const;
};

[[nodiscard]] std::string encode(const Message& message);
[[nodiscard]] std::variant<Message, WireError> decode(std::string_view bytes);

// A value that is cut into pieces for the group (larger than Group::kMaxMessage). The pieces of
// one value come in order from one sender; between them other messages may be delivered.
struct Fragment {
  Incarnation incarnation;    // the sending daemon
  std::uint64_t value = 0;    // counts the fragmented values of this daemon
  std::uint32_t number = 0;   // 0 .. total-1
  std::uint32_t total = 0;
  std::string bytes;          // a piece of an encoded Message

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.incarnation, s.value, s.number, s.total, s.bytes);
  }
};

// How many bytes a fragment's own fields take on the wire.
inline constexpr std::size_t kFragmentOverhead = 6 + 8 + 8 + 4 + 4 + 4;

[[nodiscard]] std::string encode(const Fragment& fragment);
// True if these bytes claim to be a fragment; decode_fragment says whether they are.
[[nodiscard]] bool is_fragment(std::string_view bytes);
[[nodiscard]] std::variant<Fragment, WireError> decode_fragment(std::string_view bytes);

}  // namespace clusterd
