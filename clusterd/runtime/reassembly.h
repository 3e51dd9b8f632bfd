// Reassembly: puts values that travelled in fragments together again.
//
// A value counts as delivered at the position of its last fragment. What is incomplete at a view
// change is void at every member alike, since all of them saw the same fragments before it; the
// bounds depend on what was delivered only, so that all members drop the same values.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "clusterd/codec/wire.h"
#include "clusterd/model/event.h"

namespace clusterd {

class Reassembly {
 public:
  // Bytes that incomplete values of all senders may take together.
  static constexpr std::size_t kMaxBytes = 256 * 1024 * 1024;
  // Incomplete values at a time of one sender: a snapshot and a configuration change, and spare.
  static constexpr std::size_t kMaxValues = 4;

  struct Incomplete {};
  struct Refused {
    std::string reason;
  };
  using Outcome = std::variant<Incomplete, std::string, Refused>;

  // The whole value with its last fragment; a refused fragment voids its value.
  [[nodiscard]] Outcome add(GroupMember sender, Fragment fragment);
  // A view change: everything incomplete is void.
  void reset();

  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Key {
    GroupMember sender;
    Incarnation incarnation;
    std::uint64_t value = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Partial {
    std::uint32_t total = 0;
    std::uint32_t next = 0;
    std::string bytes;
  };

  void drop(std::map<Key, Partial>::iterator partial);

  std::map<Key, Partial> partials_;
  std::size_t bytes_ = 0;
};

}  // namespace clusterd
