#include "clusterd/engine/packing_eviction.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace clusterd {
namespace {

using Index = std::uint32_t;

// Tries after which a search among the lodgers of one bin is cut short.
constexpr std::uint32_t kTries = 5000;

std::uint64_t less(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : 0;
}

PackingSize less(const PackingSize& a, const PackingSize& b) {
  return {less(a.memory, b.memory), less(a.vcpus, b.vcpus)};
}

bool contains(const std::vector<Index>& ascending, Index value) {
  return std::binary_search(ascending.begin(), ascending.end(), value);
}

template <class Key>
std::vector<Index> sorted_by(const PackingBin& bin, Key key) {
  std::vector<Index> order(bin.lodgers.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    return std::tuple(key(bin.lodgers[a]), a) < std::tuple(key(bin.lodgers[b]), b);
  });
  return order;
}

PackingCost cost_of(const PackingLodger& lodger) {
  return {1, lodger.price, lodger.size.memory};
}

}  // namespace

Eviction::Eviction(const PackingBin& bin) : bin_(bin) {
  by_memory_ = sorted_by(bin, [](const PackingLodger& l) { return ~l.size.memory; });
  by_vcpus_ = sorted_by(bin, [](const PackingLodger& l) { return ~l.size.vcpus; });
  by_price_ =
      sorted_by(bin, [](const PackingLodger& l) { return std::pair(l.price, l.size.memory); });
}

PackingSize Eviction::lack(const PackingSize& load, const std::vector<Index>& anyway) const {
  PackingSize all = load;
  for (Index i = 0; i < bin_.lodgers.size(); ++i) {
    if (!contains(anyway, i)) all = all + bin_.lodgers[i].size;
  }
  return less(all, bin_.room);
}

std::optional<std::uint64_t> Eviction::bound(const PackingSize& lack,
                                             const std::vector<Index>& anyway) const {
  const auto count = [&](const std::vector<Index>& order, auto dimension) {
    std::uint64_t left = lack.*dimension;
    std::uint64_t taken = 0;
    for (const Index i : order) {
      if (left == 0) break;
      if (contains(anyway, i)) continue;
      left = less(left, bin_.lodgers[i].size.*dimension);
      ++taken;
    }
    return left == 0 ? std::optional(taken) : std::nullopt;
  };
  const auto memory = count(by_memory_, &PackingSize::memory);
  const auto vcpus = count(by_vcpus_, &PackingSize::vcpus);
  if (!memory || !vcpus) return std::nullopt;
  return std::max(*memory, *vcpus);
}

// Looks through the sets of a given number of lodgers, cheapest first.
struct Eviction::Search {
  Search(const PackingBin& bin, std::vector<Index> order, bool any)
      : lodgers(bin.lodgers), candidates(std::move(order)), first_is_enough(any) {
    largest.resize(candidates.size() + 1);
    for (std::size_t i = candidates.size(); i-- > 0;) {
      const PackingSize& size = lodgers[candidates[i]].size;
      largest[i] = {std::max(largest[i + 1].memory, size.memory),
                    std::max(largest[i + 1].vcpus, size.vcpus)};
    }
  }

  // True if nothing further need be tried.
  bool choose(std::size_t from, std::uint64_t count, const PackingSize& lack,
              const PackingCost& cost) {
    if (count == 0) {
      if (lack != PackingSize{} || (found && cost >= best_cost)) return false;
      found = true;
      best = chosen;
      best_cost = cost;
      return first_is_enough;
    }
    if (++tries > kTries) return true;
    for (std::size_t i = from; i + count <= candidates.size(); ++i) {
      const PackingLodger& one = lodgers[candidates[i]];
      // Divided, as the product may not fit in 64 bits.
      if (lack.memory / count > largest[i].memory || lack.vcpus / count > largest[i].vcpus) break;
      // All that follow cost at least as much as this one.
      if (found && cost.price + count * one.price > best_cost.price) break;
      chosen.push_back(candidates[i]);
      PackingCost with = cost;
      with += cost_of(one);
      if (choose(i + 1, count - 1, less(lack, one.size), with)) return true;
      chosen.pop_back();
    }
    return false;
  }

  const std::vector<PackingLodger>& lodgers;
  const std::vector<Index> candidates;
  const bool first_is_enough;
  std::vector<PackingSize> largest;  // from here to the end
  std::uint32_t tries = 0;
  bool found = false;
  std::vector<Index> chosen;
  std::vector<Index> best;
  PackingCost best_cost;
};

std::optional<std::uint64_t> Eviction::fewest(const PackingSize& load,
                                              const std::vector<Index>& anyway, bool& exact) const {
  const PackingSize lacks = lack(load, anyway);
  const auto least = bound(lacks, anyway);
  if (!least) return std::nullopt;
  // The largest of one dimension do, if only that is short.
  if (lacks.memory == 0 || lacks.vcpus == 0) return *least + anyway.size();
  const auto answer = cheapest(load, anyway);
  exact = exact && answer->fewest;
  return answer->leave.size();
}

std::optional<Eviction::Answer> Eviction::cheapest(const PackingSize& load,
                                                   const std::vector<Index>& anyway) const {
  const PackingSize lacks = lack(load, anyway);
  const auto least = bound(lacks, anyway);
  if (!least) return std::nullopt;
  Answer answer;
  const auto without = [&](std::vector<Index> order) {
    order.erase(
        std::remove_if(order.begin(), order.end(), [&](Index i) { return contains(anyway, i); }),
        order.end());
    return order;
  };
  const std::uint64_t others = bin_.lodgers.size() - anyway.size();
  for (std::uint64_t count = *least; count <= others; ++count) {
    Search search(bin_, without(by_price_), false);
    search.choose(0, count, lacks, {});
    answer.cheapest = answer.cheapest && search.tries <= kTries;
    if (!search.found && search.tries > kTries) {
      // A set of so many exists, but a cheap one is hard to find: the largest come first now.
      Search larger(bin_, without(lacks.memory != 0 ? by_memory_ : by_vcpus_), true);
      larger.choose(0, count, lacks, {});
      search.found = larger.found;
      search.best = larger.best;
      answer.fewest = answer.fewest && (larger.found || larger.tries <= kTries);
    }
    if (!search.found) continue;
    answer.leave = search.best;
    break;
  }
  answer.leave.insert(answer.leave.end(), anyway.begin(), anyway.end());
  std::sort(answer.leave.begin(), answer.leave.end());
  for (const Index i : answer.leave) answer.cost += cost_of(bin_.lodgers[i]);
  return answer;
}

}  // namespace clusterd
