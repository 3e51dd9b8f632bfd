// The sized layout: versions that know more or fewer members understand each other.
#include "clusterd/base/archive.h"

#include <catch2/catch.hpp>

#include "clusterd/base/frames.h"
#include "clusterd/model/ids.h"

using namespace clusterd;

namespace {

struct Older {
  std::uint32_t a = 1;
  Host host;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.a, s.host);
  }
};

struct Newer {
  std::uint32_t a = 1;
  Host host;
  std::optional<OpId> more;
  std::string text = "not known";

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.a, s.host, s.more, s.text);
  }
};

template <class To, class From>
std::vector<To> read_list_as(const From& from) {
  SizedSink sink;
  write(sink, std::vector<From>{from, from});
  const std::string bytes = std::move(sink).take();
  Reader reader(bytes, Layout::sized);
  std::vector<To> to;
  reader.read(to);
  REQUIRE(reader.complete());
  return to;
}

}  // namespace

TEST_CASE("archive: what an older version wrote leaves newer members at their defaults") {
  const auto list = read_list_as<Newer>(Older{7, Host{NodeId(3), {}}});
  REQUIRE(list.size() == 2);
  CHECK(list[1].a == 7);
  CHECK(list[1].host.node == NodeId(3));
  CHECK_FALSE(list[1].more);
  CHECK(list[1].text == "not known");
}

TEST_CASE("archive: what only a newer version knows is skipped") {
  const auto list = read_list_as<Older>(Newer{7, Host{NodeId(3), {}}, OpId{}, "news"});
  REQUIRE(list.size() == 2);
  CHECK(list[0].a == 7);
  CHECK(list[1].host.node == NodeId(3));
}

TEST_CASE("archive: every truncation and every wrong length of a sized struct is refused") {
  SizedSink sink;
  write(sink, Newer{7, Host{NodeId(3), {}}, OpId{}, "news"});
  const std::string bytes = std::move(sink).take();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    Reader reader(cut, Layout::sized);
    Newer value;
    reader.read(value);
    INFO(size);
    CHECK_FALSE(reader.complete());
  }
  std::string longer = bytes;
  ++longer[0];
  Reader reader(longer, Layout::sized);
  Newer value;
  reader.read(value);
  CHECK_FALSE(reader.ok());
}

TEST_CASE("archive: instants, deques and pairs come back") {
  using Value = std::deque<std::pair<LogIndex, Instant>>;
  const Value value{{LogIndex(4), Instant(Duration(-5))}, {LogIndex(6), Instant(Duration(9))}};
  StringSink sink;
  write(sink, value);
  const std::string bytes = std::move(sink).take();
  Reader reader(bytes);
  Value read;
  reader.read(read);
  CHECK(reader.complete());
  CHECK(read == value);
}

TEST_CASE("frames: none is believed behind another one than it was written behind") {
  FrameEnd end{0, Digest(5)};
  std::string bytes;
  append_frame(bytes, end, "one");
  const std::size_t second = bytes.size();
  append_frame(bytes, end, "two");
  CHECK(end.offset == bytes.size());

  FrameEnd at{0, Digest(5)};
  CHECK(next_frame(bytes, at) == "one");
  CHECK(next_frame(bytes, at) == "two");
  CHECK(at.chain == end.chain);
  CHECK_FALSE(next_frame(bytes, at));

  FrameEnd other{0, Digest(6)};
  CHECK_FALSE(next_frame(bytes, other));
  const std::string only = bytes.substr(second);
  FrameEnd begin{0, Digest(5)};
  CHECK_FALSE(next_frame(only, begin));
  bytes[second + kFrameHeader] ^= 1;
  FrameEnd damaged{0, Digest(5)};
  CHECK(next_frame(bytes, damaged) == "one");
  CHECK_FALSE(next_frame(bytes, damaged));
  CHECK(damaged.offset == second);
}
