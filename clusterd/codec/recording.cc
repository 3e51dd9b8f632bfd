#include "clusterd/codec/recording.h"

#include <utility>

#include "clusterd/base/archive.h"

namespace clusterd {
namespace {

constexpr std::string_view kMagic = "CLREC001";
constexpr std::uint8_t kHead = 0;
constexpr std::uint8_t kTold = 1;
constexpr std::uint8_t kDid = 2;

FrameEnd first() {
  return {kMagic.size(), digest_of(kMagic)};
}

// Empty: taken. Otherwise what is wrong.
std::string take(std::string_view frame, Segment& segment, bool head_first) {
  if (frame.empty()) return "an empty frame";
  const auto kind = static_cast<std::uint8_t>(frame.front());
  if ((kind == kHead) != head_first) return "its head does not stand in front";
  Reader reader(frame.substr(1), Layout::sized);
  if (kind == kHead) {
    reader.read(segment.head);
  } else if (kind == kTold) {
    reader.read(segment.steps.emplace_back().told);
  } else if (kind == kDid && !segment.steps.empty()) {
    Did did;
    reader.read(did);
    segment.steps.back().did = did.effects;
  } else {
    return "a frame of an unknown kind";
  }
  return reader.complete() ? "" : "a frame that does not decode";
}

}  // namespace

Digest digest_of(const Effects& effects) {
  Hasher hasher;
  write(hasher, effects);
  return hasher.digest();
}

template <class T>
std::string SegmentWriter::frame(std::string_view before, std::uint8_t kind, const T& value) {
  SizedSink sink;
  write(sink, kind);
  write(sink, value);
  const std::string payload = std::move(sink).take();
  if (payload.size() > kMaxFrame) return {};
  std::string bytes;
  bytes.reserve(before.size() + kFrameHeader + payload.size());
  bytes += before;
  append_frame(bytes, end_, payload);
  return bytes;
}

std::string SegmentWriter::begin(const RecordingHead& head) {
  end_ = first();
  return frame(kMagic, kHead, head);
}

std::string SegmentWriter::add(const Told& told) {
  return frame({}, kTold, told);
}
std::string SegmentWriter::add(const Did& did) {
  return frame({}, kDid, did);
}

std::variant<Segment, std::string> parse_segment(std::string_view bytes) {
  if (!bytes.starts_with(kMagic)) return "it is no recording, or one of another format";
  Segment segment;
  FrameEnd end = first();
  bool head_first = true;
  while (const auto frame = next_frame(bytes, end)) {
    const std::string problem = take(*frame, segment, head_first);
    if (!problem.empty()) return problem + ", before byte " + std::to_string(end.offset);
    head_first = false;
  }
  if (head_first) return "its head is cut off or damaged";
  segment.torn = bytes.size() - static_cast<std::size_t>(end.offset);
  return segment;
}

}  // namespace clusterd
