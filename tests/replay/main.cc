// replay_tests FILE.rec...: replays recordings of incidents. The effects must be those recorded,
// bit for bit, and the story that replay tells must be FILE.txt. CLUSTERD_REWRITE=1 accepts what
// this version decides: both files are written anew, and the difference of FILE.txt is what to
// review.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "tests/sim/replay_command.h"

namespace {

using namespace clusterd::sim;

// Accepts what this version decides, and brings the file to its encoding.
std::string rewritten(const std::string& file) {
  ReplayOptions options;
  options.cut = true;
  const Replayed done = replay(read_recording(file), options);
  if (done.problem.empty()) write_file(file, done.cut);
  return done.problem;
}

// Empty: as expected. Otherwise what is not.
std::string check(const std::string& file, bool rewrite) {
  if (rewrite) {
    if (std::string problem = rewritten(file); !problem.empty()) return problem;
  }
  std::string story;
  ReplayOptions options;
  options.say = [&](const std::string& line) { story += line + "\n"; };
  const Replayed done = replay(read_recording(file), options);
  if (!done.problem.empty()) return done.problem;
  if (!done.differences.empty()) return done.differences.front();
  const std::string story_file = file.substr(0, file.rfind('.')) + ".txt";
  if (rewrite) write_file(story_file, story);
  const bool same = read_recording(story_file).front().bytes == story;
  return same ? "" : story_file + " tells another story than this version";
}

}  // namespace

int main(int argc, char** argv) {
  const char* set = std::getenv("CLUSTERD_REWRITE");
  const bool rewrite = set != nullptr && std::string(set) == "1";
  int failed = 0;
  for (int i = 1; i < argc; ++i) {
    try {
      const std::string problem = check(argv[i], rewrite);
      if (problem.empty()) continue;
      std::printf("%s\nCLUSTERD_REWRITE=1 accepts it: docs/testing.md\n", problem.c_str());
    } catch (const std::exception& error) {
      std::printf("%s\n", error.what());
    }
    ++failed;
  }
  std::printf("%d of %d recordings failed\n", failed, argc - 1);
  return failed == 0 && argc > 1 ? 0 : 1;
}
