// The parts of placement: who travels together, and the exact search for a place for all. Only
// placement*.cc includes this.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/engine/placement.h"

namespace clusterd::placement_detail {

// A VM on its way to a node.
struct Traveller {
  StartDemand demand;
  const VmState* state = nullptr;
  ResolvedVm rules;
  const VmRelations* relations = nullptr;
  std::string reserved_for;  // not empty: the lost host that still holds it
  bool companion = false;    // nobody asked for it now, but its group needs room for it
  bool guaranteed = true;
};

// What goes to one node as one: a VM, or the waiting members of a together_with group. The most
// important one is in front and speaks for all in matters of taste.
struct Party {
  std::vector<Traveller> members;
  Need need;
  std::string impossible;  // not empty: no node can ever take it

  [[nodiscard]] bool guaranteed() const { return members.front().guaranteed; }
  // Everybody in it ran before: in need it may have memory in degraded mode.
  [[nodiscard]] bool ran_before() const;
};

struct Found {
  std::vector<std::optional<NodeId>> node_of;  // of every party; nullopt: no place
  std::map<NodeId, std::vector<VmId>> leave;   // who makes room; ascending
};

// Places for the parties, which come most important first, of which none has been taken yet: for
// all if there are any, else for each as long as all before it keep theirs. nullopt: not decided
// within `steps` of packing.h.
[[nodiscard]] std::optional<Found> search(const PlacementInput& input,
                                          const std::vector<const Party*>& parties, Mode mode,
                                          std::uint64_t steps);

}  // namespace clusterd::placement_detail
