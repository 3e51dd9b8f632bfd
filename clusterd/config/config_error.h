// ConfigError: what is wrong in a file, and where.
#pragma once

#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace clusterd {

struct Place {
  std::string file;
  int line = 1;  // from 1
  int column = 1;

  friend auto operator<=>(const Place&, const Place&) = default;
};

struct ConfigError {
  Place place;
  std::string message;

  // "file:line:column: message"
  [[nodiscard]] std::string str() const;
  friend auto operator<=>(const ConfigError&, const ConfigError&) = default;
};

using ConfigErrors = std::vector<ConfigError>;

// The whole text of a regular file of at most `most` bytes that is UTF-8 without control characters
// (tab and line breaks are none); nullopt and one error otherwise.
[[nodiscard]] std::optional<std::string> read_text_file(const std::string& file, std::size_t most,
                                                        ConfigErrors& errors);

// The place of a byte of a text; counts columns in bytes.
[[nodiscard]] Place place_of(const std::string& file, std::string_view text, std::size_t offset);

}  // namespace clusterd
