// Redaction: what an agent printed, made fit to be shown: its end only, on one line, without the
// secrets it was given.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "fencing/agent/wiped_text.h"

namespace clusterd {

// Keeps the last bytes of a stream, and enough before them to recognise a secret that the cut
// goes through.
class OutputTail {
 public:
  static constexpr std::size_t kShown = 4096;
  static constexpr std::size_t kKept = 2 * kShown;  // a secret is at most 4 KiB long

  void append(std::string_view bytes);
  // The last kShown bytes, each secret in them replaced by [hidden].
  [[nodiscard]] std::string shown(const std::vector<WipedText>& secrets) const;

  ~OutputTail();
  OutputTail() = default;
  OutputTail(OutputTail&&) = default;
  OutputTail& operator=(OutputTail&&) = default;
  OutputTail(const OutputTail&) = delete;
  OutputTail& operator=(const OutputTail&) = delete;

 private:
  std::vector<char> bytes_;
};

}  // namespace clusterd
