// Prng: a small seeded generator; the same seed gives the same numbers on every machine.
//
// For the simulator and property tests, never for decisions of the engine.
// Source: S. Vigna, "splitmix64.c" (public domain), the generator that seeds xoshiro.
#pragma once

#include <cstdint>

#include "clusterd/base/assert.h"

namespace clusterd {

class Prng {
 public:
  explicit Prng(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // Uniform in [0, bound); bound > 0. The modulo bias is irrelevant for bounds far below 2^64.
  std::uint64_t below(std::uint64_t bound) {
    CLUSTERD_ASSERT(bound > 0);
    return next() % bound;
  }
  // Uniform in [low, high], both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    CLUSTERD_ASSERT(low <= high);
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  // True with a probability of `permille`/1000.
  bool chance(std::uint64_t permille) { return below(1000) < permille; }

 private:
  std::uint64_t state_;
};

}  // namespace clusterd
