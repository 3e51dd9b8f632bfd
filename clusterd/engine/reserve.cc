#include "clusterd/engine/reserve.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "clusterd/engine/failure_sets.h"
#include "clusterd/engine/planner.h"

namespace clusterd {
namespace {

using Index = Fleet::Index;
constexpr Index kNone = std::numeric_limits<Index>::max();
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

// Sets that are looked at when there are too many of a size that nobody requires.
constexpr std::uint64_t kWorstSets = 16;
// No remedy is looked for when more sets fail: the cluster is simply too small.
constexpr std::size_t kFailingSets = 64;

std::map<VmId, NodeId> places_of(const std::vector<Placement>& placements) {
  std::map<VmId, NodeId> places;
  for (const Placement& placement : placements) {
    if (const auto* chosen = std::get_if<Chosen>(&placement.result)) {
      places[placement.vm] = chosen->node;
    } else if (const auto* waits = std::get_if<Waits>(&placement.result)) {
      places[placement.vm] = waits->node;
    }
  }
  return places;
}

// Online nodes; first those whose loss takes most away, in what must be placed and in room.
std::vector<Index> worst_first(const Fleet& fleet) {
  std::vector<std::pair<std::uint64_t, Index>> order;
  for (Index n = 0; n < fleet.nodes().size(); ++n) {
    if (!fleet.nodes()[n].online) continue;
    std::uint64_t weight = fleet.room(n).memory;
    for (const Index vm : fleet.nodes()[n].guaranteed) weight += fleet.vms()[vm].need.memory;
    order.emplace_back(~weight, n);
  }
  std::sort(order.begin(), order.end());
  std::vector<Index> nodes;
  for (const auto& entry : order) nodes.push_back(entry.second);
  return nodes;
}

// How many VMs all sets of so many hosts displace together, at most; saturates.
std::uint64_t work_of(const Fleet& fleet, const std::vector<Index>& nodes, std::uint32_t hosts) {
  std::uint64_t vms = 0;
  for (const Index n : nodes) vms += fleet.nodes()[n].guaranteed.size();
  // Every node is in binomial(nodes - 1, hosts - 1) sets.
  std::uint64_t sets = 1;
  for (std::uint64_t i = 1; i < hosts; ++i) {
    if (sets > kMost / nodes.size()) return kMost;
    sets = sets * (nodes.size() - i) / i;
  }
  return vms != 0 && sets > kMost / vms ? kMost : sets * vms;
}

// Numbers of the new order for those of the old one; both ascend.
template <class Id, class Items>
std::vector<Index> renumbering(const std::vector<Id>& old, const Items& items) {
  std::vector<Index> result(old.size(), kNone);
  std::size_t at = 0;
  for (std::size_t i = 0; i < old.size(); ++i) {
    while (at < items.size() && items[at].id < old[i]) ++at;
    if (at < items.size() && items[at].id == old[i]) result[i] = static_cast<Index>(at);
  }
  return result;
}

template <class Id, class Items>
bool same_ids(const std::vector<Id>& old, const Items& items) {
  return std::equal(old.begin(), old.end(), items.begin(), items.end(),
                    [](const Id& id, const auto& item) { return id == item.id; });
}

template <class Id, class Items>
std::vector<Id> ids_of(const Items& items) {
  std::vector<Id> ids;
  ids.reserve(items.size());
  for (const auto& item : items) ids.push_back(item.id);
  return ids;
}

// Who speaks for an item: the most important of its VMs.
VmId leader(const Fleet& fleet, const std::vector<Index>& vms) {
  const Index best = *std::min_element(vms.begin(), vms.end(), [&](Index a, Index b) {
    return std::pair(~std::uint64_t{fleet.vms()[a].priority}, a) <
           std::pair(~std::uint64_t{fleet.vms()[b].priority}, b);
  });
  return fleet.vms()[best].id;
}

std::vector<NodeId> node_ids(const Fleet& fleet, const std::vector<Index>& nodes) {
  std::vector<NodeId> ids;
  for (const Index n : nodes) ids.push_back(fleet.nodes()[n].id);
  return ids;
}

}  // namespace

std::string_view name_of(Proof proof) {
  switch (proof) {
    case Proof::exact:
      return "exact";
    case Proof::unknown:
      return "unknown";
  }
  return "unknown";
}

// ---- one set of hosts --------------------------------------------------------------------------

void ReserveProver::renumber(const Fleet& fleet) {
  if (same_ids(nodes_, fleet.nodes()) && same_ids(vms_, fleet.vms())) return;
  const std::vector<Index> nodes = renumbering(nodes_, fleet.nodes());
  const std::vector<Index> vms = renumbering(vms_, fleet.vms());
  std::map<std::vector<Index>, Recovery> known;
  for (auto& [lost, recovery] : known_) {
    std::vector<Index> still_lost;
    for (const Index n : lost) still_lost.push_back(nodes[n]);
    if (std::count(still_lost.begin(), still_lost.end(), kNone) != 0) continue;
    Recovery kept;
    for (std::size_t i = 0; i < recovery.vms.size(); ++i) {
      const Index vm = vms[recovery.vms[i]];
      if (vm == kNone) continue;
      kept.vms.push_back(vm);
      kept.targets.push_back(nodes[recovery.targets[i]]);  // kNone is found to be no node
    }
    known.emplace(std::move(still_lost), std::move(kept));
  }
  known_ = std::move(known);
  nodes_ = ids_of<NodeId>(fleet.nodes());
  vms_ = ids_of<VmId>(fleet.vms());
}

void ReserveProver::forget() {
  for (auto entry = known_.begin(); entry != known_.end();) {
    entry = entry->second.round == round_ ? std::next(entry) : known_.erase(entry);
  }
}

bool ReserveProver::still_known(const Fleet& fleet, const std::vector<Index>& lost,
                                const std::vector<Index>& displaced) {
  const auto found = known_.find(lost);
  if (found == known_.end()) return false;
  Recovery& recovery = found->second;
  if (recovery.vms != displaced) {
    // Who need not be placed any more only leaves room.
    Recovery less;
    std::size_t at = 0;
    for (const Index vm : displaced) {
      while (at < recovery.vms.size() && recovery.vms[at] < vm) ++at;
      if (at == recovery.vms.size() || recovery.vms[at] != vm) return false;
      less.vms.push_back(vm);
      less.targets.push_back(recovery.targets[at]);
    }
    recovery = std::move(less);
  }
  if (!fleet.holds(recovery.vms, recovery.targets, lost)) return false;
  recovery.round = round_;
  return true;
}

ReserveProver::Finding ReserveProver::judge(const Fleet& fleet, const std::vector<Index>& lost) {
  std::vector<Index> displaced = fleet.displaced(lost);
  if (displaced.empty() || still_known(fleet, lost, displaced)) return {};
  if (steps_ > effort_.all_steps) return {PackingVerdict::unknown, std::nullopt};
  const FleetProblem problem = fleet.problem(displaced, lost);
  const PackingResult result = pack(problem.packing, {effort_.set_steps, PackingGoal::any});
  steps_ += result.steps;
  switch (result.verdict) {
    case PackingVerdict::unknown:
      return {result.verdict, std::nullopt};
    case PackingVerdict::does_not_fit:
      return {result.verdict, leader(fleet, problem.vms[result.blocking.value()])};
    case PackingVerdict::fits:
      break;
  }
  Recovery recovery{std::move(displaced), {}, round_};
  recovery.targets.resize(recovery.vms.size());
  for (Index item = 0; item < problem.vms.size(); ++item) {
    for (const Index vm : problem.vms[item]) {
      const auto at = std::lower_bound(recovery.vms.begin(), recovery.vms.end(), vm);
      recovery.targets[static_cast<std::size_t>(at - recovery.vms.begin())] = result.bin_of[item];
    }
  }
  known_[lost] = std::move(recovery);
  return {};
}

// ---- all sets ----------------------------------------------------------------------------------

ReserveProver::Level ReserveProver::prove_level(const Fleet& fleet, const std::vector<Index>& nodes,
                                                std::uint32_t hosts, std::uint64_t most) {
  Level level;
  FailureSets sets(nodes, hosts);
  std::uint64_t seen = 0;
  do {
    if (seen++ == most || level.refuted.size() + level.unknown.size() == kBlockingShown ||
        steps_ > effort_.all_steps) {
      level.complete = false;
      break;
    }
    std::vector<Index> lost = sets.set();
    std::sort(lost.begin(), lost.end());
    const Finding finding = judge(fleet, lost);
    if (finding.verdict == PackingVerdict::fits) continue;
    const bool known = finding.verdict == PackingVerdict::does_not_fit;
    (known ? level.refuted : level.unknown).push_back({node_ids(fleet, lost), finding.vm});
  } while (sets.next());
  return level;
}

void ReserveProver::prove_levels(const Fleet& fleet, Reserve& reserve) {
  const std::vector<Index> nodes = worst_first(fleet);
  for (std::uint32_t hosts = 1; hosts <= nodes.size(); ++hosts) {
    const bool required = hosts <= reserve.required;
    const bool all = required || work_of(fleet, nodes, hosts) <= effort_.beyond;
    Level level = prove_level(fleet, nodes, hosts, all ? kMost : kWorstSets);
    if (level.refuted.empty() && level.unknown.empty() && level.complete) {
      reserve.tolerated = hosts;
      continue;
    }
    const bool decided = !level.refuted.empty();
    reserve.blocking = std::move(decided ? level.refuted : level.unknown);
    std::sort(reserve.blocking.begin(), reserve.blocking.end(),
              [](const Blocking& a, const Blocking& b) { return a.down < b.down; });
    if (decided) break;
    reserve.at_least = true;
    if (required) reserve.proof = Proof::unknown;
    break;
  }
  reserve.ok = reserve.proof == Proof::exact && reserve.tolerated >= reserve.required;
}

std::optional<Remedy> ReserveProver::remedy(const ClusterState& state, const Fleet& fleet) {
  const std::uint32_t required = state.config.cluster.reserve_host_failures;
  std::vector<Index> nodes;
  for (Index n = 0; n < fleet.nodes().size(); ++n) {
    if (fleet.nodes()[n].online) nodes.push_back(n);
  }
  std::vector<std::vector<Index>> failing;
  for (std::uint32_t hosts = 1; hosts <= required && hosts <= nodes.size(); ++hosts) {
    FailureSets sets(nodes, hosts);
    do {
      const Finding finding = judge(fleet, sets.set());
      if (finding.verdict == PackingVerdict::unknown) return std::nullopt;
      if (finding.verdict == PackingVerdict::does_not_fit) failing.push_back(sets.set());
      if (failing.size() > kFailingSets) return std::nullopt;
    } while (sets.next());
  }
  return find_remedy(state, fleet, required, failing, effort_.remedy_steps);
}

Reserve ReserveProver::prove(const ClusterState& state, ClusterTime now) {
  const std::map<VmId, NodeId> planned = places_of(plan_vms(state, now).placements);
  const Fleet fleet(state, now, FleetUse::proof, planned);
  renumber(fleet);
  ++round_;
  steps_ = 0;
  Reserve reserve;
  reserve.required = state.config.cluster.reserve_host_failures;
  prove_levels(fleet, reserve);
  if (!reserve.ok && reserve.proof == Proof::exact) reserve.remedy = remedy(state, fleet);
  forget();
  return reserve;
}

Reserve reserve_of(const ClusterState& state, ClusterTime now, const ReserveEffort& effort) {
  return ReserveProver(effort).prove(state, now);
}

}  // namespace clusterd
