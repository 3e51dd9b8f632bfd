// The exact search behind plan_starts: parties become items, nodes bins, preemptible VMs lodgers.
#include <algorithm>
#include <tuple>
#include <utility>

#include "clusterd/engine/packing.h"
#include "clusterd/engine/placement_detail.h"
#include "clusterd/engine/queries.h"

namespace clusterd::placement_detail {
namespace {

using Index = std::uint32_t;

// Somebody on a node who does not stay if that makes room.
struct Lodger {
  VmId vm;
  NodeId node;
  std::uint32_t priority = 0;
  Resources size;
  bool leaving = false;  // its stop is under way
};

// nullopt: it stays.
std::optional<Lodger> lodger(const PlacementInput& input, const VmId& id, const VmState& vm) {
  if (vm.holders.size() != 1) return std::nullopt;
  const Host& host = vm.holders.begin()->first;
  Lodger one{id, host.node, 0, vm.size, false};
  const auto& open = vm.operation;
  one.leaving =
      open && open->kind == VmOpKind::stop && open->cause != Cause::restart_order && !open->unknown;
  if (one.leaving) return one;
  const bool goes = should_run(vm) && vm.next_stop <= input.now &&
                    is_preemptible(input.state, input.relations, id);
  if (!goes) return std::nullopt;
  if (const auto policy = resolved(input.state, vm)) one.priority = policy->priority;
  return one;
}

PackingSize size_of(const Resources& size) {
  return {size.memory, size.vcpus};
}
PackingSize size_of(const Need& need) {
  return {need.memory, need.vcpus};
}

bool apart(const Party& a, const Party& b) {
  return std::any_of(a.members.begin(), a.members.end(), [&](const Traveller& one) {
    const auto& foes = one.relations->apart;
    return std::any_of(b.members.begin(), b.members.end(), [&](const Traveller& other) {
      return std::binary_search(foes.begin(), foes.end(), other.demand.vm);
    });
  });
}

bool apart(const Party& party, const VmId& vm) {
  return std::any_of(party.members.begin(), party.members.end(), [&](const Traveller& one) {
    return std::binary_search(one.relations->apart.begin(), one.relations->apart.end(), vm);
  });
}

class Search {
 public:
  Search(const PlacementInput& input, const std::vector<const Party*>& parties, Mode mode,
         std::uint64_t steps)
      : input_(input), parties_(parties), mode_(mode), steps_(steps) {
    find_lodgers();
    make_bins();
    make_items();
  }

  std::optional<Found> run() {
    // Parties that fit nowhere even alone would only be in the way of finding out who does.
    std::vector<Index> open;
    for (Index i = 0; i < parties_.size(); ++i) {
      if (fits_alone(i)) open.push_back(i);
    }
    std::vector<Index> kept;
    PackingResult best;
    while (!open.empty()) {
      const auto count = longest(kept, open, best);
      if (!count) return std::nullopt;
      kept.insert(kept.end(), open.begin(), open.begin() + *count);
      open.erase(open.begin(), open.begin() + std::min<std::ptrdiff_t>(*count + 1, size(open)));
    }
    return found(kept, best);
  }

 private:
  static std::ptrdiff_t size(const std::vector<Index>& list) {
    return static_cast<std::ptrdiff_t>(list.size());
  }

  void find_lodgers() {
    for (const auto& [id, vm] : input_.state.vms) {
      if (auto one = lodger(input_, id, vm)) lodgers_.push_back(std::move(*one));
    }
    std::sort(lodgers_.begin(), lodgers_.end(), [](const Lodger& a, const Lodger& b) {
      return std::tuple(a.priority, a.size.memory, a.vm) <
             std::tuple(b.priority, b.size.memory, b.vm);
    });
    for (const Lodger& one : lodgers_) gone_.push_back(one.vm);
    std::sort(gone_.begin(), gone_.end());
  }

  void make_bins() {
    for (const PlacementNode& node : input_.nodes) {
      if (node.excluded) continue;
      NodeCapacity room = input_.capacity.of(node.id);
      PackingBin bin;
      std::vector<VmId> here;
      for (const Lodger& one : lodgers_) {
        if (one.node != node.id) continue;
        room.give_back(one.size);
        if (one.leaving) continue;
        bin.lodgers.push_back({size_of(one.size), {}});
        here.push_back(one.vm);
      }
      bin.room = {room.memory_free(mode_), room.vcpus_free()};
      problem_.bins.push_back(std::move(bin));
      lodgers_of_.push_back(std::move(here));
      nodes_.push_back(&node);
    }
  }

  void make_items() {
    for (Index i = 0; i < parties_.size(); ++i) {
      const Party& party = *parties_[i];
      PackingItem item;
      item.size = size_of(party.need);
      for (Index bin = 0; bin < nodes_.size() && party.impossible.empty(); ++bin) {
        if (!rules_exclusion(input_, party, *nodes_[bin], Detail::omit, gone_)) {
          item.bins.push_back(bin);
        }
      }
      for (Index other = 0; other < i; ++other) {
        if (!apart(party, *parties_[other])) continue;
        item.apart.push_back(other);
        problem_.items[other].apart.push_back(i);
      }
      problem_.items.push_back(std::move(item));
      for (Index bin = 0; bin < nodes_.size(); ++bin) {
        for (Index l = 0; l < lodgers_of_[bin].size(); ++l) {
          if (apart(party, lodgers_of_[bin][l])) problem_.bins[bin].lodgers[l].apart.push_back(i);
        }
      }
    }
  }

  [[nodiscard]] bool fits_alone(Index i) const {
    const PackingItem& item = problem_.items[i];
    return std::any_of(item.bins.begin(), item.bins.end(),
                       [&](Index bin) { return item.size.fits_in(problem_.bins[bin].room); });
  }

  // The problem of some of the parties; bins keep their numbers.
  [[nodiscard]] PackingProblem part(const std::vector<Index>& chosen) const {
    std::map<Index, Index> number;
    for (Index i = 0; i < chosen.size(); ++i) number[chosen[i]] = i;
    const auto renumber = [&](std::vector<Index>& items) {
      std::vector<Index> kept;
      for (const Index item : items) {
        const auto known = number.find(item);
        if (known != number.end()) kept.push_back(known->second);
      }
      items = std::move(kept);
    };
    PackingProblem part;
    part.bins = problem_.bins;
    for (const Index i : chosen) part.items.push_back(problem_.items[i]);
    for (PackingItem& item : part.items) renumber(item.apart);
    for (PackingBin& bin : part.bins) {
      for (PackingLodger& one : bin.lodgers) renumber(one.apart);
    }
    return part;
  }

  // How many of `open`, from the front, fit beside `kept`; `best`: how. nullopt: not decided.
  std::optional<std::ptrdiff_t> longest(const std::vector<Index>& kept,
                                        const std::vector<Index>& open, PackingResult& best) {
    std::ptrdiff_t fits = 0;
    std::ptrdiff_t too_many = size(open) + 1;
    for (std::ptrdiff_t count = size(open); fits + 1 < too_many; count = (fits + too_many) / 2) {
      std::vector<Index> chosen = kept;
      chosen.insert(chosen.end(), open.begin(), open.begin() + count);
      PackingResult result = pack(part(chosen), steps_);
      steps_ -= std::min(steps_, result.steps);
      switch (result.verdict) {
        case PackingVerdict::unknown:
          return std::nullopt;
        case PackingVerdict::fits:
          fits = count;
          best = std::move(result);
          break;
        case PackingVerdict::does_not_fit:
          too_many = count;
          break;
      }
    }
    return fits;
  }

  [[nodiscard]] Found found(const std::vector<Index>& kept, const PackingResult& best) const {
    Found answer;
    answer.node_of.resize(parties_.size());
    for (Index i = 0; i < kept.size(); ++i) {
      answer.node_of[kept[i]] = nodes_[best.bin_of[i]]->id;
    }
    for (Index bin = 0; bin < best.leave.size(); ++bin) {
      for (const Index one : best.leave[bin]) {
        answer.leave[nodes_[bin]->id].push_back(lodgers_of_[bin][one]);
      }
    }
    for (auto& [node, vms] : answer.leave) std::sort(vms.begin(), vms.end());
    return answer;
  }

  const PlacementInput& input_;
  const std::vector<const Party*>& parties_;
  const Mode mode_;
  std::uint64_t steps_;
  std::vector<Lodger> lodgers_;  // who should leave first, first
  std::vector<VmId> gone_;       // the same, by id
  PackingProblem problem_;
  std::vector<const PlacementNode*> nodes_;    // of the bins
  std::vector<std::vector<VmId>> lodgers_of_;  // of the bins
};

}  // namespace

std::optional<Found> search(const PlacementInput& input, const std::vector<const Party*>& parties,
                            Mode mode, std::uint64_t steps) {
  return Search(input, parties, mode, steps).run();
}

}  // namespace clusterd::placement_detail
