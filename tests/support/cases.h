// How many random cases a property test tries: a number that suits ctest, or what CLUSTERD_CASES
// asks for on a long run.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

namespace clusterd::test {

inline std::uint64_t cases(std::uint64_t usual) {
  const char* asked = std::getenv("CLUSTERD_CASES");
  return asked == nullptr ? usual : std::stoull(asked);
}

}  // namespace clusterd::test
