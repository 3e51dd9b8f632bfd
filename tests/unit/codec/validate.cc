// What types cannot express: lengths, counts, ranges, text.
#include "clusterd/codec/validate.h"

#include <catch2/catch.hpp>

#include "tests/unit/codec/samples.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

std::string problem(Body body) { return validate(sample_of(std::move(body))); }

ChangeConfiguration change_with(const std::function<void(Declarations&)>& edit) {
  ChangeConfiguration change;
  change.upsert = sample_declarations();
  edit(change.upsert);
  return change;
}

}  // namespace

TEST_CASE("validate: what is within the bounds passes") {
  for (const Message& message : sample_messages()) CHECK(validate(message).empty());
  ApplyConfiguration request;
  request.upsert = sample_declarations();
  CHECK(validate(ControlRequest{request}).empty());
  CHECK(validate(ClusterBuilder().node("n1").vm("web", {.on = "n1"}).build()).empty());
}

TEST_CASE("validate: texts are bounded, UTF-8, and without control characters") {
  const VmId vm{numbered_uuid(3, 1)};
  const auto closed = [&](std::string detail) {
    return problem(VmClosed{OpId{}, vm, Outcome::unknown, DomainState::absent, std::move(detail)});
  };
  CHECK(closed("Gerät antwortet nicht\n\tzweite Zeile").empty());
  CHECK_FALSE(closed(std::string(limits::kDetail + 1, 'x')).empty());
  CHECK_FALSE(closed("\xff\xfe").empty());
  CHECK_FALSE(closed(std::string("a\0b", 3)).empty());
  CHECK_FALSE(closed("\x1b[31m").empty());
}

TEST_CASE("validate: names are not empty and not endless") {
  CHECK_FALSE(problem(change_with([](Declarations& d) { d.nodes[""]; })).empty());
  CHECK_FALSE(
      problem(change_with([](Declarations& d) { d.vms[std::string(256, 'n')]; })).empty());
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.nodes["n1"].provides.insert("");
              })).empty());
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.fence_devices["bmc-n1"].agent = "";
              })).empty());
}

TEST_CASE("validate: durations and times are in range") {
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.cluster->startup_wait = Duration(-1);
              })).empty());
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.cluster->timers.hello_timeout = Duration::max();
              })).empty());
  Message late = sample_of(Advance{});
  late.stamp = ClusterTime{INT64_MAX};
  CHECK_FALSE(validate(late).empty());
  late.stamp = ClusterTime{-1};
  CHECK_FALSE(validate(late).empty());
}

TEST_CASE("validate: sizes whose sums could overflow are refused") {
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.vms["web1"].domain.size.memory = UINT64_MAX;
              })).empty());
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.vms["web1"].policy.memory = UINT64_MAX;
              })).empty());
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.cluster->overcommit.vcpus = UINT32_MAX;
              })).empty());
  CHECK_FALSE(problem(InventoryDone{HostFacts{{UINT64_MAX, 4}, "", ""}}).empty());
}

TEST_CASE("validate: counts are bounded") {
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.nodes["n1"].fencing.assign(17, {"bmc-n1"});
              })).empty());
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.cluster->timers.fence_retries = UINT32_MAX;
              })).empty());
  CHECK_FALSE(problem(change_with([](Declarations& d) {
                d.domain_xml[Digest(1)] = std::string(limits::kDomainXml + 1, ' ');
              })).empty());
  CHECK_FALSE(problem(Activate{}).empty());
}

TEST_CASE("validate: a request of a client is judged like a message") {
  ApplyConfiguration request;
  request.upsert = sample_declarations();
  request.upsert.vms["web1"].policy.shutdown_timeout = Duration(-5);
  CHECK_FALSE(validate(ControlRequest{request}).empty());
  CHECK_FALSE(validate(ControlRequest{InitCluster{"\xc3("}}).empty());
}
