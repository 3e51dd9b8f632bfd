// The words of a scenario: how numbers, times, sizes and lists are written.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/queue.h"

namespace clusterd::scenario {

using Words = std::vector<std::string>;

// What a scenario says wrongly, or what did not hold: ends the play.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline Words split(const std::string& text, char separator = ' ') {
  Words words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, separator);) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

inline std::string joined(const Words& words, std::size_t from = 0) {
  std::string text;
  for (std::size_t i = from; i < words.size(); ++i) text += (i == from ? "" : " ") + words[i];
  return text;
}

inline const std::string& word(const Words& words, std::size_t index) {
  if (index >= words.size()) throw Failure("something is missing after '" + joined(words) + "'");
  return words[index];
}

inline std::uint64_t number(const std::string& text) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) {
    throw Failure("'" + text + "' is no number");
  }
  return std::stoull(text);
}

// "n3" or "vm12": the number behind the prefix.
inline std::uint32_t numbered(const std::string& text, const std::string& prefix) {
  if (!text.starts_with(prefix)) throw Failure("'" + text + "' is no " + prefix + "<number>");
  return static_cast<std::uint32_t>(number(text.substr(prefix.size())));
}

inline std::uint32_t vm_number(const std::string& text) {
  return numbered(text, "vm");
}
inline std::uint32_t node_number(const std::string& text) {
  return numbered(text, "n");
}

// 150ms, 9s, 2m, 3h.
inline sim::SimTime span(const std::string& text) {
  static const std::map<std::string, sim::SimTime> kUnits = {{"ms", std::chrono::milliseconds(1)},
                                                             {"s", std::chrono::seconds(1)},
                                                             {"m", std::chrono::seconds(60)},
                                                             {"h", std::chrono::seconds(3600)}};
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto unit = kUnits.find(text.substr(digits));
  if (unit == kUnits.end()) throw Failure("'" + text + "' is no time like 150ms, 9s or 2m");
  return unit->second * static_cast<std::int64_t>(number(text.substr(0, digits)));
}

inline std::uint64_t gibibytes(const std::string& text) {
  if (text.empty() || text.back() != 'G') throw Failure("'" + text + "' is no size like 8G");
  return number(text.substr(0, text.size() - 1)) << 30;
}

inline std::set<std::string> name_set(const std::string& text) {
  const Words names = split(text, ',');
  return {names.begin(), names.end()};
}

// on/off words of a switch.
inline bool either(const std::string& text, const std::string& yes, const std::string& no) {
  if (text != yes && text != no) throw Failure("expected '" + yes + "' or '" + no + "'");
  return text == yes;
}

inline std::pair<std::string, std::string> key_and_value(const std::string& text) {
  const std::size_t at = text.find('=');
  if (at == std::string::npos) throw Failure("'" + text + "' is not key=value");
  return {text.substr(0, at), text.substr(at + 1)};
}

}  // namespace clusterd::scenario
