// StrongId: an integer that cannot be mistaken for another integer.
//
// Every number with a meaning (node id, epoch, log index, ...) is its own type, so that
// `fence(epoch, node)` does not compile. There is no arithmetic except `next()`.
#pragma once

#include <compare>
#include <cstdint>

namespace clusterd {

template <class Tag, class Rep = std::uint64_t>
struct StrongId {
  Rep value{};

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}

  // The number after this one; ids of counters (epoch, index, generation) only ever grow.
  [[nodiscard]] constexpr StrongId next() const { return StrongId(static_cast<Rep>(value + 1)); }

  friend constexpr auto operator<=>(const StrongId&, const StrongId&) = default;
};

}  // namespace clusterd
