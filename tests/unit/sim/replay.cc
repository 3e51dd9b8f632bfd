// Recordings of whole clusters: replay gives the same effects, and notices when it does not.
#include "tests/sim/replay.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "clusterd/codec/recording.h"
#include "tests/sim/cluster.h"
#include "tests/sim/run.h"

using namespace clusterd;
using namespace clusterd::sim;
using std::chrono::minutes;

namespace {

SimOptions recorded() {
  SimOptions options;
  options.nodes = 3;
  options.vms = 2;
  options.node.record = true;
  return options;
}

std::vector<RecordedFile> files_of(const std::vector<std::string>& segments) {
  std::vector<RecordedFile> files;
  for (const std::string& bytes : segments) {
    files.push_back({std::to_string(files.size() + 1), bytes});
  }
  return files;
}

// n1 runs VMs and loses its power; what n2 recorded of it.
std::vector<RecordedFile> failover() {
  SimCluster cluster(recorded());
  REQUIRE(cluster.found().empty());
  cluster.power_cut(1);
  REQUIRE(cluster.run_until([&] { return cluster.all_run(); }, minutes(2)));
  return files_of(cluster.node(2).recording().segments());
}

std::string told_of(const std::vector<RecordedFile>& files, ReplayOptions options) {
  std::string text;
  options.say = [&](const std::string& line) { text += line + "\n"; };
  const Replayed done = replay(files, options);
  CHECK(done.problem.empty());
  return text;
}

}  // namespace

TEST_CASE("replay: daemons under faults, bit for bit; a recorded run is the same run") {
  RunOptions options;
  options.seed = GENERATE(3U, 4U, 5U);
  options.duration = minutes(2);
  const RunResult plain = run_seed(options);
  options.record = true;
  const RunResult result = run_seed(options);
  CHECK(result.fingerprint == plain.fingerprint);
  CHECK(result.steps == plain.steps);
  std::uint64_t steps = 0;
  for (const auto& [node, segments] : result.recordings) {
    const Replayed done = replay(files_of(segments), {});
    INFO(node);
    CHECK(done.equal());
    CHECK(done.warnings.empty());
    steps += done.steps;
  }
  CHECK(steps > 1000);
}

TEST_CASE("replay: tells what was decided, and why") {
  const std::string text = told_of(failover(), {});
  const auto tells = [&](const char* what) {
    INFO(what);
    CHECK(text.find(what) != std::string::npos);
  };
  tells("the view is n2 n3, the ring n2 n3, quorate -> says Hello");
  tells("all inputs are handled -> says fence n1, done by");
  tells("history: n1 is proven dead");
  tells("-> says start vm1 on n");
  tells("vm1 not on n1: ");
}

TEST_CASE("replay: any segment alone can be replayed") {
  const auto files = failover();
  REQUIRE(files.size() > 2);
  for (const RecordedFile& file : files) {
    const Replayed done = replay({file}, {});
    INFO(file.name);
    CHECK(done.equal());
    CHECK(done.steps > 0);
  }
}

TEST_CASE("replay: a segment that is missing is told, and the rest replayed") {
  auto files = failover();
  REQUIRE(files.size() > 2);
  files.erase(files.begin() + 1);
  const Replayed done = replay(files, {});
  CHECK(done.equal());
  REQUIRE(done.warnings.size() == 1);
  CHECK(done.warnings[0] == "steps are missing before 3");
}

TEST_CASE("replay: a cut is a recording of its own, equal again") {
  const auto files = failover();
  const std::uint64_t steps = replay(files, {}).steps;
  ReplayOptions options;
  options.cut = true;
  options.from = steps / 3;
  options.to = steps / 2;
  const Replayed done = replay(files, options);
  CHECK(done.equal());
  const Replayed again = replay({{"cut", done.cut}}, {});
  CHECK(again.equal());
  CHECK(again.steps == options.to - options.from + 1);
}

TEST_CASE("replay: a bit that flipped in the daemon's memory shows as a difference") {
  SimCluster cluster(recorded());
  REQUIRE(cluster.found().empty());
  cluster.node(2).flip_bit();
  // Enough entries for the next common position: there it finds out, and exits.
  for (int i = 0; i < 80; ++i) {
    ApplyConfiguration apply;
    apply.base = cluster.node(3).state().config.version;
    cluster.ask(NodeId(3), apply);
  }
  const auto files = files_of(cluster.node(2).recording().segments());
  const Replayed done = replay(files, {});
  CHECK_FALSE(done.equal());
  CHECK(done.problem.empty());
  CHECK(replay(files_of(cluster.node(3).recording().segments()), {}).equal());
}

TEST_CASE("replay: other effects than those recorded are told with their step") {
  const auto files = failover();
  const auto longest = std::max_element(
      files.begin(), files.end(),
      [](const auto& a, const auto& b) { return a.bytes.size() < b.bytes.size(); });
  const auto parsed = parse_segment(longest->bytes);
  const auto& segment = std::get<Segment>(parsed);
  // The same again, with the digest of one step's effects changed and one left out.
  SegmentWriter writer;
  std::string forged = writer.begin(segment.head);
  std::size_t with_effects = 0;
  for (const RecordedStep& step : segment.steps) {
    forged += writer.add(step.told);
    if (!step.did) continue;
    ++with_effects;
    if (with_effects == 1) continue;
    forged += writer.add(Did{with_effects == 2 ? step.did->next() : *step.did});
  }
  REQUIRE(with_effects > 2);
  const Replayed done = replay({{"forged", forged}}, {});
  REQUIRE(done.differences.size() == 2);
  CHECK(done.differences[0].find("recorded are no effects, here: ") != std::string::npos);
  CHECK(done.differences[1].find("recorded are other effects, here: ") != std::string::npos);
}

TEST_CASE("replay: another version is a warning, a checkpoint that it cannot read an error") {
  auto files = failover();
  const auto parsed = parse_segment(files[0].bytes);
  RecordingHead head = std::get<Segment>(parsed).head;
  head.product = "9.9.9";
  SegmentWriter writer;
  const Replayed other = replay({{"file", writer.begin(head)}}, {});
  CHECK(other.equal());
  REQUIRE(other.warnings.size() == 1);
  CHECK(other.warnings[0].starts_with("file was recorded by version 9.9.9, this is "));
  head.checkpoint = "something else";
  const Replayed strange = replay({{"file", writer.begin(head)}}, {});
  CHECK(strange.problem ==
        "file: this version does not understand the checkpoint of version 9.9.9");
}

TEST_CASE("replay: a torn tail is left out") {
  auto files = failover();
  files.back().bytes.resize(files.back().bytes.size() - 5);
  const Replayed done = replay(files, {});
  CHECK(done.equal());
  REQUIRE(done.warnings.size() == 1);
  CHECK(done.warnings[0].find("torn") != std::string::npos);
}
