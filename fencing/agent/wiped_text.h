// WipedText: bytes that are overwritten when they are no longer needed. For secrets, and for the
// agent's input that contains them. It can be moved, never copied.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace clusterd {

class WipedText {
 public:
  WipedText() = default;
  ~WipedText() { wipe(); }
  WipedText(WipedText&& other) noexcept : bytes_(std::move(other.bytes_)) {}
  WipedText& operator=(WipedText&& other) noexcept;
  WipedText(const WipedText&) = delete;
  WipedText& operator=(const WipedText&) = delete;

  // Leaves no copy behind when it has to grow.
  void append(std::string_view text);
  // Valid until the next append.
  [[nodiscard]] std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  void wipe() noexcept;

  std::vector<char> bytes_;
};

}  // namespace clusterd
