#include "fencing/agent/wiped_text.h"

#include <string.h>

#include <utility>

namespace clusterd {

WipedText& WipedText::operator=(WipedText&& other) noexcept {
  if (this == &other) return *this;
  wipe();
  bytes_ = std::move(other.bytes_);
  return *this;
}

void WipedText::append(std::string_view text) {
  if (bytes_.capacity() - bytes_.size() < text.size()) {
    // A vector that grows by itself would leave the old bytes in freed memory.
    std::vector<char> larger;
    larger.reserve(2 * (bytes_.size() + text.size()));
    larger.insert(larger.end(), bytes_.begin(), bytes_.end());
    wipe();
    bytes_ = std::move(larger);
  }
  bytes_.insert(bytes_.end(), text.begin(), text.end());
}

void WipedText::wipe() noexcept {
  if (!bytes_.empty()) explicit_bzero(bytes_.data(), bytes_.size());
  bytes_.clear();
}

}  // namespace clusterd
