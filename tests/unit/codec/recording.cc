// Recordings: every event comes back, damage is noticed, a torn tail is left out.
#include "clusterd/codec/recording.h"

#include <catch2/catch.hpp>

#include <set>

#include "clusterd/base/archive.h"
#include "clusterd/base/prng.h"
#include "tests/unit/codec/samples.h"

using namespace clusterd;
using namespace clusterd::test;

namespace {

std::vector<Event> sample_events() {
  const VmId vm{numbered_uuid(3, 1)};
  const OpId op{Epoch(7), LogIndex(120)};
  const GroupMember n2{NodeId(2), 11};
  const QuorumFacts quorum{true, {{NodeId(2), 1}}, {{NodeId(2), "n2"}}, 1, true};
  const DomainObservation domain{vm, DomainState::paused_io_error, true, op};
  ClusterState state = ClusterBuilder().node("n1").vm("web1", {.on = "n1"}).lose("n1").build();
  ApplyConfiguration apply;
  apply.upsert = sample_declarations();
  std::vector<Event> events = {
      ViewChanged{{n2}, {NodeId(2), NodeId(3)}, quorum},
      QuorumChanged{quorum},
      InputsDrained{},
      StoreSynced{LogIndex(5), false, "input/output error"},
      SnapshotArrived{4, state},
      DomainChanged{vm, StopCause::crashed},
      LookedUp{vm, 8, domain},
      DomainsListed{9, true, {domain}, {{64ULL << 30, 32}, "EPYC", "none"}},
      VmOperationEnded{op, vm, Outcome::done, DomainState::running, "ok"},
      HypervisorConnection{false, "refused"},
      PowerOperationEnded{op, NodeId(2), Outcome::done, {{"bmc", Power::off}}, {"bmc"}, "ok"},
      FenceTestEnded{ClientId(3), "{}", true},
      ClientRequest{ClientId(3), apply, "uid 0"},
      ClientGone{ClientId(3)},
      StopRequested{},
      MessageRejected{NodeId(2), "malformed"},
      PeersSilent{{NodeId(1), NodeId(3)}},
      GuestChecked{vm, 3, "web", CheckOutcome::busy, "no answer"},
      GuestRepaired{vm, 3, true, "exit code 0"},
      GuestRebooted{vm, "its watchdog reset it"}};
  for (const Message& message : sample_messages()) {
    events.push_back(Delivered{n2, message, Digest(6)});
  }
  return events;
}

std::string bytes_of(const Event& event) {
  StringSink sink;
  write(sink, event);
  return std::move(sink).take();
}

// One step for each event; every second one had effects.
std::string sample_segment() {
  SegmentWriter writer;
  std::string bytes = writer.begin({"1.2.3", 40, "checkpoint"});
  std::uint64_t number = 0;
  for (const Event& event : sample_events()) {
    bytes += writer.add(Told{Instant(Duration(++number)), event});
    if (number % 2 == 0) bytes += writer.add(Did{Digest(number)});
  }
  return bytes;
}

const Segment& whole(const std::variant<Segment, std::string>& parsed) {
  if (const auto* problem = std::get_if<std::string>(&parsed)) FAIL(*problem);
  return std::get<Segment>(parsed);
}

}  // namespace

TEST_CASE("recording: events of every kind come back as they were") {
  const auto events = sample_events();
  const auto parsed = parse_segment(sample_segment());
  const Segment& segment = whole(parsed);
  CHECK(segment.head.product == "1.2.3");
  CHECK(segment.head.steps == 40);
  CHECK(segment.head.checkpoint == "checkpoint");
  CHECK(segment.torn == 0);
  REQUIRE(segment.steps.size() == events.size());
  std::set<std::size_t> kinds;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const RecordedStep& step = segment.steps[i];
    kinds.insert(step.told.event.index());
    INFO("event " << i);
    CHECK(bytes_of(step.told.event) == bytes_of(events[i]));
    CHECK(step.told.now == Instant(Duration(static_cast<int>(i) + 1)));
    CHECK(step.did == (i % 2 == 1 ? std::optional(Digest(i + 1)) : std::nullopt));
  }
  CHECK(kinds.size() == std::variant_size_v<Event>);
}

TEST_CASE("recording: a torn tail is left out, wherever it is torn") {
  const std::string bytes = sample_segment();
  std::size_t most = 0;
  std::size_t refused = 0;
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const auto parsed = parse_segment(bytes.substr(0, size));
    if (const auto* segment = std::get_if<Segment>(&parsed)) {
      if (segment->steps.size() < most) FAIL("fewer steps in more bytes, at " << size);
      most = segment->steps.size();
    } else {
      ++refused;
      if (most != 0) FAIL("a torn tail spoils what stands before it, at " << size);
    }
  }
  CHECK(refused < 100);  // within the head only
  CHECK(most == sample_events().size());
}

TEST_CASE("recording: nothing behind a flipped bit is believed") {
  const std::string bytes = sample_segment();
  const auto parsed = parse_segment(bytes);
  const Segment& intact = whole(parsed);
  Prng prng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    const std::size_t at = prng.below(damaged.size());
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << prng.below(8)));
    const auto again = parse_segment(damaged);
    const auto* segment = std::get_if<Segment>(&again);
    if (segment == nullptr) continue;
    if (segment->torn < bytes.size() - at) FAIL("a flipped bit at " << at << " is believed");
    for (std::size_t n = 0; n < segment->steps.size(); ++n) {
      if (bytes_of(segment->steps[n].told.event) != bytes_of(intact.steps[n].told.event)) {
        FAIL("a flipped bit at " << at << " gives another event");
      }
    }
  }
}

TEST_CASE("recording: what is none is refused with a reason") {
  CHECK(std::get<std::string>(parse_segment("")) == "it is no recording, or one of another format");
  CHECK(std::get<std::string>(parse_segment("hello, world")) ==
        "it is no recording, or one of another format");
  CHECK(std::get<std::string>(parse_segment("CLREC001")) == "its head is cut off or damaged");
  // Whole frames that no writer makes.
  FrameEnd end{8, digest_of("CLREC001")};
  std::string headless = "CLREC001";
  append_frame(headless, end, std::string("\x01 event", 7));
  CHECK(std::get<std::string>(parse_segment(headless)).starts_with("its head does not stand"));
  SegmentWriter writer;
  std::string strange = writer.begin({"1", 0, ""});
  FrameEnd behind{8, digest_of("CLREC001")};
  REQUIRE(next_frame(strange, behind));
  append_frame(strange, behind, "\x09");
  CHECK(std::get<std::string>(parse_segment(strange)).starts_with("a frame of an unknown kind"));
}

TEST_CASE("recording: different effects have different digests") {
  const Effects start{LogLine{"a"}, SyncLog{LogIndex(4)}};
  const Effects order{SyncLog{LogIndex(4)}, LogLine{"a"}};
  CHECK(digest_of(start) == digest_of(Effects(start)));
  CHECK(digest_of(start) != digest_of(order));
  CHECK(digest_of(start) != digest_of(Effects{LogLine{"a"}, SyncLog{LogIndex(5)}}));
  CHECK(digest_of(start) != digest_of(Effects{}));
}
