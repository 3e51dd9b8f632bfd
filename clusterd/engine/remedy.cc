#include "clusterd/engine/remedy.h"

#include <algorithm>
#include <numeric>

#include "clusterd/engine/constraints.h"
#include "clusterd/engine/failure_sets.h"
#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

using Index = std::uint32_t;
using Set = std::vector<Index>;
constexpr std::uint64_t kMib = 1ULL << 20;

// For one set: a remedy that is hard to verify is none.
constexpr std::uint64_t kSetSteps = 20'000;

class Search {
 public:
  Search(const ClusterState& state, const Fleet& fleet, std::uint32_t hosts,
         const std::vector<Set>& failing, std::uint64_t limit)
      : state_(state), fleet_(fleet), hosts_(hosts), failing_(failing), limit_(limit) {
    for (Index n = 0; n < fleet.nodes().size(); ++n) {
      if (fleet.nodes()[n].online) online_.push_back(n);
    }
  }

  // Half of the work each, so that one does not starve the other.
  std::optional<Remedy> run() {
    Remedy remedy;
    remedy.memory = least_memory();
    steps_ = 0;
    remedy.move = smallest_move();
    if (!remedy.memory && !remedy.move) return std::nullopt;
    if (remedy.memory) {
      const std::uint64_t bytes = remedy.memory->bytes;
      remedy.text = size_text(bytes, bytes, Rounding::up) + " more on " +
                    node_name(state_, remedy.memory->node);
    }
    if (remedy.move) {
      if (remedy.memory) remedy.text += ", or ";
      remedy.text += state_.vms.at(remedy.move->vm).name + " moved from " +
                     node_name(state_, remedy.move->from) + " to " +
                     node_name(state_, remedy.move->to);
    }
    return remedy;
  }

 private:
  [[nodiscard]] bool tired() const { return steps_ > limit_ / 2; }

  bool recoverable(const Fleet& fleet, const Set& lost) {
    const std::vector<Index> displaced = fleet.displaced(lost);
    if (displaced.empty()) return true;
    // Making the problem costs more than to solve an easy one.
    steps_ += displaced.size() * online_.size();
    const PackingResult result =
        pack(fleet.problem(displaced, lost).packing, {kSetSteps, PackingGoal::any});
    steps_ += result.steps;
    return result.verdict == PackingVerdict::fits;
  }

  bool helps(const Fleet& fleet) {
    return std::all_of(failing_.begin(), failing_.end(),
                       [&](const Set& lost) { return !tired() && recoverable(fleet, lost); });
  }

  // What the node offers more when this much is plugged in.
  [[nodiscard]] std::uint64_t offered_of(std::uint64_t bytes) const {
    return offered({bytes, 0}, {}, state_.config.cluster.overcommit).memory;
  }

  bool memory_helps(Index node, std::uint64_t mib) {
    Fleet more = fleet_;
    more.add_memory(node, offered_of(mib * kMib));
    return helps(more);
  }

  // In MiB: the whole size of all that a set displaces, beside what the hosts lack already.
  [[nodiscard]] std::uint64_t most_that_could_help() const {
    std::uint64_t most = 0;
    for (const Set& lost : failing_) {
      std::uint64_t sum = 0;
      for (const Index vm : fleet_.displaced(lost)) sum += fleet_.vms()[vm].need.memory;
      most = std::max(most, sum / kMib + 1);
    }
    for (const FleetNode& node : fleet_.nodes()) {
      if (node.fixed.memory <= node.offer.memory) continue;
      most += (node.fixed.memory - node.offer.memory) / kMib + 1;
    }
    const std::uint64_t factor = state_.config.cluster.overcommit.memory;
    return factor >= 1000 || factor == 0 ? most : most * 1000 / factor + 1;
  }

  // More room breaks nothing, so only the sets that fail now need be looked at.
  std::optional<AddMemory> least_memory() {
    std::optional<AddMemory> best;
    const std::uint64_t most = most_that_could_help();
    for (const Index node : online_) {
      const std::uint64_t limit = best ? best->bytes / kMib - 1 : most;
      const bool is_lost = std::any_of(failing_.begin(), failing_.end(), [&](const Set& lost) {
        return std::binary_search(lost.begin(), lost.end(), node);
      });
      if (is_lost || tired() || limit == 0 || !memory_helps(node, limit)) continue;
      std::uint64_t little = 0;  // does not help
      std::uint64_t enough = limit;
      while (enough - little > 1 && !tired()) {
        const std::uint64_t middle = little + (enough - little) / 2;
        (memory_helps(node, middle) ? enough : little) = middle;
      }
      if (tired()) break;
      best = AddMemory{fleet_.nodes()[node].id, enough * kMib};
    }
    return best;
  }

  // As it is now: nobody has to leave for it.
  [[nodiscard]] bool can_move(Index vm, Index to) const {
    const FleetVm& one = fleet_.vms()[vm];
    if (!fleet_.eligible(vm, to)) return false;
    PackingSize load = fleet_.nodes()[to].fixed + one.need;
    for (const Index lodger : fleet_.nodes()[to].lodgers) {
      load = load + fleet_.vms()[lodger].counted;
    }
    if (!load.fits_in(fleet_.nodes()[to].offer)) return false;
    const auto is_there = [&](Index other) {
      const auto& on = fleet_.vms()[other].on;
      return std::binary_search(on.begin(), on.end(), to);
    };
    const auto& apart = fleet_.apart(vm);
    const auto& group = fleet_.group(vm);
    return std::none_of(apart.begin(), apart.end(), is_there) &&
           std::all_of(group.begin(), group.end(), [&](Index other) {
             return other == vm || fleet_.vms()[other].on.empty() || is_there(other);
           });
  }

  // A move may break what holds: all sets are looked at.
  bool move_helps(Index vm, Index to) {
    Fleet moved = fleet_;
    moved.move(vm, to);
    if (!helps(moved)) return false;
    for (std::uint32_t hosts = 1; hosts <= hosts_ && hosts <= online_.size(); ++hosts) {
      FailureSets sets(online_, hosts);
      do {
        if (tired() || !recoverable(moved, sets.set())) return false;
      } while (sets.next());
    }
    return true;
  }

  std::optional<MoveVm> smallest_move() {
    std::vector<Index> order;
    for (Index vm = 0; vm < fleet_.vms().size(); ++vm) {
      const FleetVm& one = fleet_.vms()[vm];
      const bool wanted = one.standing == Standing::guaranteed || one.standing == Standing::lodger;
      if (!wanted || one.on.size() != 1 || !one.ghost.empty()) continue;
      if (fleet_.nodes()[one.on.front()].online) order.push_back(vm);
    }
    std::sort(order.begin(), order.end(), [&](Index a, Index b) {
      return std::pair(fleet_.vms()[a].need.memory, a) < std::pair(fleet_.vms()[b].need.memory, b);
    });
    for (const Index vm : order) {
      const Index from = fleet_.vms()[vm].on.front();
      for (const Index to : online_) {
        if (tired()) return std::nullopt;
        steps_ += 10;
        if (to == from || !can_move(vm, to) || !move_helps(vm, to)) continue;
        return MoveVm{fleet_.vms()[vm].id, fleet_.nodes()[from].id, fleet_.nodes()[to].id};
      }
    }
    return std::nullopt;
  }

  const ClusterState& state_;
  const Fleet& fleet_;
  const std::uint32_t hosts_;
  const std::vector<Set>& failing_;
  const std::uint64_t limit_;
  std::vector<Index> online_;
  std::uint64_t steps_ = 0;
};

}  // namespace

std::optional<Remedy> find_remedy(const ClusterState& state, const Fleet& fleet,
                                  std::uint32_t hosts, const std::vector<Set>& failing,
                                  std::uint64_t limit) {
  if (failing.empty()) return std::nullopt;
  return Search(state, fleet, hosts, failing, limit).run();
}

}  // namespace clusterd
