// Recording: what a controller was told, step by step, as bytes; `clusterd-sim --replay` reads it.
//
// A segment is a magic number and frames (base/frames.h): a head with a checkpoint of the
// controller, then one Told a step and, when the step had effects, one Did. A segment can be
// replayed without those before it. Structs are sized (base/archive.h), so that a later version
// reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "clusterd/base/frames.h"
#include "clusterd/model/effect.h"

namespace clusterd {

struct RecordingHead {
  std::string product;      // the version that recorded it
  std::uint64_t steps = 0;  // of this daemon before the segment
  std::string checkpoint;   // Controller::checkpoint()

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.product, s.steps, s.checkpoint);
  }
};

// Stands in the recording before the step is made: an event that ends the daemon is there, too.
struct Told {
  Instant now;
  Event event;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.now, s.event);
  }
};

struct Did {
  Digest effects;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.effects);
  }
};

[[nodiscard]] Digest digest_of(const Effects& effects);

// Makes the bytes of one segment, piece by piece.
class SegmentWriter {
 public:
  // `begin` gives a segment's first bytes, `add` those that follow. Empty: too large for a frame;
  // nothing may follow then.
  [[nodiscard]] std::string begin(const RecordingHead& head);
  [[nodiscard]] std::string add(const Told& told);
  [[nodiscard]] std::string add(const Did& did);

 private:
  template <class T>
  std::string frame(std::string_view before, std::uint8_t kind, const T& value);

  FrameEnd end_;
};

struct RecordedStep {
  Told told;
  std::optional<Digest> did;  // nullopt: no effects; of the last step: or the daemon ended in it
};

struct Segment {
  RecordingHead head;
  std::vector<RecordedStep> steps;
  std::size_t torn = 0;  // bytes behind the last whole frame
};

// Total: any bytes give a segment or a sentence that says what is wrong. A tail that is cut off or
// damaged is left out; a frame that is whole and does not decode is an error.
[[nodiscard]] std::variant<Segment, std::string> parse_segment(std::string_view bytes);

}  // namespace clusterd
