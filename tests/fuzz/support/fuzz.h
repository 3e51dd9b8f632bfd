// What every fuzz target is made of. A target is one file tests/fuzz/NAME.cc that defines
// fuzz_one(); it states with CLUSTERD_ASSERT what must hold for any input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// One input, of any content and length. Returns when everything held, aborts otherwise.
void fuzz_one(std::string_view input);

namespace clusterd::fuzz {

// Reads an input as a script: numbers and chunks of bytes one after another. Behind the end
// everything is 0 or empty, so that every input is a script.
class Script {
 public:
  explicit Script(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }

  std::uint8_t byte() {
    const auto value = rest_.empty() ? 0 : static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(rest_.empty() ? 0 : 1);
    return static_cast<std::uint8_t>(value);
  }
  // Two bytes, the low one first.
  std::uint16_t number() {
    const unsigned low = byte();
    return static_cast<std::uint16_t>(low | (static_cast<unsigned>(byte()) << 8));
  }
  // A number, and as many bytes as it says.
  std::string_view chunk() {
    const std::size_t size = number();
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

 private:
  std::string_view rest_;
};

// The bytes that Script::chunk() reads. Precondition: bytes.size() < 65536.
inline std::string chunk_of(std::string_view bytes) {
  std::string chunk;
  chunk += static_cast<char>(bytes.size() & 0xff);
  chunk += static_cast<char>(bytes.size() >> 8);
  chunk += bytes;
  return chunk;
}

}  // namespace clusterd::fuzz
