// How an operation on the world ended. `unknown` is a value: a timed-out start may have started,
// a timed-out fence proves nothing. No code may turn it into one of the other two.
#pragma once

#include <cstdint>
#include <string>

namespace clusterd {

enum class Outcome : std::uint8_t { done, failed_without_effect, unknown };
constexpr Outcome enum_last(Outcome) { return Outcome::unknown; }

// The power of a host as its devices tell it. `unknown`: no answer, or not a clear one.
enum class Power : std::uint8_t { on, off, unknown };
constexpr Power enum_last(Power) { return Power::unknown; }

// What a node knows about one domain. `absent` means that libvirt says so *and* no process
// carries the UUID (protocol R23); `paused_incoming` is the target of a migration not yet done.
enum class DomainState : std::uint8_t {
  absent,
  running,
  paused,
  paused_io_error,
  paused_incoming,
  shutting_down,
  crashed,  // the domain object exists, the guest has panicked
};
constexpr DomainState enum_last(DomainState) { return DomainState::crashed; }

// Why a domain that was there is gone or paused, as libvirt's event told; `none` when unknown.
enum class StopCause : std::uint8_t {
  none,
  guest_shutdown,  // the guest powered itself off: not a failure
  destroyed,       // somebody (we, or virsh) destroyed it
  crashed,         // guest panic
  failed,          // QEMU died
  migrated,
};
constexpr StopCause enum_last(StopCause) { return StopCause::migrated; }

// What is known of a guest from inside. `none`: nobody asks, or nothing has ever answered.
enum class Health : std::uint8_t {
  none,
  booting,    // since its start not all that is asked has answered
  healthy,
  degraded,   // its agent is silent, but it writes or sends
  suspect,    // a check failed, not yet as often as it may
  unhealthy,  // a check failed as often as it may
};
constexpr Health enum_last(Health) { return Health::unhealthy; }

}  // namespace clusterd
