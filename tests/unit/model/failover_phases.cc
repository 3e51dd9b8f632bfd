#include "clusterd/model/failover_phases.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/cluster_builder.h"

using namespace clusterd;

namespace {

// "activated 10, planned -": all phases but `ring`.
std::string told(const FailoverRecord& record) {
  std::string text;
  for (const FailoverPhase& phase : phases_of(record)) {
    if (phase.name == std::string("ring")) continue;
    text += (text.empty() ? "" : ", ") + std::string(phase.name) + " " +
            (phase.at ? std::to_string(phase.at->count()) : "-");
  }
  return text;
}

ClusterTime at(std::int64_t ms) { return ClusterTime{1'000'000 + ms}; }

}  // namespace

TEST_CASE("failover phases: the last of a phase counts, and nobody may be missing") {
  FailoverRecord record;
  record.ring = at(0);
  record.activated = at(10);
  record.fenced = {{NodeId(1), at(300)}, {NodeId(2), std::nullopt}};
  VmRecovery& first = record.vms[VmId{test::numbered_uuid(3, 1)}];
  VmRecovery& second = record.vms[VmId{test::numbered_uuid(3, 2)}];
  first.planned = at(400);
  first.active = at(900);
  CHECK(told(record) == "activated 10, fenced -, planned -, first_active 900, last_active -, "
                        "create_returned -, agents -");
  record.fenced[NodeId(2)] = at(200);
  second = VmRecovery{{}, {}, at(450), at(800), at(850), at(5000)};
  first.create_returned = at(950);
  first.agent = at(4000);
  CHECK(told(record) == "activated 10, fenced 300, planned 450, first_active 800, "
                        "last_active 900, create_returned 950, agents 5000");
}

TEST_CASE("failover phases: a record without hosts and VMs has reached nothing") {
  FailoverRecord record;
  CHECK(told(record) == "activated 0, fenced -, planned -, first_active -, last_active -, "
                        "create_returned -, agents -");
}
