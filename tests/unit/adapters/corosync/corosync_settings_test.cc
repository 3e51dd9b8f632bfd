#include "clusterd/adapters/corosync/corosync_settings.h"

#include <catch2/catch.hpp>
#include <algorithm>

namespace {

using namespace clusterd;

CorosyncSettings sound() {
  CorosyncSettings settings;
  settings.nodes = 3;
  settings.links = 2;
  settings.authenticated = true;
  settings.token = Duration(1650);
  settings.consensus = Duration(1980);
  return settings;
}

// The first words of what is weak or refused.
std::vector<std::string> complaints(const CorosyncSettings& settings, Gravity gravity) {
  std::vector<std::string> texts;
  for (const SettingFinding& finding : judge(settings)) {
    if (finding.gravity == gravity) texts.push_back(finding.text);
  }
  return texts;
}

bool one_begins(const std::vector<std::string>& texts, const std::string& words) {
  return texts.size() == 1 && texts.front().rfind(words, 0) == 0;
}

TEST_CASE("a sound cluster is told what it can rely on") {
  CHECK(complaints(sound(), Gravity::weak).empty());
  CHECK(complaints(sound(), Gravity::refused).empty());
  const auto good = complaints(sound(), Gravity::good);
  CHECK(
      std::count(good.begin(), good.end(),
                 "a host that falls silent is out of the ring after 3.6 s (token 1.7 s, consensus "
                 "2.0 s)") == 1);
}

TEST_CASE("what changes a majority behind the cluster's back is refused") {
  CorosyncSettings settings = sound();
  SECTION("last_man_standing") {
    settings.last_man_standing = true;
    CHECK(one_begins(complaints(settings, Gravity::refused), "last_man_standing counts"));
  }
  SECTION("auto_tie_breaker") {
    settings.auto_tie_breaker = true;
    CHECK(one_begins(complaints(settings, Gravity::refused), "auto_tie_breaker counts"));
  }
  SECTION("two_node of three") {
    settings.two_node = true;
    settings.wait_for_all = true;
    CHECK(one_begins(complaints(settings, Gravity::refused), "two_node is on with 3 nodes"));
  }
}

TEST_CASE("what is weak is told with what to do about it") {
  CorosyncSettings settings = sound();
  SECTION("four without an arbiter, and with one") {
    settings.nodes = 4;
    CHECK(one_begins(complaints(settings, Gravity::weak), "4 nodes without an arbiter"));
    settings.arbiter = true;
    CHECK(complaints(settings, Gravity::weak).empty());
  }
  SECTION("two") {
    settings.nodes = 2;
    CHECK(one_begins(complaints(settings, Gravity::weak), "two nodes without two_node"));
    settings.two_node = true;
    CHECK(one_begins(complaints(settings, Gravity::weak), "two_node without wait_for_all"));
    settings.wait_for_all = true;
    CHECK(complaints(settings, Gravity::weak).empty());
  }
  SECTION("one link") {
    settings.links = 1;
    CHECK(one_begins(complaints(settings, Gravity::weak), "one link only"));
  }
  SECTION("another transport") {
    settings.transport = "udpu";
    CHECK(one_begins(complaints(settings, Gravity::weak), "transport udpu"));
  }
  SECTION("no authentication") {
    settings.authenticated = false;
    CHECK(one_begins(complaints(settings, Gravity::weak), "members do not authenticate"));
  }
  SECTION("a token that is too short, and one that is too long") {
    settings.token = Duration(500);
    CHECK(one_begins(complaints(settings, Gravity::weak), "a host that falls silent"));
    settings.token = Duration(20500);
    settings.consensus = Duration(24600);
    CHECK(one_begins(complaints(settings, Gravity::weak), "a host that falls silent"));
  }
}

}  // namespace
