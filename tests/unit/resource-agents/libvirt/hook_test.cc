#include "resource-agents/libvirt/hook/decision.h"

#include <catch2/catch.hpp>
#include <set>

using namespace clusterd;
using namespace clusterd::hook;

namespace {

const char kOurs[] = "11111111-2222-3333-4444-555555555555";
const char kForeign[] = "99999999-2222-3333-4444-555555555555";

struct World {
  std::set<std::string> protections;
  std::set<std::string> grants;
  Presence fault = Presence::absent;  // what a missing protection looks like

  [[nodiscard]] bool allows(const std::string& operation, const std::string& uuid,
                            const std::string& suboperation = "begin") const {
    const std::string xml =
        uuid.empty() ? "<dom" : "<domain><name>g</name><uuid>" + uuid + "</uuid></domain>";
    const auto in = [](const std::set<std::string>& set, const Uuid& id) {
      return set.count(id.str()) != 0 ? Presence::present : Presence::absent;
    };
    const GuardFiles files{[&](const Uuid& id) {
                             const auto there = in(protections, id);
                             return there == Presence::absent ? fault : there;
                           },
                           [&](const Uuid& id) { return in(grants, id); },
                           [&] { return protections.empty() ? fault : Presence::present; }};
    const auto verdict = decide({"g", operation, suboperation, xml}, files);
    CHECK(verdict.allowed == verdict.reason.empty());
    return verdict.allowed;
  }
};

}  // namespace

TEST_CASE("hook: a protected domain runs only with a grant") {
  World world{{kOurs}, {}};
  for (const char* operation : {"prepare", "start", "migrate", "restore"}) {
    CHECK_FALSE(world.allows(operation, kOurs));
    CHECK(world.allows(operation, kForeign));
  }
  world.grants.insert(kOurs);
  for (const char* operation : {"prepare", "start", "migrate", "restore"}) {
    CHECK(world.allows(operation, kOurs));
  }
}

TEST_CASE("hook: what is running already is never touched") {
  const World world{{kOurs}, {}};
  // libvirt kills the QEMU of a domain whose reconnect hook fails.
  CHECK(world.allows("reconnect", kOurs));
  CHECK(world.allows("started", kOurs));
  CHECK(world.allows("stopped", kOurs, "end"));
  CHECK(world.allows("release", kOurs, "end"));
  CHECK(world.allows("reconnect", ""));
}

TEST_CASE("hook: an unreadable domain is refused only where something is protected") {
  CHECK(World{}.allows("prepare", ""));
  CHECK_FALSE(World{{kOurs}, {}}.allows("prepare", ""));
  CHECK_FALSE(World{{kOurs}, {kOurs}}.allows("prepare", ""));
}

TEST_CASE("hook: an unreadable protection file fails closed") {
  const World world{{}, {}, Presence::unreadable};
  CHECK_FALSE(world.allows("prepare", kOurs));
  CHECK_FALSE(world.allows("prepare", ""));
}
