// A replay that kills the daemon is counted, one that ends is not.
#include "clusterd/adapters/store/replay_guard.h"

#include <catch2/catch.hpp>

#include "tests/unit/adapters/store/store_fixture.h"

using namespace clusterd;
using namespace clusterd::store_test;

TEST_CASE("replay guard: counts the replays that never ended, until one does") {
  const TemporaryFolder folder;
  const ReplayGuard guard(folder.path + "/replaying");
  for (std::size_t crashed = 0; crashed < 4; ++crashed) {
    auto begun = guard.begin();
    REQUIRE(begun.ok());
    CHECK(begun.value() == crashed);
  }
  REQUIRE(guard.end().ok());
  CHECK(guard.begin().value() == 0);
  REQUIRE(guard.end().ok());
  CHECK(guard.end().ok());
}

TEST_CASE("replay guard: a folder that is not there is an error") {
  CHECK_FALSE(ReplayGuard("/nowhere/at/all/replaying").begin().ok());
}
