#include "clusterd/engine/packing.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "clusterd/engine/packing_eviction.h"

namespace clusterd {
namespace {

using Index = std::uint32_t;
constexpr Index kNone = std::numeric_limits<Index>::max();
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

// Eligible bins that are looked at as classes to find a crowd; more would take too long.
constexpr std::size_t kClasses = 64;
// More items than this are left to the heuristics: the search has one level an item.
constexpr std::size_t kDepth = 2000;

PackingSize saturating_add(const PackingSize& a, const PackingSize& b) {
  return {a.memory > kMost - b.memory ? kMost : a.memory + b.memory,
          a.vcpus > kMost - b.vcpus ? kMost : a.vcpus + b.vcpus};
}

bool contains(const std::vector<Index>& few, Index value) {
  return std::find(few.begin(), few.end(), value) != few.end();
}

// The lodgers of this bin that leave when the item comes.
auto foes_in(const PackingItem& item, Index bin) {
  return std::pair(std::lower_bound(item.foes.begin(), item.foes.end(), PackingFoe{bin, 0}),
                   std::upper_bound(item.foes.begin(), item.foes.end(), PackingFoe{bin, kNone}));
}

// ---- what can be told by counting
// ----------------------------------------------------------------

// An item because of which they cannot all fit: the items of at least a size find fewer places of
// that size than there are of them, or together are larger than the bins that take such an item.
std::optional<Index> too_many(const PackingProblem& problem,
                              std::uint64_t PackingSize::*dimension) {
  const auto size_of = [&](Index i) { return problem.items[i].size.*dimension; };
  std::vector<Index> order(problem.items.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    return std::pair(~size_of(a), a) < std::pair(~size_of(b), b);
  });
  std::uint64_t need = 0;
  for (std::size_t count = 1; count <= order.size(); ++count) {
    const std::uint64_t size = size_of(order[count - 1]);
    need += size;
    const bool last_of_size = count == order.size() || size_of(order[count]) != size;
    if (size == 0 || !last_of_size) continue;
    std::uint64_t places = 0;
    PackingSize offer;
    for (const PackingBin& bin : problem.bins) {
      const std::uint64_t here = bin.room.*dimension / size;
      if (here == 0) continue;
      places += std::min<std::uint64_t>(here, count);
      offer = saturating_add(offer, bin.room);
    }
    if (places < count || offer.*dimension < need) return order[count - 1];
  }
  return std::nullopt;
}

// An item of a crowd: those that may only go to some bins are together larger than these.
std::optional<Index> crowded(const PackingProblem& problem) {
  std::map<std::vector<Index>, Index> classes;  // bins -> an item with just these
  for (Index i = 0; i < problem.items.size(); ++i) classes.emplace(problem.items[i].bins, i);
  if (classes.size() > kClasses) return std::nullopt;
  for (const auto& [bins, example] : classes) {
    PackingSize offer;
    for (const Index bin : bins) offer = saturating_add(offer, problem.bins[bin].room);
    PackingSize need;
    for (const PackingItem& one : problem.items) {
      if (std::includes(bins.begin(), bins.end(), one.bins.begin(), one.bins.end())) {
        need = need + one.size;
      }
    }
    if (!need.fits_in(offer)) return example;
  }
  return std::nullopt;
}

std::optional<Index> too_much(const PackingProblem& problem) {
  if (const auto item = too_many(problem, &PackingSize::memory)) return item;
  if (const auto item = too_many(problem, &PackingSize::vcpus)) return item;
  return crowded(problem);
}

// ---- the search --------------------------------------------------------------------------------

// A bin while a packing is made.
struct Filling {
  PackingSize left;       // of its room, if all lodgers leave
  PackingSize spare;      // of its room, if none leaves
  bool overfull = false;  // some must leave before anything comes
  std::vector<Index> items;
  std::vector<Index> banished;  // lodgers that leave because of whom, ascending
  PackingCost cost;
};

// What has to be put back when an item is taken back.
struct Undo {
  PackingCost cost;
  std::vector<Index> banished;
};

class Packer {
 public:
  Packer(const PackingProblem& problem, const PackingEffort& effort)
      : problem_(problem), effort_(effort) {
    clear();
    evictions_.resize(problem.bins.size());
  }

  PackingResult run() {
    if (const auto homeless = without_any_bin()) return refused(*homeless);
    construct();
    if (best_.empty() && !problem_.items.empty()) {
      if (const auto item = too_much(problem_)) return refused(*item);
    }
    if (!satisfied()) {
      prepare_symmetries();
      search();
    }
    if (!best_.empty() || problem_.items.empty()) return solved();
    PackingResult result = refused(blocking_);
    if (!exhausted()) result.verdict = PackingVerdict::unknown;
    return result;
  }

 private:
  [[nodiscard]] const PackingItem& item(Index i) const { return problem_.items[i]; }
  [[nodiscard]] PackingSize load(Index bin) const {
    return problem_.bins[bin].room - bins_[bin].left;
  }
  [[nodiscard]] bool exhausted() const {
    return steps_ <= effort_.limit && problem_.items.size() <= kDepth;
  }
  // Nothing that is asked for can be better than the best packing so far.
  [[nodiscard]] bool satisfied() const {
    if (problem_.items.empty()) return true;
    return !best_.empty() && (effort_.goal == PackingGoal::any || best_cost_.lodgers == 0);
  }

  PackingResult refused(Index blocking) const {
    PackingResult result;
    result.verdict = PackingVerdict::does_not_fit;
    result.blocking = blocking;
    result.steps = steps_;
    return result;
  }

  PackingResult solved() {
    PackingResult result;
    result.verdict = PackingVerdict::fits;
    result.bin_of = best_;
    result.steps = steps_;
    result.leave = leaving(best_, result.cost);
    result.fewest = result.cost.lodgers == 0 || (fewest_ && exact_);
    result.cheapest = result.cost.lodgers == 0 || (result.fewest && cheapest_ && priced_);
    return result;
  }

  // Of every bin, who leaves it in this packing.
  std::vector<std::vector<Index>> leaving(const std::vector<Index>& bin_of, PackingCost& cost) {
    std::vector<std::vector<Index>> leave(problem_.bins.size());
    std::vector<PackingSize> loads(problem_.bins.size());
    for (Index i = 0; i < bin_of.size(); ++i) {
      const Index bin = bin_of[i];
      loads[bin] = loads[bin] + item(i).size;
      const auto [begin, end] = foes_in(item(i), bin);
      for (auto foe = begin; foe != end; ++foe) leave[bin].push_back(foe->lodger);
    }
    std::vector<bool> idle(problem_.bins.size(), true);
    for (const Index bin : bin_of) idle[bin] = false;
    for (Index bin = 0; bin < leave.size(); ++bin) {
      if (idle[bin] || problem_.bins[bin].lodgers.empty()) continue;
      std::sort(leave[bin].begin(), leave[bin].end());
      leave[bin].erase(std::unique(leave[bin].begin(), leave[bin].end()), leave[bin].end());
      Eviction::Answer answer = eviction(bin).cheapest(loads[bin], leave[bin]).value();
      priced_ = priced_ && answer.cheapest;
      leave[bin] = std::move(answer.leave);
      cost += answer.cost;
    }
    return leave;
  }

  // ---- placing one item ------------------------------------------------------------------------

  Eviction& eviction(Index bin) {
    if (!evictions_[bin]) evictions_[bin].emplace(problem_.bins[bin]);
    return *evictions_[bin];
  }

  void clear() {
    bins_.assign(problem_.bins.size(), Filling{});
    for (Index bin = 0; bin < bins_.size(); ++bin) {
      const PackingBin& one = problem_.bins[bin];
      PackingSize lodgers;
      for (const PackingLodger& lodger : one.lodgers) lodgers = lodgers + lodger.size;
      bins_[bin].left = one.room;
      bins_[bin].spare = {one.room.memory - std::min(one.room.memory, lodgers.memory),
                          one.room.vcpus - std::min(one.room.vcpus, lodgers.vcpus)};
      bins_[bin].overfull = !lodgers.fits_in(one.room);
    }
    bin_of_.assign(problem_.items.size(), kNone);
    cost_ = {};
  }

  [[nodiscard]] bool goes(Index i, Index bin) const {
    if (!item(i).size.fits_in(bins_[bin].left)) return false;
    return std::none_of(item(i).apart.begin(), item(i).apart.end(),
                        [&](Index other) { return bin_of_[other] == bin; });
  }

  // Nobody more leaves this bin when the item comes.
  [[nodiscard]] bool is_free(Index i, Index bin) const {
    if (problem_.bins[bin].lodgers.empty()) return true;
    const Filling& filling = bins_[bin];
    if (filling.overfull || filling.cost.lodgers != 0) return false;
    if (!item(i).size.fits_in(filling.spare)) return false;
    const auto [begin, end] = foes_in(item(i), bin);
    return begin == end;
  }

  [[nodiscard]] std::vector<Index> banished_with(Index i, Index bin) const {
    std::vector<Index> banished = bins_[bin].banished;
    const auto [begin, end] = foes_in(item(i), bin);
    for (auto foe = begin; foe != end; ++foe) banished.push_back(foe->lodger);
    std::sort(banished.begin(), banished.end());
    banished.erase(std::unique(banished.begin(), banished.end()), banished.end());
    return banished;
  }

  // What this bin costs once the item is in it, too. Precondition: goes(i, bin).
  PackingCost cost_with(Index i, Index bin) {
    if (is_free(i, bin)) return bins_[bin].cost;
    const std::vector<Index> banished = banished_with(i, bin);
    const PackingSize all = load(bin) + item(i).size;
    if (weigh_) {
      const Eviction::Answer answer = eviction(bin).cheapest(all, banished).value();
      priced_ = priced_ && answer.cheapest;
      return std::max(bins_[bin].cost, answer.cost);
    }
    const PackingCost cost{eviction(bin).fewest(all, banished, exact_).value(), 0, 0};
    return std::max(bins_[bin].cost, cost);
  }

  Undo put(Index i, Index bin, const PackingCost& cost) {
    Filling& filling = bins_[bin];
    Undo undo{filling.cost, filling.banished};
    if (!item(i).foes.empty()) filling.banished = banished_with(i, bin);
    filling.left = filling.left - item(i).size;
    // Once somebody leaves, what is spare is not looked at any more.
    if (item(i).size.fits_in(filling.spare))
      filling.spare = filling.spare - item(i).size;
    else
      filling.spare = {};
    filling.items.push_back(i);
    cost_ += cost;
    cost_ -= filling.cost;
    filling.cost = cost;
    bin_of_[i] = bin;
    return undo;
  }

  void take_back(Index i, Undo undo, const PackingSize& spare) {
    Filling& filling = bins_[bin_of_[i]];
    filling.left = filling.left + item(i).size;
    filling.spare = spare;
    filling.items.pop_back();
    cost_ += undo.cost;
    cost_ -= filling.cost;
    filling.cost = undo.cost;
    filling.banished = std::move(undo.banished);
    bin_of_[i] = kNone;
  }

  void keep_if_better() {
    if (!best_.empty() && cost_ >= best_cost_) return;
    best_ = bin_of_;
    best_cost_ = cost_;
  }

  // ---- fast answers ----------------------------------------------------------------------------

  std::optional<Index> without_any_bin() {
    for (Index i = 0; i < problem_.items.size(); ++i) {
      const auto& bins = item(i).bins;
      const auto place =
          std::find_if(bins.begin(), bins.end(), [&](Index bin) { return goes(i, bin); });
      steps_ += static_cast<std::uint64_t>(place - bins.begin()) + 1;
      if (place == bins.end()) return i;
    }
    return std::nullopt;
  }

  enum class Fit : std::uint8_t { best, worst };

  // Largest first, each where least (or most) is left behind; where fewest lodgers leave, before
  // all.
  void construct() {
    std::vector<Index> order(problem_.items.size());
    std::iota(order.begin(), order.end(), 0U);
    const auto by = [&](auto key) {
      std::sort(order.begin(), order.end(),
                [&](Index a, Index b) { return std::pair(key(a), a) < std::pair(key(b), b); });
    };
    const auto memory = [&](Index i) { return ~item(i).size.memory; };
    const auto vcpus = [&](Index i) { return ~item(i).size.vcpus; };
    by(memory);
    // Where most is left behind changes elsewhere break least: best for a packing that is kept.
    if (effort_.goal == PackingGoal::any && try_order(order, Fit::worst)) return;
    if (try_order(order, Fit::best)) return;
    if (effort_.goal == PackingGoal::cheapest && try_order(order, Fit::worst)) return;
    by([&](Index i) { return std::tuple(item(i).bins.size(), memory(i)); });
    if (try_order(order, Fit::best)) return;
    by(vcpus);
    static_cast<void>(try_order(order, Fit::best));
  }

  // True if nothing better can come.
  bool try_order(const std::vector<Index>& order, Fit fit) {
    bool complete = true;
    for (const Index i : order) {
      const auto [bin, cost] = favourite(i, fit);
      if (bin == kNone) {
        blocking_ = i;
        complete = false;
        break;
      }
      static_cast<void>(put(i, bin, cost));
    }
    if (complete) keep_if_better();
    clear();
    return satisfied();
  }

  std::pair<Index, PackingCost> favourite(Index i, Fit fit) {
    Index best = kNone;
    bool best_is_free = false;
    PackingCost best_cost;
    std::pair<PackingCost, std::uint64_t> best_key;
    steps_ += item(i).bins.size();
    for (const Index bin : item(i).bins) {
      if (!goes(i, bin)) continue;
      const std::uint64_t rest = bins_[bin].left.memory - item(i).size.memory;
      const bool free_here = is_free(i, bin);
      if (best_is_free && !free_here) continue;
      const PackingCost cost = free_here ? bins_[bin].cost : cost_with(i, bin);
      PackingCost added = cost;
      added -= bins_[bin].cost;
      const std::pair key{added, fit == Fit::best ? rest : ~rest};
      if (best != kNone && !(key < best_key)) continue;
      best = bin;
      best_is_free = free_here;
      best_cost = cost;
      best_key = key;
    }
    return {best, best_cost};
  }

  // ---- branch and bound ------------------------------------------------------------------------

  // First the fewest lodgers, then the cheapest of so many.
  void search() {
    if (problem_.items.size() > kDepth) return;
    branch(problem_.items.size());
    fewest_ = exhausted() && effort_.goal == PackingGoal::cheapest;
    if (best_.empty() || satisfied() || !exhausted()) return;
    weigh_ = true;
    best_cost_ = {};
    static_cast<void>(leaving(best_, best_cost_));
    branch(problem_.items.size());
    cheapest_ = exhausted();
  }

  // Items of one kind, and bins of one kind, may change places in any packing.
  void prepare_symmetries() {
    std::map<std::tuple<std::uint64_t, std::uint64_t, std::vector<Index>>, Index> kinds;
    Index next_kind = 0;
    for (Index i = 0; i < problem_.items.size(); ++i) {
      const PackingItem& one = item(i);
      if (!one.apart.empty() || !one.foes.empty()) {
        item_kind_.push_back(next_kind++);
        continue;
      }
      const auto [kind, fresh] =
          kinds.emplace(std::tuple(one.size.memory, one.size.vcpus, one.bins), next_kind);
      if (fresh) ++next_kind;
      item_kind_.push_back(kind->second);
    }
    std::vector<std::vector<Index>> columns(problem_.bins.size());
    for (Index i = 0; i < problem_.items.size(); ++i) {
      for (const Index bin : item(i).bins) columns[bin].push_back(i);
    }
    std::map<std::vector<Index>, Index> column_kinds;
    for (Index bin = 0; bin < problem_.bins.size(); ++bin) {
      const auto next = static_cast<Index>(column_kinds.size());
      const bool plain = problem_.bins[bin].lodgers.empty();
      bin_kind_.push_back(plain ? column_kinds.emplace(columns[bin], next).first->second : kNone);
    }
    refuted_.assign(next_kind * problem_.bins.size(), 0);
  }

  // The same to every item that is still to come: what is true of one is true of the other.
  [[nodiscard]] bool alike(Index a, Index b) const {
    if (bin_kind_[a] == kNone || bin_kind_[a] != bin_kind_[b]) return false;
    if (bins_[a].left != bins_[b].left) return false;
    const auto harmless = [&](Index bin) {
      return std::all_of(bins_[bin].items.begin(), bins_[bin].items.end(),
                         [&](Index i) { return item(i).apart.empty(); });
    };
    return harmless(a) && harmless(b);
  }

  [[nodiscard]] std::uint8_t& refuted(Index i, Index bin) {
    return refuted_[item_kind_[i] * problem_.bins.size() + bin];
  }

  // Room in bins that are too full for the smallest item to come is lost.
  [[nodiscard]] bool enough_room() const {
    PackingSize need;
    PackingSize smallest{kMost, kMost};
    for (Index i = 0; i < problem_.items.size(); ++i) {
      if (bin_of_[i] != kNone) continue;
      need = need + item(i).size;
      smallest.memory = std::min(smallest.memory, item(i).size.memory);
      smallest.vcpus = std::min(smallest.vcpus, item(i).size.vcpus);
    }
    PackingSize offer;
    for (const Filling& bin : bins_) {
      if (smallest.fits_in(bin.left)) offer = saturating_add(offer, bin.left);
    }
    return need.fits_in(offer);
  }

  // The item with the fewest bins to go to, and these.
  Index hardest(std::vector<Index>& bins) {
    Index hardest = kNone;
    std::vector<Index> here;
    for (Index i = 0; i < problem_.items.size(); ++i) {
      if (bin_of_[i] != kNone) continue;
      here.clear();
      for (const Index bin : item(i).bins) {
        ++steps_;
        if (refuted(i, bin) == 0 && goes(i, bin)) here.push_back(bin);
        if (hardest != kNone && here.size() > bins.size()) break;
      }
      const bool harder =
          hardest == kNone || here.size() < bins.size() ||
          (here.size() == bins.size() && item(i).size.memory > item(hardest).size.memory);
      if (!harder) continue;
      hardest = i;
      bins.swap(here);
      if (bins.empty()) break;
    }
    return hardest;
  }

  // Everything that is cheaper than the best known packing and extends what is placed. What it
  // leaves in refuted_ it takes back.
  void branch(std::size_t open) {
    if (open == 0) {
      keep_if_better();
      return;
    }
    if (steps_ > effort_.limit || !enough_room()) return;
    std::vector<Index> bins;
    const Index i = hardest(bins);
    if (bins.empty()) {
      if (best_.empty()) blocking_ = i;
      return;
    }
    std::vector<std::tuple<PackingCost, std::uint64_t, Index>> order;
    for (const Index bin : bins) {
      order.emplace_back(cost_with(i, bin), bins_[bin].left.memory, bin);
    }
    std::sort(order.begin(), order.end());
    std::vector<Index> tried;
    for (const auto& [cost, rest, bin] : order) {
      const bool known = std::any_of(tried.begin(), tried.end(),
                                     [&, at = bin](Index before) { return alike(before, at); });
      if (known) continue;
      const PackingSize spare = bins_[bin].spare;
      Undo undo = put(i, bin, cost);
      if (best_.empty() || cost_ < best_cost_) branch(open - 1);
      take_back(i, std::move(undo), spare);
      if (steps_ > effort_.limit || satisfied()) break;
      // Nothing better has this item here, so none has one like it here either.
      tried.push_back(bin);
      ++refuted(i, bin);
    }
    for (const Index bin : tried) --refuted(i, bin);
  }

  const PackingProblem& problem_;
  const PackingEffort effort_;
  std::uint64_t steps_ = 0;
  bool weigh_ = false;     // costs are whole: price and memory count, too
  bool exact_ = true;      // every count of lodgers was searched to its end
  bool priced_ = true;     // ... and every price
  bool fewest_ = false;    // the search for fewer lodgers came to its end
  bool cheapest_ = false;  // ... and that for cheaper ones

  std::vector<Filling> bins_;
  std::vector<std::optional<Eviction>> evictions_;  // made when first asked
  std::vector<Index> bin_of_;
  PackingCost cost_;

  std::vector<Index> best_;
  PackingCost best_cost_;
  Index blocking_ = 0;

  std::vector<Index> item_kind_;
  std::vector<Index> bin_kind_;  // kNone: like no other
  std::vector<std::uint8_t> refuted_;
};

}  // namespace

PackingCost& PackingCost::operator+=(const PackingCost& other) {
  lodgers += other.lodgers;
  price += other.price;
  memory += other.memory;
  return *this;
}

PackingCost& PackingCost::operator-=(const PackingCost& other) {
  lodgers -= other.lodgers;
  price -= other.price;
  memory -= other.memory;
  return *this;
}

std::string_view name_of(PackingVerdict verdict) {
  switch (verdict) {
    case PackingVerdict::fits:
      return "fits";
    case PackingVerdict::does_not_fit:
      return "does_not_fit";
    case PackingVerdict::unknown:
      return "unknown";
  }
  return "unknown";
}

PackingResult pack(const PackingProblem& problem, const PackingEffort& effort) {
  return Packer(problem, effort).run();
}

std::optional<std::string_view> packing_fault(const PackingProblem& problem,
                                              const PackingResult& result) {
  if (result.verdict != PackingVerdict::fits) return "it is no packing";
  if (result.bin_of.size() != problem.items.size()) return "an item has no bin";
  if (result.leave.size() != problem.bins.size()) return "a bin does not say who leaves";
  std::vector<PackingSize> load(problem.bins.size());
  std::vector<bool> idle(problem.bins.size(), true);
  for (Index i = 0; i < problem.items.size(); ++i) {
    const Index bin = result.bin_of[i];
    if (!contains(problem.items[i].bins, bin)) return "an item is where it may not be";
    load[bin] = load[bin] + problem.items[i].size;
    idle[bin] = false;
    for (const Index other : problem.items[i].apart) {
      if (result.bin_of[other] == bin) return "items that keep apart share a bin";
    }
    for (const PackingFoe& foe : problem.items[i].foes) {
      if (foe.bin != bin || contains(result.leave[bin], foe.lodger)) continue;
      return "a lodger stays beside an item it keeps apart from";
    }
  }
  for (Index bin = 0; bin < problem.bins.size(); ++bin) {
    PackingSize inside = load[bin];
    for (Index lodger = 0; lodger < problem.bins[bin].lodgers.size(); ++lodger) {
      if (contains(result.leave[bin], lodger)) continue;
      inside = inside + problem.bins[bin].lodgers[lodger].size;
    }
    // Nobody has to leave a bin, overfull or not, that takes nothing.
    if (idle[bin] && result.leave[bin].empty()) continue;
    if (!inside.fits_in(problem.bins[bin].room)) return "a bin is overfull";
  }
  return std::nullopt;
}

}  // namespace clusterd
