// Time without a clock.
//
// Instant: a node's own monotonic time; meaningless on another node or after a reboot.
// ClusterTime: replicated time, carried by commands, milliseconds since the Unix epoch as the
// founding node believed; only this one may stand in replicated state (protocol R15).
// Neither type can be read here: `now` is always an argument, and `EngineClock::now()` does not
// exist, so that engine code which tries to read a clock does not compile.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace clusterd {

using Duration = std::chrono::milliseconds;

struct EngineClock {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<EngineClock, Duration>;
  static constexpr bool is_steady = true;
};

using Instant = EngineClock::time_point;

struct ClusterTime {
  std::int64_t ms = 0;

  friend constexpr auto operator<=>(const ClusterTime&, const ClusterTime&) = default;
};

[[nodiscard]] constexpr ClusterTime operator+(ClusterTime t, Duration d) {
  return {t.ms + d.count()};
}
[[nodiscard]] constexpr Duration operator-(ClusterTime a, ClusterTime b) {
  return Duration(a.ms - b.ms);
}

}  // namespace clusterd
