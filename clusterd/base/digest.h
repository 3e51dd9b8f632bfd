// Digest: a 64-bit fingerprint (FNV-1a) used to compare replicas and chain log entries.
//
// It finds divergence and bit flips, it does not resist an attacker: members of the group are
// trusted not to forge (Corosync authenticates them).
// Source: G. Fowler, L. C. Noll, K.-P. Vo, "The FNV Non-Cryptographic Hash Algorithm",
// draft-eastlake-fnv (64-bit prime and offset basis).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "clusterd/base/strong_id.h"

namespace clusterd {

using Digest = StrongId<struct DigestTag>;

class Hasher {
 public:
  void bytes(const void* data, std::size_t size) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < size; ++i) state_ = (state_ ^ p[i]) * 0x100000001b3ULL;
  }
  [[nodiscard]] Digest digest() const { return Digest(state_); }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

[[nodiscard]] inline Digest digest_of(std::string_view bytes) {
  Hasher hasher;
  hasher.bytes(bytes.data(), bytes.size());
  return hasher.digest();
}

}  // namespace clusterd
