// The ring of segments on disk: bounded, private, and never in anybody's way.
#include "clusterd/adapters/store/file_recording.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <algorithm>
#include <csignal>
#include <memory>

#include "tests/unit/adapters/store/store_fixture.h"

using namespace clusterd;
using namespace clusterd::store_test;

namespace {

constexpr std::uint64_t kLimit = 64 * 1024;

struct Lines {
  std::mutex mutex;
  std::vector<std::string> lines;
};

class RecordingBench {
 public:
  explicit RecordingBench(std::uint64_t limit = kLimit) : limit_(limit) { open(); }

  void open() {
    FileRecordingOptions options;
    options.limit = limit_;
    options.log = [this](const std::string& line) {
      const std::lock_guard<std::mutex> lock(told_.mutex);
      told_.lines.push_back(line);
    };
    recording = std::make_unique<FileRecording>(folder(), std::move(options));
  }
  // Waits until all is written.
  void close() { recording.reset(); }
  [[nodiscard]] std::string folder() const { return parent_.path + "/recording"; }
  std::vector<std::string> told() {
    const std::lock_guard<std::mutex> lock(told_.mutex);
    return told_.lines;
  }
  // Name -> content.
  [[nodiscard]] std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder())) {
      std::ifstream in(entry.path(), std::ios::binary);
      found[entry.path().filename()] = {std::istreambuf_iterator<char>(in), {}};
    }
    return found;
  }
  [[nodiscard]] std::uint64_t size() const {
    std::uint64_t sum = 0;
    for (const auto& [name, bytes] : files()) sum += bytes.size();
    return sum;
  }

  std::unique_ptr<FileRecording> recording;

 private:
  const std::uint64_t limit_;
  TemporaryFolder parent_;
  Lines told_;
};

unsigned mode_of(const std::string& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 0777U;
}

}  // namespace

TEST_CASE("file recording: segments are files that only root reads") {
  RecordingBench bench;
  bench.recording->begin("head");
  bench.recording->append("one");
  bench.recording->append("two");
  bench.close();
  CHECK(bench.files() == std::map<std::string, std::string>{{"00000001.rec", "headonetwo"}});
  CHECK(mode_of(bench.folder()) == 0700U);
  CHECK(mode_of(bench.folder() + "/00000001.rec") == 0600U);
  CHECK(bench.told().empty());
}

TEST_CASE("file recording: the oldest segments go, all together stay within the bound") {
  RecordingBench bench;
  constexpr std::size_t kRounds = 30;
  for (std::size_t round = 1; round <= kRounds; ++round) {
    bench.recording->begin("head " + std::to_string(round));
    while (bench.recording->wants() == Recording::Wants::records) {
      bench.recording->append(std::string(100, 'x'));
    }
    CHECK(bench.recording->wants() == Recording::Wants::segment);
    bench.close();
    CHECK(bench.size() <= kLimit);
    bench.open();
  }
  bench.close();
  // The newest ones are left, under the numbers that they always had.
  const auto files = bench.files();
  CHECK(bench.size() > kLimit / 2);
  CHECK(files.size() >= FileRecording::kSegments - 1);
  CHECK(files.rbegin()->first == "00000030.rec");
  CHECK(files.rbegin()->second.starts_with("head 30"));
  CHECK(bench.told().empty());
}

TEST_CASE("file recording: a later daemon goes on behind the segments of the earlier one") {
  RecordingBench bench;
  bench.recording->begin("first");
  bench.close();
  bench.open();
  bench.recording->begin("second");
  bench.close();
  CHECK(bench.files() ==
        std::map<std::string, std::string>{{"00000001.rec", "first"}, {"00000002.rec", "second"}});
}

TEST_CASE("file recording: one that cannot be written stops with one line") {
  RecordingBench bench;
  std::ofstream(bench.folder()) << "a file where the folder should be";
  bench.recording->begin("head");
  bench.recording->append("one");
  bench.close();
  REQUIRE(bench.told().size() == 1);
  CHECK(bench.told()[0].starts_with("nothing is recorded for replay any more"));
}

TEST_CASE("file recording: a state larger than the bound stops it, earlier ones stay") {
  RecordingBench bench;
  bench.recording->begin("head");
  bench.close();
  bench.open();
  bench.recording->begin(std::string(kLimit + 1, 'x'));
  CHECK(bench.recording->wants() == Recording::Wants::nothing);
  bench.close();
  CHECK(bench.told().size() == 1);
  CHECK(bench.files() == std::map<std::string, std::string>{{"00000001.rec", "head"}});
}

TEST_CASE("file recording: what crashed the daemon is on disk") {
  RecordingBench bench;
  bench.close();
  const int signal = GENERATE(SIGABRT, SIGSEGV);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    FileRecording recording(bench.folder(), {});
    recording.survive_crash();
    recording.begin("head");
    for (int i = 0; i < 1000; ++i) recording.append(".");
    recording.append("the last event");
    ::raise(signal);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == signal);
  CHECK(bench.files().at("00000001.rec").ends_with("the last event"));
}
