// The recorder beside a driver: it stands in front of every step, and in nobody's way.
#include "clusterd/runtime/recorder.h"

#include <catch2/catch.hpp>

#include "tests/unit/runtime/driver_bench.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

struct BenchRecording final : Recording {
  Wants wants() const override { return now; }
  void begin(std::string bytes) override {
    segments.push_back(std::move(bytes));
    now = Wants::records;
  }
  void append(std::string_view bytes) override { segments.back() += bytes; }
  void stop(const std::string&) override { now = Wants::nothing; }
  Wants now = Wants::records;
  std::vector<std::string> segments;
};

Segment parsed(const std::string& bytes) {
  auto segment = parse_segment(bytes);
  if (const auto* problem = std::get_if<std::string>(&segment)) FAIL(*problem);
  return std::get<Segment>(std::move(segment));
}

Controller blank() {
  const NodeIdentity identity{NodeId(1), MachineId{numbered_uuid(4, 1)},
                              BootId{numbered_uuid(2, 1)}, Incarnation(5)};
  return Controller(identity, StartingPoint{}, Instant{});
}

}  // namespace

TEST_CASE("recorder: every step of a driver, in segments that begin when the recording wants one") {
  BenchRecording out;
  Recorder recorder(out, "1.2.3");
  DriverBench bench;
  bench.recorder = &recorder;
  bench.start();
  bench.found();
  const std::uint64_t steps = bench.driver->counters().steps;
  out.now = Recording::Wants::segment;
  REQUIRE(bench.ask(ApplyConfiguration{}).code == ReplyCode::done);
  REQUIRE(out.segments.size() == 2);
  const Segment first = parsed(out.segments[0]);
  const Segment second = parsed(out.segments[1]);
  CHECK(first.head.product == "1.2.3");
  CHECK(first.head.steps == 0);
  CHECK(first.steps.size() == steps);
  CHECK(second.head.steps == steps);
  CHECK(first.steps.size() + second.steps.size() == bench.driver->counters().steps);

  // The second one's checkpoint is where the steps of the first one lead.
  const auto controller = Controller::restore(first.head.checkpoint);
  REQUIRE(controller);
  for (const RecordedStep& step : first.steps) {
    const Effects effects = controller->step(step.told.now, step.told.event);
    CHECK(step.did == (effects.empty() ? std::nullopt : std::optional(digest_of(effects))));
  }
  CHECK(controller->checkpoint() == second.head.checkpoint);
}

TEST_CASE("recorder: the event stands there before the step is made") {
  BenchRecording out;
  Recorder recorder(out, "1");
  const Controller controller = blank();
  recorder.before(controller, Instant(Duration(7)), StopRequested{});
  const Segment segment = parsed(out.segments.at(0));
  REQUIRE(segment.steps.size() == 1);
  CHECK(std::holds_alternative<StopRequested>(segment.steps[0].told.event));
  CHECK(segment.steps[0].told.now == Instant(Duration(7)));
}

TEST_CASE("recorder: a recording that has stopped is left alone, and the driver goes on") {
  BenchRecording out;
  Recorder recorder(out, "1");
  DriverBench bench;
  bench.recorder = &recorder;
  bench.start();
  bench.view();
  bench.settle();
  out.stop("full");
  const std::size_t size = out.segments.at(0).size();
  bench.found();
  CHECK(out.segments.size() == 1);
  CHECK(out.segments[0].size() == size);
}

TEST_CASE("controller: a checkpoint comes back only whole") {
  const std::string bytes = blank().checkpoint();
  const auto restored = Controller::restore(bytes);
  REQUIRE(restored);
  CHECK(restored->checkpoint() == bytes);
  CHECK(restored->self().incarnation == Incarnation(5));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    INFO(size);
    CHECK_FALSE(Controller::restore(std::string_view(bytes).substr(0, size)));
  }
  CHECK_FALSE(Controller::restore(bytes + "x"));
}
