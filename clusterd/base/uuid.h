// Uuid: 128 bits that identify a VM, a machine, a boot or a cluster.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace clusterd {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  // Reads 32 hex digits in either case, with hyphens anywhere between byte pairs (as libvirt,
  // /proc/sys/kernel/random/boot_id and /etc/machine-id write them); nothing else is accepted.
  [[nodiscard]] static std::optional<Uuid> parse(std::string_view text);
  // 8-4-4-4-12 in lower case.
  [[nodiscard]] std::string str() const;
  [[nodiscard]] bool is_nil() const { return *this == Uuid{}; }

  // Byte by byte, as two numbers: maps of VMs spend most of their time here, and a call of memcmp
  // costs several times as much.
  friend std::strong_ordering operator<=>(const Uuid& a, const Uuid& b) {
    if (const auto high = a.half(0) <=> b.half(0); high != 0) return high;
    return a.half(8) <=> b.half(8);
  }
  friend bool operator==(const Uuid& a, const Uuid& b) {
    return a.half(0) == b.half(0) && a.half(8) == b.half(8);
  }

 private:
  // Eight bytes from `at` on, the first the most significant.
  [[nodiscard]] std::uint64_t half(std::size_t at) const {
    std::uint64_t number = 0;
    std::memcpy(&number, bytes.data() + at, sizeof number);
    if constexpr (std::endian::native == std::endian::little) number = __builtin_bswap64(number);
    return number;
  }
};

}  // namespace clusterd
