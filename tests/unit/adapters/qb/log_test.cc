#include "clusterd/adapters/qb/log.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <vector>

namespace clusterd {
namespace {

// What `write` puts on stderr.
template <class Write>
std::vector<std::string> captured(Write write) {
  std::FILE* file = std::tmpfile();
  std::fflush(stderr);
  const int before = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  write();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  std::rewind(file);
  std::vector<std::string> lines(1);
  for (int c = 0; (c = std::fgetc(file)) != EOF;) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += static_cast<char>(c);
    }
  }
  std::fclose(file);
  lines.pop_back();
  return lines;
}

TEST_CASE("log: long text is not cut, control characters do not forge lines") {
  const auto lines = captured([] {
    Log log(LogOptions{});
    log.log(LogLevel::info, "100 % of %s\nfaked line");
    log.log(LogLevel::debug, "not asked for");
    log.log(LogLevel::error, std::string(9000, 'x'));
  });
  REQUIRE(lines.size() == 4);
  CHECK(lines[0].find("100 % of %s faked line") != std::string::npos);
  std::size_t count = 0;
  for (const auto& line : lines) count += static_cast<std::size_t>(
      std::count(line.begin(), line.end(), 'x'));
  CHECK(count == 9000);
  CHECK(lines[3].find("... x") != std::string::npos);
}

}  // namespace
}  // namespace clusterd
