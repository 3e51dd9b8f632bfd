// Uuid: 128 bits that identify a VM, a machine, a boot or a cluster.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
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

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
};

}  // namespace clusterd
