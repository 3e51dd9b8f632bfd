// What may be told to a person: sentences and configuration errors that came of any input.
#pragma once

#include <algorithm>
#include <string_view>

#include "clusterd/base/assert.h"
#include "clusterd/base/text.h"
#include "clusterd/config/config_error.h"
#include "clusterd/model/limits.h"

namespace clusterd::fuzz {

// Says something, in bounded UTF-8 without control characters.
inline void check_told(std::string_view sentence) {
  CLUSTERD_ASSERT(!sentence.empty());
  CLUSTERD_ASSERT(sentence.size() <= limits::kDetail);
  CLUSTERD_ASSERT(is_utf8(sentence));
  CLUSTERD_ASSERT(!has_control(sentence));
}

// Every error has a message, and a place that exists: `text` is what `file` holds.
inline void check_errors(const ConfigErrors& errors, std::string_view file, std::string_view text) {
  const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
  for (const ConfigError& error : errors) {
    check_told(error.message);
    CLUSTERD_ASSERT(!error.place.file.empty());
    CLUSTERD_ASSERT(error.place.line >= 1);
    CLUSTERD_ASSERT(error.place.column >= 1);
    if (error.place.file == file) CLUSTERD_ASSERT(error.place.line <= lines);
  }
}

}  // namespace clusterd::fuzz
