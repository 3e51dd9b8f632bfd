#include "clusterd/engine/recovery_bound.h"

#include <catch2/catch.hpp>

#include "clusterd/model/limits.h"

namespace {

using namespace clusterd;
using std::chrono::seconds;

Duration s(std::int64_t value) {
  return seconds(value);
}

// Three nodes; n3 has two levels, the second one of two devices. One VM.
Configuration example() {
  Configuration configuration;
  ClusterSettings& cluster = configuration.cluster;
  cluster.startup_wait = s(100);
  cluster.parallel_starts_per_node = 2;
  Timers& timers = cluster.timers;
  timers.hello_timeout = s(1);
  timers.ack_timeout = s(2);
  timers.start_timeout = s(60);
  timers.destroy_timeout = s(15);
  timers.restart_backoff_max = s(30);
  timers.failed_retry = s(40);
  timers.fence_retries = 1;
  timers.fence_backoff_max = s(50);
  timers.fence_settle = s(10);
  timers.start_after_timeout = s(500);
  for (const char* device : {"bmc", "pdu-a", "pdu-b"}) {
    configuration.fence_devices[device].timeout = s(20);
  }
  configuration.fence_devices["pdu-b"].timeout = s(25);
  configuration.nodes["n1"].fencing = {{"bmc"}};
  configuration.nodes["n2"];
  configuration.nodes["n3"].fencing = {{"bmc"}, {"pdu-a", "pdu-b"}};
  configuration.vms["vm1"].policy.shutdown_timeout = s(45);
  return configuration;
}

// What one change adds.
template <class Change>
Duration adds(Change change) {
  Configuration changed = example();
  change(changed);
  return recovery_bound(changed) - recovery_bound(example());
}

}  // namespace

TEST_CASE("recovery bound: the waits of the worst case, one after the other") {
  const Duration agreement = s((1 + 2) * 3);
  const Duration proof = s(100 + 5 + (20 + 20 + 25) * 3 + 50 + 10);  // begun, its retry, once more
  const Duration stop = s((45 + 15) * 2 + 30);
  const Duration start = s(60 + 60 + 40);
  CHECK(recovery_bound(example()) == agreement + proof + stop + start);
}

TEST_CASE("recovery bound: starts come in waves where a host takes few at once") {
  CHECK(adds([](Configuration& c) {
          for (const char* name : {"vm2", "vm3", "vm4", "vm5"}) c.vms[name] = c.vms["vm1"];
        }) == s(2 * 60));
  CHECK(adds([](Configuration& c) {
          for (const char* name : {"vm2", "vm3", "vm4", "vm5"}) c.vms[name] = c.vms["vm1"];
          c.cluster.parallel_starts_per_node = std::nullopt;
        }) == s(0));
}

TEST_CASE("recovery bound: who starts after another one may wait for it") {
  CHECK(adds([](Configuration& c) { c.vms["vm1"].policy.start_after = {"vm1"}; }) == s(500));
}

TEST_CASE("recovery bound: the slowest node's devices count, and the most patient VM") {
  CHECK(adds([](Configuration& c) { c.nodes["n1"].fencing = {{"bmc"}, {"bmc"}}; }) == s(0));
  CHECK(adds([](Configuration& c) { c.nodes["n3"].fencing.pop_back(); }) == s(-45 * 3));
  CHECK(adds([](Configuration& c) { c.vms["vm2"].policy.shutdown_timeout = s(145); }) ==
        s(100 * 2));
  CHECK(adds([](Configuration& c) { c.cluster.timers.failed_retry = s(5); }) == s(-10));
}

TEST_CASE("recovery bound: it is never beyond what a duration may be") {
  Configuration configuration = example();
  configuration.cluster.startup_wait = limits::kDuration;
  CHECK(recovery_bound(configuration) == limits::kDuration);
}
