// Rebalance: which running VMs would pay for a move. Pure; it proposes, and moves nothing.
//
// What a cluster costs, most important first: soft rules that are broken (prefer, and how far down
// its list of nodes), memory on backup nodes, which should be empty, and uneven load. Load is the
// sum over all other hosts of the squares of the shares of their memory and vCPUs in use: a host
// at 90 % costs more than two at 45 %. A move must lower the first of these that it changes, break
// no hard rule and take nothing from the reserve.
//
// Moves do not swing: each lowers a cost that has a bottom, so plan after plan comes to an end, and
// never to a layout that was there before. One that only evens load must gain more than it costs
// (kMoveCost), which the way back then cannot, unless the load has changed by that much since.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clusterd/engine/reserve.h"
#include "clusterd/model/report.h"

namespace clusterd {

enum class MoveReason : std::uint8_t { wish, backup, load };
constexpr MoveReason enum_last(MoveReason) {
  return MoveReason::load;
}
// "wish", "backup", "load".
[[nodiscard]] std::string_view name_of(MoveReason reason);

struct ProposedMove {
  MoveVm move;
  MoveReason why = MoveReason::load;
  friend bool operator==(const ProposedMove&, const ProposedMove&) = default;
};

// Shares are in millionths.
struct RebalanceRules {
  std::size_t most_moves = 16;
  // Load is evened only while the fullest and the emptiest host differ by at least so much.
  std::uint32_t threshold = 200'000;
};

// How far apart two equal hosts must be, beyond the size of the VM, for a move to pay: 5 %.
constexpr std::uint64_t kMoveCost = 50'000;

struct Rebalance {
  std::string hindered;  // why nothing is moved now, for people; empty: nothing hinders it
  std::vector<ProposedMove> moves;  // one after another; each holds when those before it are made
  // The difference between the fullest and the emptiest host that is no backup node.
  std::uint32_t spread_before = 0;
  std::uint32_t spread_after = 0;
  friend bool operator==(const Rebalance&, const Rebalance&) = default;
};

// Only VMs that could be migrated alive are moved: active on one host and nowhere else, wanted
// running, not bound by together_with (their group would be torn meanwhile), with a migration
// policy that allows it, between hosts whose CPUs are the same as far as they are known. Nothing
// is proposed while a host is lost or nothing may start: that comes first.
// O(moves * VMs * nodes), and a proof of the reserve for each move that is tried.
[[nodiscard]] Rebalance rebalance(const ClusterState& state, ClusterTime now,
                                  const RebalanceRules& rules = {});

// The same with names; `state` is the one that was asked about.
[[nodiscard]] RebalanceReport report_rebalance(const ClusterState& state,
                                               const Rebalance& rebalance);

}  // namespace clusterd
