#include "clusterd/config/config_error.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "clusterd/base/text.h"

namespace clusterd {

std::string ConfigError::str() const {
  return place.file + ":" + std::to_string(place.line) + ":" + std::to_string(place.column) + ": " +
         message;
}

Place place_of(const std::string& file, std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line_start = before.rfind('\n');
  const std::size_t column =
      line_start == std::string_view::npos ? before.size() : before.size() - line_start - 1;
  return {file, 1 + static_cast<int>(std::count(before.begin(), before.end(), '\n')),
          1 + static_cast<int>(column)};
}

std::optional<std::string> read_text_file(const std::string& file, std::size_t most,
                                          ConfigErrors& errors) {
  const auto fail = [&](const std::string& why) {
    errors.push_back({{file, 1, 1}, why});
    return std::nullopt;
  };
  std::error_code problem;
  const auto status = std::filesystem::status(file, problem);
  if (status.type() == std::filesystem::file_type::not_found) return fail("there is no such file");
  if (problem) return fail("cannot be read: " + problem.message());
  if (!std::filesystem::is_regular_file(status)) return fail("is not a regular file");
  const auto size = std::filesystem::file_size(file, problem);
  if (problem) return fail("cannot be read: " + problem.message());
  if (size > most) {
    return fail("has " + std::to_string(size) + " bytes; at most " + std::to_string(most) +
                " are read");
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail("cannot be opened: are you allowed to read it?");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) return fail("cannot be read to its end");
  if (text.size() > most) return fail("grew while it was read");
  if (const auto good = utf8_prefix(text); good != text.size()) {
    errors.push_back({place_of(file, text, good), "this byte is no UTF-8"});
    return std::nullopt;
  }
  // YAML and XML forbid them, but a YAML parser may take one for the end of the file.
  const auto control = std::find_if(text.begin(), text.end(), [](const char& c) {
    return has_control({&c, 1});
  });
  if (control != text.end()) {
    const auto offset = static_cast<std::size_t>(control - text.begin());
    errors.push_back({place_of(file, text, offset), "this byte is a control character"});
    return std::nullopt;
  }
  return text;
}

}  // namespace clusterd
