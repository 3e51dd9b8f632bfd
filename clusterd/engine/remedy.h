// Remedy: the smallest change known after which a lost reserve would hold again. Pure; a part of
// the proof (reserve.h), which calls it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/engine/fleet.h"

namespace clusterd {

struct AddMemory {
  NodeId node;
  std::uint64_t bytes = 0;  // whole MiB
  friend bool operator==(const AddMemory&, const AddMemory&) = default;
};
struct MoveVm {
  VmId vm;
  NodeId from;
  NodeId to;
  friend bool operator==(const MoveVm&, const MoveVm&) = default;
};

// The least memory that helps when it is added to one host, and the smallest VM whose move helps,
// as far as a limited search found them; at least one of them.
struct Remedy {
  std::optional<AddMemory> memory;
  std::optional<MoveVm> move;
  std::string text;  // for people: "2 GiB more on n3, or db1 moved from n2 to n4"
  friend bool operator==(const Remedy&, const Remedy&) = default;
};

// What would make every set of up to `hosts` online hosts recoverable. VMs that have no place now
// are not thought of: they may take the room that is made, and then more is needed. Precondition:
// `failing` are exactly those sets (ascending indices) that are not.
[[nodiscard]] std::optional<Remedy> find_remedy(
    const ClusterState& state, const Fleet& fleet, std::uint32_t hosts,
    const std::vector<std::vector<std::uint32_t>>& failing, std::uint64_t limit);

}  // namespace clusterd
