#include "clusterd/engine/placement.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "clusterd/base/assert.h"
#include "clusterd/base/overloaded.h"
#include "clusterd/engine/placement_detail.h"
#include "clusterd/engine/queries.h"

namespace clusterd {

using namespace placement_detail;

namespace {

// What the exact search of one plan may cost, in steps of packing.h: some milliseconds.
constexpr std::uint64_t kSearchSteps = 300'000;

// ---- who travels together ------------------------------------------------------------------

std::optional<Traveller> traveller(const PlacementInput& input, const StartDemand& demand) {
  const auto known = input.state.vms.find(demand.vm);
  if (known == input.state.vms.end()) return std::nullopt;
  auto rules = resolved(input.state, known->second);
  if (!rules) return std::nullopt;
  Traveller result;
  result.demand = demand;
  result.state = &known->second;
  result.rules = std::move(*rules);
  result.relations = &input.relations.of(demand.vm);
  result.guaranteed = !is_preemptible(input.state, input.relations, demand.vm);
  return result;
}

bool is_new(const Traveller& t) {
  return t.demand.cause == Cause::desired;
}

// Smaller is placed earlier.
auto order_key(const Traveller& t) {
  return std::tuple(!t.guaranteed, is_new(t), ~std::uint64_t{t.rules.priority},
                    ~t.rules.size.memory, t.demand.vm);
}

auto order_key(const Party& party) {
  const Traveller& leader = party.members.front();
  return std::tuple(!leader.guaranteed, is_new(leader), ~std::uint64_t{leader.rules.priority},
                    ~party.need.memory, leader.demand.vm);
}

Party party_of(std::vector<Traveller> members) {
  Party party;
  party.members = std::move(members);
  std::sort(party.members.begin(), party.members.end(), [](const Traveller& a, const Traveller& b) {
    return std::tuple(a.companion, order_key(a)) < std::tuple(b.companion, order_key(b));
  });
  for (const Traveller& member : party.members) party.need.add(member.rules.size);
  for (const Traveller& member : party.members) {
    for (const Traveller& other : party.members) {
      const auto& apart = member.relations->apart;
      if (!std::binary_search(apart.begin(), apart.end(), other.demand.vm)) continue;
      party.impossible = member.state->name + " must be together with and away from " +
                         other.state->name + " at once";
    }
  }
  return party;
}

bool has_anchor(const PlacementInput& input, const VmRelations& relations) {
  return std::any_of(relations.group.begin(), relations.group.end(),
                     [&](const VmId& vm) { return !input.whereabouts.stays_on(vm).empty(); });
}

// Members of the group that should run, have no place, and were not asked for: in a back-off, or
// waiting for another VM. Without room kept for them the group would be torn or stuck.
std::vector<Traveller> companions(const PlacementInput& input, const VmRelations& relations,
                                  const std::vector<Traveller>& asked) {
  std::vector<Traveller> result;
  for (const VmId& vm : relations.group) {
    const bool is_asked = std::any_of(asked.begin(), asked.end(),
                                      [&](const Traveller& t) { return t.demand.vm == vm; });
    const auto known = input.state.vms.find(vm);
    if (is_asked || known == input.state.vms.end() || !should_run(known->second)) continue;
    StartDemand demand;
    demand.vm = vm;
    demand.cause = known->second.next_cause;
    if (auto companion = traveller(input, demand)) {
      companion->companion = true;
      result.push_back(std::move(*companion));
    }
  }
  return result;
}

// ---- choosing ------------------------------------------------------------------------------

// What this node offers the party: members that are counted there already need no room again.
NodeCapacity room_for(const PlacementInput& input, const Party& party, NodeId node,
                      NodeCapacity capacity) {
  for (const Traveller& member : party.members) {
    if (may_be_active_on(input.state, *member.state, node)) capacity.give_back(member.state->size);
  }
  return capacity;
}

std::optional<Exclusion> exclusion(const PlacementInput& input, const Party& party,
                                   const PlacementNode& node, Mode mode, Detail detail) {
  if (node.excluded) return node.excluded;
  for (const Traveller& member : party.members) {
    if (auto no = rule_exclusion(member.rules, node.id, *node.state, node.declaration, detail)) {
      return no;
    }
    if (auto no = relation_exclusion(input.state, *member.relations, input.whereabouts,
                                     member.demand.vm, node.id, detail)) {
      return no;
    }
  }
  return room_exclusion(node.id, room_for(input, party, node.id, input.capacity.of(node.id)),
                        party.need, detail, mode);
}

std::uint64_t broken_wishes(const PlacementInput& input, const Party& party, NodeId node) {
  std::uint64_t broken = 0;
  for (const Traveller& member : party.members) {
    broken += clusterd::broken_wishes(*member.relations, input.whereabouts, node);
  }
  return broken;
}

// It comes after all others; but it comes: a VM that fits nowhere else is better tried there than
// left down.
bool avoided(const PlacementInput& input, const Party& party, const PlacementNode& node) {
  return quarantined_until(*node.state, input.now).has_value() ||
         std::any_of(party.members.begin(), party.members.end(), [&](const Traveller& member) {
           return avoids(*member.state, node.id, input.now);
         });
}

// Compared from left to right; smaller is better.
using Score = std::array<std::uint64_t, 7>;

Score score(const PlacementInput& input, const Party& party, const PlacementNode& node, Mode mode) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  const Traveller& leader = party.members.front();
  const std::uint64_t rank = prefer_rank(leader.rules.placement, node.state->name);
  const bool backup = node.declaration && node.declaration->role == NodeRole::backup;
  const NodeCapacity room = room_for(input, party, node.id, input.capacity.of(node.id));
  const std::uint64_t free = room.memory_free(mode);
  const std::uint64_t left = free - std::min(free, party.need.memory);
  const std::uint64_t moved = leader.demand.stay_on == node.id ? 0 : 1;
  const std::uint64_t broken = broken_wishes(input, party, node.id);
  const std::uint64_t last_resort = avoided(input, party, node) ? 1 : 0;
  if (leader.demand.cause == Cause::host_lost) {
    return {last_resort, moved, backup ? 0U : 1U, rank, broken, kMost - left, 0};
  }
  // Free memory as a share, in millionths; in MiB, so that the product stays within 64 bits.
  const std::uint64_t whole = std::max<std::uint64_t>(room.memory >> 20, 1);
  const std::uint64_t share = (left >> 20) * 1000000 / whole;
  const bool last = leader.state->last_host && leader.state->last_host->node == node.id;
  return {last_resort, moved, rank, backup ? 1U : 0U, broken, last ? 0U : 1U, kMost - share};
}

std::variant<Chosen, NoCandidate> choose(const PlacementInput& input, const Party& party,
                                         Mode mode = Mode::normal) {
  if (!party.impossible.empty()) return NoCandidate{party.impossible, {}};
  const PlacementNode* best = nullptr;
  Score best_score{};
  for (const PlacementNode& node : input.nodes) {
    if (exclusion(input, party, node, mode, Detail::omit)) continue;
    const Score here = score(input, party, node, mode);
    if (best != nullptr && !(here < best_score)) continue;  // ties: the lower id came first
    best = &node;
    best_score = here;
  }
  if (best != nullptr) return Chosen{best->id};
  NoCandidate none;
  for (const PlacementNode& node : input.nodes) {
    auto why = exclusion(input, party, node, mode, Detail::tell);
    CLUSTERD_ASSERT(why.has_value());
    none.excluded.push_back(std::move(*why));
  }
  return none;
}

NoCandidate undeclared_vm() {
  return NoCandidate{"it is not declared", {}};
}

// ---- the plan ------------------------------------------------------------------------------

// The lost host that alone keeps this VM from being recovered, if there is one.
std::optional<Host> lost_holder(const ClusterState& state, const VmState& vm) {
  std::optional<Host> lost;
  for (const auto& [host, sighting] : vm.holders) {
    if (is_dead(state, host)) continue;
    if (!is_lost(state, host)) return std::nullopt;  // it may run on there
    lost = host;
  }
  return lost;
}

// What is found for a party before anybody is told.
struct Choice {
  std::variant<Chosen, NoCandidate> result = NoCandidate{};
  Mode mode = Mode::normal;  // in which there was room

  [[nodiscard]] std::optional<NodeId> node() const {
    const auto* chosen = std::get_if<Chosen>(&result);
    return chosen == nullptr ? std::nullopt : std::optional(chosen->node);
  }
};

class Plan {
 public:
  Plan(const ClusterState& state, ClusterTime now)
      : state_(state), input_(state, now), present_(input_.capacity) {
    for (const auto& [id, vm] : state.vms) {
      // An operation whose end is unknown may stay open for long; it must not block a slot.
      const auto& open = vm.operation;
      if (open && open->kind == VmOpKind::start && !open->unknown) ++starting_[open->executor.node];
    }
  }

  std::vector<Placement> run(const std::vector<StartDemand>& demands) {
    collect(demands);
    parties_ = form_parties();
    std::sort(parties_.begin(), parties_.end(),
              [](const Party& a, const Party& b) { return order_key(a) < order_key(b); });
    choices_.resize(parties_.size());
    std::vector<std::size_t> guaranteed;
    std::vector<std::size_t> preemptible;
    for (std::size_t i = 0; i < parties_.size(); ++i) {
      (parties_[i].guaranteed() ? guaranteed : preemptible).push_back(i);
    }
    place(guaranteed);
    if (homeless(guaranteed)) search_for(guaranteed, Mode::normal);
    if (homeless(guaranteed)) place_degraded(guaranteed);
    place(guaranteed);
    place(preemptible);
    for (std::size_t i = 0; i < parties_.size(); ++i) settle(parties_[i], choices_[i]);
    return std::move(result_);
  }

 private:
  void collect(const std::vector<StartDemand>& demands) {
    std::set<VmId> seen;
    for (const StartDemand& demand : demands) {
      if (!seen.insert(demand.vm).second) continue;
      if (auto one = traveller(input_, demand)) {
        asked_.emplace(demand.vm, std::move(*one));
      } else {
        refused_.emplace(demand.vm, Placement{demand.vm, demand.cause, undeclared_vm()});
      }
    }
    for (const auto& [id, vm] : state_.vms) {
      if (vm.holders.empty() || !should_run(vm) || seen.count(id) != 0) continue;
      const auto host = lost_holder(state_, vm);
      if (!host) continue;
      StartDemand demand;
      demand.vm = id;
      demand.cause = Cause::host_lost;
      auto one = traveller(input_, demand);
      if (!one) continue;
      one->reserved_for = node_name(state_, host->node);
      asked_.emplace(id, std::move(*one));
    }
    for (auto& entry : refused_) result_.push_back(std::move(entry.second));
  }

  // Takes everybody out of asked_.
  std::vector<Party> form_parties() {
    std::vector<Party> parties;
    while (!asked_.empty()) {
      std::vector<Traveller> members = leave(asked_.begin()->first);
      const VmRelations& relations = *members.front().relations;
      // Once a member has its place there is nothing to choose: each follows when it fits.
      if (!relations.group.empty() && !has_anchor(input_, relations)) {
        for (const VmId& vm : relations.group) {
          for (Traveller& other : leave(vm)) members.push_back(std::move(other));
        }
        for (Traveller& other : companions(input_, relations, members)) {
          members.push_back(std::move(other));
        }
      }
      parties.push_back(party_of(std::move(members)));
    }
    return parties;
  }

  std::vector<Traveller> leave(const VmId& vm) {
    std::vector<Traveller> one;
    const auto found = asked_.find(vm);
    if (found == asked_.end()) return one;
    one.push_back(std::move(found->second));
    asked_.erase(found);
    return one;
  }

  // ---- choosing --------------------------------------------------------------------------------

  void take(std::size_t i, NodeId node, Mode mode) {
    choices_[i] = {Chosen{node}, mode};
    for (const Traveller& member : parties_[i].members) {
      input_.take(member.demand.vm, counted_size(member, node), node);
    }
  }

  void give_back(std::size_t i) {
    const auto node = choices_[i].node();
    if (!node) return;
    choices_[i].result = NoCandidate{};
    for (const Traveller& member : parties_[i].members) {
      input_.give_back(member.demand.vm, counted_size(member, *node), *node);
    }
  }

  // Who is counted there already takes no room twice.
  [[nodiscard]] Resources counted_size(const Traveller& member, NodeId node) const {
    const bool counted = may_be_active_on(state_, *member.state, node);
    return counted ? Resources{} : member.rules.size;
  }

  // One after the other, those that have no place yet.
  void place(const std::vector<std::size_t>& parties, Mode mode = Mode::normal) {
    for (const std::size_t i : parties) {
      if (choices_[i].node()) continue;
      choices_[i].result = choose(input_, parties_[i], mode);
      if (const auto node = choices_[i].node()) take(i, *node, mode);
    }
  }

  [[nodiscard]] bool homeless(const std::vector<std::size_t>& parties) const {
    return std::any_of(parties.begin(), parties.end(),
                       [&](std::size_t i) { return !choices_[i].node(); });
  }

  // Replaces what was found one by one; keeps that, as it was chosen with taste, if the search
  // comes to no end or finds places for the same parties only.
  void search_for(const std::vector<std::size_t>& chosen, Mode mode) {
    std::vector<std::optional<NodeId>> places;
    std::vector<const Party*> parties;
    for (const std::size_t i : chosen) {
      places.push_back(choices_[i].node());
      parties.push_back(&parties_[i]);
      give_back(i);
    }
    auto found = search(input_, parties, mode, kSearchSteps);
    const auto alike = [](const auto& a, const auto& b) { return a.has_value() == b.has_value(); };
    if (found && !std::equal(places.begin(), places.end(), found->node_of.begin(), alike)) {
      places = std::move(found->node_of);
      leave_ = std::move(found->leave);
      searched_ = true;
    }
    for (std::size_t n = 0; n < chosen.size(); ++n) {
      if (places[n]) take(chosen[n], *places[n], mode);
    }
  }

  // VMs that ran before may have memory at overcommit.degraded_memory: a slow VM is better than
  // none.
  void place_degraded(const std::vector<std::size_t>& guaranteed) {
    const Overcommit& factor = state_.config.cluster.overcommit;
    if (factor.degraded_memory <= factor.memory) return;
    std::vector<std::size_t> before;
    for (const std::size_t i : guaranteed) {
      if (parties_[i].ran_before()) before.push_back(i);
    }
    place(before, Mode::degraded);
    if (!homeless(before)) return;
    // New demand takes what is left afterwards.
    for (const std::size_t i : guaranteed) {
      if (!parties_[i].ran_before()) give_back(i);
    }
    search_for(before, Mode::degraded);
  }

  // ---- telling ---------------------------------------------------------------------------------

  void settle(const Party& party, const Choice& choice) {
    std::visit(overloaded{[&](const Chosen& chosen) {
                            for (const Traveller& member : party.members) {
                              settle(member, chosen.node, choice.mode);
                            }
                          },
                          [&](const NoCandidate& none) {
                            for (const Traveller& member : party.members) answer(member, none);
                          }},
               choice.result);
  }

  void settle(const Traveller& member, NodeId node, Mode mode) {
    if (!member.reserved_for.empty()) {
      answer(
          member,
          Waits{
              node, WaitKind::proof, member.reserved_for + " is lost and not yet proven dead", {}});
    } else if (!member.demand.hold.empty()) {
      answer(member, Waits{node, WaitKind::held, member.demand.hold, {}});
    } else if (member.companion) {
      return;
    } else if (searched_ && !goes_now(member, node, mode)) {
      const auto leaving = leave_.find(node);
      answer(member, Waits{node, WaitKind::preemption, "others make room for it first",
                           leaving == leave_.end() ? std::vector<VmId>{} : leaving->second});
    } else {
      start_or_queue(member, node);
    }
  }

  // Nobody has to leave before it can start: there is room beside all who are there now.
  bool goes_now(const Traveller& member, NodeId node, Mode mode) {
    const Whereabouts now(state_);
    const VmId& vm = member.demand.vm;
    if (relation_exclusion(state_, *member.relations, now, vm, node, Detail::omit)) return false;
    Need need;
    need.add(counted_size(member, node));
    if (room_exclusion(node, present_.of(node), need, Detail::omit, mode)) return false;
    present_.reserve(counted_size(member, node), node);
    return true;
  }

  void start_or_queue(const Traveller& member, NodeId node) {
    const auto& limit = state_.config.cluster.parallel_starts_per_node;
    std::uint32_t& starting = starting_[node];
    if (limit && starting >= *limit) {
      answer(member, Waits{node,
                           WaitKind::start_limit,
                           node_name(state_, node) + " starts " + std::to_string(starting) +
                               " VMs already (parallel_starts_per_node)",
                           {}});
      return;
    }
    ++starting;
    answer(member, Chosen{node});
  }

  void answer(const Traveller& member, std::variant<Chosen, Waits, NoCandidate> result) {
    if (member.companion) return;  // nobody asked
    result_.push_back({member.demand.vm, member.demand.cause, std::move(result)});
  }

  const ClusterState& state_;
  PlacementInput input_;
  Capacity present_;  // what is used now, and by those of this plan that start at once
  std::map<NodeId, std::uint32_t> starting_;
  std::map<VmId, Traveller> asked_;
  std::map<VmId, Placement> refused_;
  std::vector<Party> parties_;
  std::vector<Choice> choices_;                // of the parties
  bool searched_ = false;                      // places may have to be emptied first
  std::map<NodeId, std::vector<VmId>> leave_;  // who does that
  std::vector<Placement> result_;
};

}  // namespace

namespace placement_detail {

bool Party::ran_before() const {
  return std::all_of(members.begin(), members.end(), [](const Traveller& member) {
    return member.demand.cause == Cause::host_lost || clusterd::ran_before(*member.state);
  });
}

}  // namespace placement_detail

PlacementInput::PlacementInput(const ClusterState& cluster, ClusterTime time)
    : state(cluster),
      now(time),
      capacity(cluster),
      relations(cluster.config),
      whereabouts(cluster) {
  for (const auto& [id, node] : cluster.nodes) {
    nodes.push_back({id, &node, node_declaration(cluster, id), node_exclusion(cluster, id, time)});
  }
}

void PlacementInput::take(const VmId& vm, const Resources& size, NodeId node) {
  capacity.reserve(size, node);
  whereabouts.put(vm, node);
}

void PlacementInput::give_back(const VmId& vm, const Resources& size, NodeId node) {
  capacity.release(size, node);
  whereabouts.forget(vm);
}

std::variant<Chosen, NoCandidate> place(const PlacementInput& input, const StartDemand& demand) {
  auto one = traveller(input, demand);
  if (!one) return undeclared_vm();
  const VmRelations& relations = *one->relations;
  std::vector<Traveller> members;
  members.push_back(std::move(*one));
  if (!relations.group.empty() && !has_anchor(input, relations)) {
    for (Traveller& other : companions(input, relations, members)) {
      members.push_back(std::move(other));
    }
  }
  return choose(input, party_of(std::move(members)));
}

std::vector<Placement> plan_starts(const ClusterState& state,
                                   const std::vector<StartDemand>& demands, ClusterTime now) {
  return Plan(state, now).run(demands);
}

}  // namespace clusterd
