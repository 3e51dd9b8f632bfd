// The verdict on a guest, from how its checks end.
#include "clusterd/engine/health.h"

#include <catch2/catch.hpp>

using namespace clusterd;

namespace {

constexpr Instant kStart{Duration(1000000)};

struct Guest {
  GuestWatch watch;
  Instant now = kStart;

  Guest() {
    watch.number = 1;
    watch.since = kStart;
    watch.policy.boot_grace = Duration(60000);
    watch.policy.guest_agent.emplace();
    Probe web;
    web.name = "web";
    web.port = 80;
    web.failures = 2;
    watch.policy.probes = {web};
  }
  void says(const std::string& check, CheckOutcome outcome, int times = 1) {
    for (int i = 0; i < times; ++i) {
      note_check(watch, {VmId{}, 1, check, outcome, outcome == CheckOutcome::failed ? "no" : ""});
    }
  }
  Health health() { return judge(watch, now).verdict.health; }
  std::string reason() { return judge(watch, now).verdict.reason; }
  void up() {
    says(kAgentCheck, CheckOutcome::passed);
    says("web", CheckOutcome::passed);
  }
};

}  // namespace

TEST_CASE("health: a guest boots until all its checks have answered, or boot_grace is over") {
  Guest guest;
  CHECK(guest.health() == Health::booting);
  CHECK(guest.reason() == "the guest agent has not answered yet");
  CHECK(judge(guest.watch, guest.now).next == kStart + Duration(60000));
  guest.says(kAgentCheck, CheckOutcome::failed, 20);
  CHECK(guest.health() == Health::booting);
  guest.says(kAgentCheck, CheckOutcome::passed);
  CHECK(guest.health() == Health::booting);
  CHECK(guest.reason() == "probe web has not answered yet");
  guest.says("web", CheckOutcome::passed);
  CHECK(guest.health() == Health::healthy);
  CHECK(guest.reason().empty());
  CHECK_FALSE(judge(guest.watch, guest.now).next.has_value());
}

TEST_CASE("health: what has never answered accuses nobody, unless it is required") {
  Guest guest;
  guest.now = kStart + Duration(60000);
  guest.says("web", CheckOutcome::failed, 50);
  CHECK(guest.health() == Health::none);
  guest.says(kAgentCheck, CheckOutcome::passed);
  CHECK(guest.health() == Health::healthy);
  CHECK(guest.reason() == "probe web has not answered since the start");
  guest.watch.policy.probes[0].required = true;
  CHECK(guest.health() == Health::unhealthy);
  CHECK(guest.reason() == "probe web has not answered since the start: no");
  guest.now -= Duration(1);
  CHECK(guest.health() == Health::booting);
}

TEST_CASE("health: as many failures in a row as a check may have are a verdict, one less is none") {
  Guest guest;
  guest.up();
  guest.says(kAgentCheck, CheckOutcome::failed, 2);
  CHECK(guest.health() == Health::suspect);
  CHECK(guest.reason() == "the guest agent failed 2 times in a row: no");
  guest.says(kAgentCheck, CheckOutcome::passed);
  CHECK(guest.health() == Health::healthy);
  guest.says(kAgentCheck, CheckOutcome::failed, 3);
  CHECK(guest.health() == Health::unhealthy);
  guest.says("web", CheckOutcome::failed);
  CHECK(guest.reason() == "the guest agent failed 3 times in a row: no");
  guest.says(kAgentCheck, CheckOutcome::passed);
  CHECK(guest.health() == Health::suspect);
  CHECK(guest.reason() == "probe web failed once: no");
}

TEST_CASE("health: an agent that is silent while its guest writes degrades it, and no more") {
  Guest guest;
  guest.up();
  guest.says(kAgentCheck, CheckOutcome::failed);
  guest.says(kAgentCheck, CheckOutcome::busy, 100);
  CHECK(guest.health() == Health::degraded);
  guest.says("web", CheckOutcome::failed, 2);
  CHECK(guest.health() == Health::unhealthy);
  guest.says("web", CheckOutcome::passed);
  // It writes no more: from here on the failures count.
  guest.says(kAgentCheck, CheckOutcome::failed, 2);
  CHECK(guest.health() == Health::suspect);
  guest.says(kAgentCheck, CheckOutcome::failed);
  CHECK(guest.health() == Health::unhealthy);
}

TEST_CASE("health: who has never answered is not made healthy by writing") {
  Guest guest;
  guest.watch.policy.guest_agent->required = true;
  guest.says("web", CheckOutcome::passed);
  guest.says(kAgentCheck, CheckOutcome::busy, 10);
  CHECK(guest.health() == Health::booting);
  guest.now = kStart + Duration(60000);
  CHECK(guest.health() == Health::unhealthy);
}

TEST_CASE("health: a watch that begins beside a running guest knows which checks have answered") {
  Guest guest;
  guest.watch.policy.probes.clear();
  guest.watch.checks[kAgentCheck].answered = true;
  CHECK(answered(guest.watch) == std::set<std::string>{kAgentCheck});
  SECTION("its verdict stands until the first check is heard, but a hang must be seen") {
    CHECK(guest.health() == Health::booting);
    guest.watch.inherited = {Health::degraded, "as it was"};
    CHECK(guest.health() == Health::degraded);
    CHECK(guest.reason() == "as it was");
    guest.watch.inherited.health = Health::unhealthy;
    CHECK(guest.health() == Health::suspect);
    guest.says(kAgentCheck, CheckOutcome::passed);
    CHECK(guest.health() == Health::healthy);
  }
  guest.says(kAgentCheck, CheckOutcome::failed, 3);
  CHECK(guest.health() == Health::unhealthy);
}

TEST_CASE("health: a required check that has not been asked accuses nobody") {
  Guest guest;
  guest.watch.policy.boot_grace = Duration(0);
  guest.watch.policy.probes[0].required = true;
  guest.says(kAgentCheck, CheckOutcome::passed);
  CHECK(guest.health() == Health::suspect);
  guest.says("web", CheckOutcome::failed, 2);
  CHECK(guest.health() == Health::unhealthy);
}

TEST_CASE("health: a check that asks something else has not answered") {
  const HealthPolicy one = Guest().watch.policy;
  HealthPolicy other = one;
  CHECK(same_check("web", one, other));
  CHECK(same_check(kAgentCheck, one, other));
  other.probes[0].port = 8080;
  CHECK_FALSE(same_check("web", one, other));
  other = one;
  other.address = "10.0.0.1";
  CHECK_FALSE(same_check("web", one, other));
  other.guest_agent.reset();
  CHECK_FALSE(same_check(kAgentCheck, one, other));
  CHECK_FALSE(same_check("mail", one, one));
}

TEST_CASE("health: a check that the policy does not have says nothing") {
  Guest guest;
  guest.up();
  guest.says("mail", CheckOutcome::failed, 10);
  CHECK(guest.health() == Health::healthy);
  CHECK_FALSE(answered(guest.watch).contains("mail"));
  CHECK_FALSE(has_checks(HealthPolicy{}));
  CHECK(has_checks(guest.watch.policy));
}
