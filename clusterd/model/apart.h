// Apart: whether things that must keep apart from each other find different nodes.
//
// Nodes have no size here: an item may use a node or it may not, and items that are apart never
// share one. That is colouring a graph from lists, and NP-hard; so what is said to be impossible
// is proven, and what is not proven within a limit of work is not said. Used by check_placement on
// declarations, before any VM runs.
//
// Sources: Hall 1935 (a set of items that sees fewer nodes than it has items is too large), Vizing
// 1976 and Erdos, Rubin, Taylor 1979 (an item with more nodes than neighbours never matters).
#pragma once

#include <cstdint>
#include <vector>

namespace clusterd {

struct ApartItem {
  std::vector<std::uint32_t> nodes;  // that it may use, ascending
  std::vector<std::uint32_t> apart;  // other items, ascending; stands in both of them
};

// The work after which nothing more is looked for; some ten milliseconds.
constexpr std::uint64_t kApartSteps = 1'000'000;

// Sets of items, ascending, that have no place together: whatever all other items do, there are
// not enough different nodes for them. No two sets share an item. An item without nodes is a set
// of its own. Deterministic, also where the limit ends it.
[[nodiscard]] std::vector<std::vector<std::uint32_t>> crowded(const std::vector<ApartItem>& items,
                                                              std::uint64_t limit = kApartSteps);

}  // namespace clusterd
