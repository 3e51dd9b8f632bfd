// scenario_tests [--expectations] FILE...: plays scenario files. CLUSTERD_REWRITE=1 writes their
// timelines anew; with --expectations a timeline may differ, only what is expected must hold.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/scenario/player.h"

namespace {

std::string read(const char* file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// From the first difference on: what the file says, and what happened.
void print_difference(const char* file, const std::string& expected, const std::string& actual) {
  constexpr std::size_t kShown = 12;
  const auto old_lines = lines_of(expected);
  const auto new_lines = lines_of(actual);
  std::size_t at = 0;
  while (at < old_lines.size() && at < new_lines.size() && old_lines[at] == new_lines[at]) ++at;
  std::printf("%s:%zu: the timeline differs; CLUSTERD_REWRITE=1 writes it anew\n", file, at + 1);
  for (std::size_t i = at; i < old_lines.size() && i < at + kShown; ++i) {
    std::printf("- %s\n", old_lines[i].c_str());
  }
  for (std::size_t i = at; i < new_lines.size() && i < at + kShown; ++i) {
    std::printf("+ %s\n", new_lines[i].c_str());
  }
}

bool play(const char* file, bool rewrite, bool any_timeline) {
  const std::string text = read(file);
  if (text.empty()) {
    std::printf("%s: cannot be read, or is empty\n", file);
    return false;
  }
  const auto played = clusterd::scenario::Player().play(text);
  for (const std::string& failure : played.failures) std::printf("%s: %s\n", file, failure.c_str());
  if (!played.failures.empty()) {
    print_difference(file, text, played.text);
    return false;
  }
  if (any_timeline || played.text == text) return true;
  if (!rewrite) {
    print_difference(file, text, played.text);
    return false;
  }
  std::ofstream out(file);
  out << played.text;
  out.close();
  if (!out) std::printf("%s: cannot be written\n", file);
  return static_cast<bool>(out);
}

}  // namespace

int main(int argc, char** argv) {
  const char* set = std::getenv("CLUSTERD_REWRITE");
  const bool rewrite = set != nullptr && std::string(set) == "1";
  const bool any_timeline = argc > 1 && std::string(argv[1]) == "--expectations";
  const int first = any_timeline ? 2 : 1;
  int failed = 0;
  for (int i = first; i < argc; ++i) failed += play(argv[i], rewrite, any_timeline) ? 0 : 1;
  std::printf("%d of %d scenarios failed\n", failed, argc - first);
  return failed == 0 && argc > first ? 0 : 1;
}
