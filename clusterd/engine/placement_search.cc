// The exact search behind plan_starts: what parties need, as a packing of a Fleet.
#include <algorithm>

#include "clusterd/engine/fleet.h"
#include "clusterd/engine/placement_detail.h"

namespace clusterd::placement_detail {
namespace {

using Index = Fleet::Index;

class Search {
 public:
  Search(const PlacementInput& input, const std::vector<const Party*>& parties, Mode mode,
         std::uint64_t steps)
      : fleet_(input.state, input.now, FleetUse::plan), mode_(mode), steps_(steps) {
    for (Index node = 0; node < fleet_.nodes().size(); ++node) {
      const auto known = input.state.nodes.find(fleet_.nodes()[node].id);
      if (known != input.state.nodes.end() && known->second.loss) lost_.push_back(node);
    }
    for (const Party* party : parties) {
      std::vector<Index> vms;
      for (const Traveller& member : party->members) {
        vms.push_back(fleet_.vm(member.demand.vm).value());
      }
      std::sort(vms.begin(), vms.end());
      parties_.push_back(party->impossible.empty() ? std::move(vms) : std::vector<Index>{});
    }
  }

  std::optional<Found> run() {
    // Parties that fit nowhere even alone would only be in the way of finding out who does.
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < parties_.size(); ++i) {
      if (!parties_[i].empty() && fits_alone(i)) open.push_back(i);
    }
    std::vector<std::size_t> kept;
    Found best;
    while (!open.empty()) {
      const auto count = longest(kept, open, best);
      if (!count) return std::nullopt;
      kept.insert(kept.end(), open.begin(), open.begin() + *count);
      open.erase(open.begin(), open.begin() + std::min(*count + 1, size(open)));
    }
    best.node_of.resize(parties_.size());
    return best;
  }

 private:
  static std::ptrdiff_t size(const std::vector<std::size_t>& list) {
    return static_cast<std::ptrdiff_t>(list.size());
  }

  [[nodiscard]] bool fits_alone(std::size_t party) const {
    const PackingProblem alone = fleet_.problem(parties_[party], lost_, mode_).packing;
    return std::all_of(alone.items.begin(), alone.items.end(), [&](const PackingItem& item) {
      return std::any_of(item.bins.begin(), item.bins.end(), [&](std::uint32_t bin) {
        return item.size.fits_in(alone.bins[bin].room);
      });
    });
  }

  // How many of `open`, from the front, fit beside `kept`; `best`: how. nullopt: not decided.
  std::optional<std::ptrdiff_t> longest(const std::vector<std::size_t>& kept,
                                        const std::vector<std::size_t>& open, Found& best) {
    std::ptrdiff_t fits = 0;
    std::ptrdiff_t too_many = size(open) + 1;
    for (std::ptrdiff_t count = size(open); fits + 1 < too_many; count = (fits + too_many) / 2) {
      std::vector<std::size_t> chosen = kept;
      chosen.insert(chosen.end(), open.begin(), open.begin() + count);
      std::vector<Index> vms;
      for (const std::size_t party : chosen) {
        vms.insert(vms.end(), parties_[party].begin(), parties_[party].end());
      }
      std::sort(vms.begin(), vms.end());
      const FleetProblem problem = fleet_.problem(vms, lost_, mode_);
      const PackingResult result = pack(problem.packing, {.limit = steps_});
      steps_ -= std::min(steps_, result.steps);
      switch (result.verdict) {
        case PackingVerdict::unknown:
          return std::nullopt;
        case PackingVerdict::fits:
          fits = count;
          best = found(problem, result);
          break;
        case PackingVerdict::does_not_fit:
          too_many = count;
          break;
      }
    }
    return fits;
  }

  [[nodiscard]] Found found(const FleetProblem& problem, const PackingResult& result) const {
    std::map<Index, NodeId> place;
    for (std::size_t item = 0; item < problem.vms.size(); ++item) {
      const NodeId node = fleet_.nodes()[result.bin_of[item]].id;
      for (const Index vm : problem.vms[item]) place[vm] = node;
    }
    Found answer;
    for (const std::vector<Index>& party : parties_) {
      const auto at = party.empty() ? place.end() : place.find(party.front());
      answer.node_of.push_back(at == place.end() ? std::nullopt : std::optional(at->second));
    }
    for (std::size_t bin = 0; bin < result.leave.size(); ++bin) {
      const FleetNode& node = fleet_.nodes()[bin];
      for (const std::uint32_t lodger : result.leave[bin]) {
        answer.leave[node.id].push_back(fleet_.vms()[node.lodgers[lodger]].id);
      }
    }
    return answer;
  }

  const Fleet fleet_;
  const Mode mode_;
  std::uint64_t steps_;
  std::vector<Index> lost_;                  // hosts, ascending
  std::vector<std::vector<Index>> parties_;  // their VMs; empty: no node can ever take them
};

}  // namespace

std::optional<Found> search(const PlacementInput& input, const std::vector<const Party*>& parties,
                            Mode mode, std::uint64_t steps) {
  return Search(input, parties, mode, steps).run();
}

}  // namespace clusterd::placement_detail
