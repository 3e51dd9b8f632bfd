// Log: where the daemon's lines go: stderr (the journal, under systemd), syslog, or both.
//
// One exists in a process (libqb's log is global). Safe from the loop's thread only.
#pragma once

#include <string>
#include <string_view>

namespace clusterd {

enum class LogLevel { error, warning, notice, info, debug };

struct LogOptions {
  std::string name = "clusterd";
  bool to_stderr = true;
  bool to_syslog = false;
  LogLevel level = LogLevel::info;  // this and everything more severe
};

class Log {
 public:
  explicit Log(const LogOptions& options);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Control characters are replaced: names and reasons come from outside, and one call must not
  // look like several lines. Long text continues on further lines that start with "... ".
  void log(LogLevel level, std::string_view text);
};

}  // namespace clusterd
