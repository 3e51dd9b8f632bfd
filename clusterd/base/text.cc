#include "clusterd/base/text.h"

#include <cstdint>

namespace clusterd {
namespace {

// Bytes of the well-formed character at the front; 0 if there is none.
std::size_t character(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const unsigned first = byte(0);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool overlong = first == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = first == 0xed && byte(1) > 0x9f;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool overlong = first == 0xf0 && byte(1) < 0x90;
    const bool too_big = first == 0xf4 && byte(1) > 0x8f;
    return follows(1) && follows(2) && follows(3) && !overlong && !too_big ? 4 : 0;
  }
  return 0;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte == '\t' || byte == '\n' || byte == '\r') return false;
  return byte < 0x20 || byte == 0x7f;
}

}  // namespace

std::size_t utf8_prefix(std::string_view text) {
  std::size_t good = 0;
  while (good < text.size()) {
    const std::size_t size = character(text.substr(good));
    if (size == 0) break;
    good += size;
  }
  return good;
}

bool is_utf8(std::string_view text) { return utf8_prefix(text) == text.size(); }

bool has_control(std::string_view text) {
  for (const char c : text) {
    if (is_control(c)) return true;
  }
  return false;
}

std::string tidy_text(std::string_view text, std::size_t limit) {
  std::string tidy;
  while (!text.empty()) {
    const std::size_t size = character(text);
    const std::size_t step = size == 0 ? 1 : size;
    if (tidy.size() + step > limit) break;
    if (size == 0 || is_control(text.front())) {
      tidy += '?';
    } else {
      tidy.append(text.substr(0, size));
    }
    text.remove_prefix(step);
  }
  return tidy;
}

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

std::string last_words(std::string_view output, std::size_t limit) {
  std::string words;
  while (!output.empty()) {
    const std::size_t start = output.find_last_of("\n\r") + 1;  // npos + 1 is 0
    std::string line;
    for (const char c : output.substr(start)) line += (c >= ' ' && c <= '~') ? c : '?';
    output = output.substr(0, start == 0 ? 0 : start - 1);
    const std::size_t end = line.find_last_not_of(' ');
    if (end == line.npos) continue;
    line.resize(end + 1);
    if (words.size() + line.size() + 3 > limit) {
      if (words.empty()) words = line.substr(0, limit);
      break;
    }
    words = words.empty() ? line : line + " / " + words;
  }
  return words;
}

std::string lower_ascii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace clusterd
