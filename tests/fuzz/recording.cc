// A recording of what a daemon was told, as `clusterd-sim --replay` reads it from any host.
// runs: 15000
#include "clusterd/codec/recording.h"

#include "clusterd/base/assert.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

std::string written(const Segment& segment) {
  SegmentWriter writer;
  std::string bytes = writer.begin(segment.head);
  for (const RecordedStep& step : segment.steps) {
    bytes += writer.add(step.told);
    if (step.did) bytes += writer.add(Did{*step.did});
  }
  return bytes;
}

// What was read can be written, and comes back. A later version's bytes need not be the same.
void check_segment(std::string_view bytes) {
  const auto parsed = parse_segment(bytes);
  if (const auto* problem = std::get_if<std::string>(&parsed)) return fuzz::check_told(*problem);
  const auto& segment = std::get<Segment>(parsed);
  CLUSTERD_ASSERT(segment.torn <= bytes.size());
  const std::string once = written(segment);
  const auto again = parse_segment(once);
  const auto* same = std::get_if<Segment>(&again);
  CLUSTERD_ASSERT(same != nullptr);
  CLUSTERD_ASSERT(same->torn == 0);
  CLUSTERD_ASSERT(same->steps.size() == segment.steps.size());
  CLUSTERD_ASSERT(written(*same) == once);
}

}  // namespace

// As it is; and as a script of frames, chunk by chunk, behind the right checksums.
void fuzz_one(std::string_view input) {
  check_segment(input);
  std::string bytes = "CLREC001";
  FrameEnd end{bytes.size(), digest_of(bytes)};
  fuzz::Script script(input);
  while (!script.at_end()) append_frame(bytes, end, script.chunk());
  check_segment(bytes);
}
