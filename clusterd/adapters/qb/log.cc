#include "clusterd/adapters/qb/log.h"

#include <qb/qblog.h>

#include <algorithm>

namespace clusterd {

namespace {

std::uint8_t priority(LogLevel level) {
  switch (level) {
    case LogLevel::error: return LOG_ERR;
    case LogLevel::warning: return LOG_WARNING;
    case LogLevel::notice: return LOG_NOTICE;
    case LogLevel::info: return LOG_INFO;
    case LogLevel::debug: return LOG_DEBUG;
  }
  return LOG_ERR;
}

void enable(qb_log_target_slot target, LogLevel level, const char* format) {
  const auto slot = static_cast<std::int32_t>(target);
  qb_log_ctl(slot, QB_LOG_CONF_MAX_LINE_LEN, QB_LOG_ABSOLUTE_MAX_LEN);  // default: 512
  qb_log_filter_ctl(slot, QB_LOG_FILTER_CLEAR_ALL, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
  qb_log_filter_ctl(slot, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", priority(level));
  qb_log_format_set(slot, format);
  qb_log_ctl(slot, QB_LOG_CONF_ENABLED, QB_TRUE);
}

// Leaves room for what the format puts in front.
constexpr std::size_t kLine = QB_LOG_ABSOLUTE_MAX_LEN - 256;

}  // namespace

Log::Log(const LogOptions& options) {
  qb_log_init(options.name.c_str(), LOG_DAEMON, LOG_TRACE);
  // qb_log_init switches syslog on.
  qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
  if (options.to_syslog) enable(QB_LOG_SYSLOG, options.level, "%b");
  if (options.to_stderr) enable(QB_LOG_STDERR, options.level, "%p %b");
}

Log::~Log() { qb_log_fini(); }

void Log::log(LogLevel level, std::string_view text) {
  const char* lead = "";
  do {
    std::size_t size = std::min(text.size(), kLine);
    // Not within a UTF-8 sequence: continuation bytes are 10xxxxxx.
    while (size < text.size() && size > kLine - 4 && (text[size] & 0xc0) == 0x80) --size;
    std::string line(text.substr(0, size));
    for (char& c : line) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
    qb_log_from_external_source("log", "clusterd", "%s%s", priority(level), 0, 0, lead,
                                line.c_str());
    text.remove_prefix(size);
    lead = "... ";
  } while (!text.empty());
}

}  // namespace clusterd
