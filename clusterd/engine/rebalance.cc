#include "clusterd/engine/rebalance.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "clusterd/engine/cpu_pools.h"
#include "clusterd/engine/placement.h"
#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

constexpr std::int64_t kWhole = 1'000'000;
// How many moves are tried against the reserve, in all: a proof each.
constexpr int kMostProofs = 256;

// Of `offered`; in MiB where bytes are meant, so that the product stays within 64 bits.
std::int64_t share(std::uint64_t used, std::uint64_t offered) {
  return static_cast<std::int64_t>(used * kWhole / std::max<std::uint64_t>(offered, 1));
}

// What is in use of a host: memory, vCPUs.
std::array<std::int64_t, 2> shares(const NodeCapacity& room) {
  return {share(room.memory_used >> 20, room.memory >> 20), share(room.vcpus_used, room.vcpus)};
}

// How much load a host takes over, or gives away, with a VM.
struct Shift {
  std::int64_t load = 0;  // the change of the sum of squares
  std::int64_t size = 0;  // of the VM, in shares of this host
};

Shift shift(const NodeCapacity& before, const NodeCapacity& after) {
  Shift result;
  const auto old = shares(before);
  const auto now = shares(after);
  for (std::size_t i = 0; i < old.size(); ++i) {
    result.load += now[i] * now[i] - old[i] * old[i];
    result.size += std::abs(now[i] - old[i]);
  }
  return result;
}

// What a move is good for; more is better, the first first.
struct Gain {
  std::int64_t wishes = 0;
  std::int64_t backup = 0;  // 1: empties a backup node, -1: fills one
  std::int64_t load = 0;

  friend auto operator<=>(const Gain&, const Gain&) = default;
};

struct Candidate {
  Gain gain;
  MoveReason why = MoveReason::load;
  MoveVm move;
};

// One host as balancing sees it.
struct Side {
  NodeCapacity room;
  bool backup = false;
  bool counts = false;  // its load is to be evened
};

// A VM that may be moved, and where it is.
struct Movable {
  VmId id;
  const VmState* state = nullptr;
  ResolvedVm rules;
  NodeId from;
};

class Balancer {
 public:
  Balancer(const ClusterState& state, ClusterTime now, const RebalanceRules& rules)
      : state_(state), now_(now), rules_(rules) {}

  Rebalance run() {
    Rebalance result;
    result.spread_before = result.spread_after = spread(PlacementInput(state_, now_));
    result.hindered = hindrance();
    if (!result.hindered.empty()) return result;
    reserve_ = prover_.prove(state_, now_);
    while (result.moves.size() < rules_.most_moves) {
      const auto move = next();
      if (!move) break;
      result.moves.push_back(*move);
    }
    result.spread_after = spread(PlacementInput(state_, now_));
    return result;
  }

 private:
  [[nodiscard]] std::string hindrance() const {
    for (const auto& [id, node] : state_.nodes) {
      if (node.loss) return node_name(state_, id) + " is lost and not yet proven dead";
    }
    return start_brake(state_);
  }

  // The best move that holds, and is made here; nullopt: none pays.
  std::optional<ProposedMove> next() {
    const PlacementInput input(state_, now_);
    std::vector<Candidate> candidates;
    read_sides(input);
    const bool uneven = spread(input) >= rules_.threshold;
    for (const auto& [id, vm] : state_.vms) {
      const auto movable = as_movable(input, id, vm);
      if (movable) add_candidates(input, *movable, uneven, candidates);
    }
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      return std::tie(b.gain, a.move.vm, a.move.to) < std::tie(a.gain, b.move.vm, b.move.to);
    });
    for (const Candidate& candidate : candidates) {
      if (excluded(input, candidate.move)) continue;
      if (++proofs_ > kMostProofs) break;
      if (!keeps_reserve(candidate.move)) continue;
      moved_.insert(candidate.move.vm);
      return ProposedMove{candidate.move, candidate.why};
    }
    return std::nullopt;
  }

  void read_sides(const PlacementInput& input) {
    sides_.clear();
    for (const PlacementNode& node : input.nodes) {
      Side& side = sides_[node.id];
      side.room = input.capacity.of(node.id);
      if (node.declaration == nullptr) continue;
      side.backup = node.declaration->role == NodeRole::backup;
      side.counts = !node.excluded && !side.backup && !node.declaration->exclusive &&
                    !quarantined_until(*node.state, now_) && side.room.memory >> 20 != 0;
    }
  }

  std::uint32_t spread(const PlacementInput& input) {
    read_sides(input);
    std::int64_t widest = 0;
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
      std::int64_t least = std::numeric_limits<std::int64_t>::max();
      std::int64_t most = 0;
      for (const auto& [id, side] : sides_) {
        if (!side.counts) continue;
        least = std::min(least, shares(side.room)[i]);
        most = std::max(most, shares(side.room)[i]);
      }
      widest = std::max(widest, most - least);
    }
    return static_cast<std::uint32_t>(std::min<std::int64_t>(widest, UINT32_MAX));
  }

  std::optional<Movable> as_movable(const PlacementInput& input, const VmId& id,
                                    const VmState& vm) const {
    if (moved_.contains(id) || vm.holders.size() != 1 || vm.operation || !should_run(vm) ||
        vm.restart_ordered) {
      return std::nullopt;
    }
    const auto& [host, sighting] = *vm.holders.begin();
    const Member* member = synced_member(state_, host.node);
    if (sighting.state != DomainState::running || member == nullptr || member->boot != host.boot ||
        !input.relations.of(id).group.empty()) {
      return std::nullopt;
    }
    auto rules = resolved(state_, vm);
    if (!rules || rules->migration == MigrationPolicy::never) return std::nullopt;
    return Movable{id, &vm, std::move(*rules), host.node};
  }

  void add_candidates(const PlacementInput& input, const Movable& vm, bool uneven,
                      std::vector<Candidate>& candidates) const {
    const Side& from = sides_.at(vm.from);
    NodeCapacity left = from.room;
    left.give_back(vm.state->size);
    const Shift leaves = shift(from.room, left);
    const auto wishes_at = [&](NodeId node) {
      return static_cast<std::int64_t>(
          broken_wishes(input.relations.of(vm.id), input.whereabouts, node) +
          prefer_rank(vm.rules.placement, state_.nodes.at(node).name));
    };
    const std::int64_t wishes = wishes_at(vm.from);
    for (const PlacementNode& node : input.nodes) {
      if (node.id == vm.from || node.excluded) continue;
      const Side& to = sides_.at(node.id);
      NodeCapacity full = to.room;
      full.take(vm.rules.size);
      const Shift comes = shift(to.room, full);
      Candidate one;
      one.move = {vm.id, vm.from, node.id};
      one.gain.wishes = wishes - wishes_at(node.id);
      one.gain.backup = (from.backup ? 1 : 0) - (to.backup ? 1 : 0);
      one.gain.load = (from.counts ? -leaves.load : 0) - (to.counts ? comes.load : 0);
      const auto cost = static_cast<std::int64_t>(kMoveCost) * (leaves.size + comes.size);
      if (one.gain.wishes > 0) {
        one.why = MoveReason::wish;
      } else if (one.gain.wishes == 0 && one.gain.backup > 0) {
        one.why = MoveReason::backup;
      } else if (one.gain.wishes != 0 || one.gain.backup != 0 || !uneven || !from.counts ||
                 !to.counts || one.gain.load < std::max<std::int64_t>(cost, 1)) {
        continue;
      }
      candidates.push_back(one);
    }
  }

  [[nodiscard]] bool excluded(const PlacementInput& input, const MoveVm& move) const {
    const VmState& vm = state_.vms.at(move.vm);
    const auto rules = resolved(state_, vm);
    const NodeState& from = state_.nodes.at(move.from);
    const NodeState& to = state_.nodes.at(move.to);
    Need need;
    need.add(rules->size);
    return !may_share_pool(from.facts, to.facts) || quarantined_until(to, now_) ||
           avoids(vm, move.to, now_) ||
           rule_exclusion(*rules, move.to, to, node_declaration(state_, move.to), Detail::omit) ||
           relation_exclusion(state_, input.relations.of(move.vm), input.whereabouts, move.vm,
                              move.to, Detail::omit) ||
           room_exclusion(move.to, input.capacity.of(move.to), need, Detail::omit);
  }

  void carry_out(const VmId& id, NodeId to) {
    VmState& vm = state_.vms.at(id);
    const Sighting sighting = vm.holders.begin()->second;
    const Host host{to, state_.view.members.at(to).boot};
    vm.holders = {{host, sighting}};
    vm.last_host = host;
  }

  // Makes the move, unless it would cost a part of the reserve.
  bool keeps_reserve(const MoveVm& move) {
    carry_out(move.vm, move.to);
    Reserve after = prover_.prove(state_, now_);
    if (after.tolerated < reserve_.tolerated || (reserve_.ok && !after.ok)) {
      carry_out(move.vm, move.from);
      return false;
    }
    reserve_ = std::move(after);
    return true;
  }

  ClusterState state_;  // as it would be
  ClusterTime now_;
  RebalanceRules rules_;
  ReserveProver prover_;
  Reserve reserve_;
  std::map<NodeId, Side> sides_;
  std::set<VmId> moved_;  // each at most once a plan
  int proofs_ = 0;
};

}  // namespace

std::string_view name_of(MoveReason reason) {
  switch (reason) {
    case MoveReason::wish:
      return "wish";
    case MoveReason::backup:
      return "backup";
    case MoveReason::load:
      return "load";
  }
  return "";
}

Rebalance rebalance(const ClusterState& state, ClusterTime now, const RebalanceRules& rules) {
  return Balancer(state, now, rules).run();
}

RebalanceReport report_rebalance(const ClusterState& state, const Rebalance& rebalance) {
  RebalanceReport report;
  report.hindered = rebalance.hindered;
  for (const auto& [move, why] : rebalance.moves) {
    report.moves.push_back({state.vms.at(move.vm).name, node_name(state, move.from),
                            node_name(state, move.to), std::string(name_of(why))});
  }
  report.spread_before = rebalance.spread_before;
  report.spread_after = rebalance.spread_after;
  return report;
}

}  // namespace clusterd
