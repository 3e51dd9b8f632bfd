// pack() against exhaustive search on small random problems.
#include "clusterd/engine/packing.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "clusterd/base/prng.h"
#include "tests/support/cases.h"

namespace {

using namespace clusterd;
using Index = std::uint32_t;

// Sizes are small numbers, so that bins are often filled exactly and ties are many.
PackingProblem random_problem(Prng& prng) {
  PackingProblem problem;
  const std::uint64_t bins = 1 + prng.below(5);
  const std::uint64_t items = 1 + prng.below(prng.chance(200) ? 9 : 6);
  const std::uint64_t largest = 2 + prng.below(8);
  const bool processors_matter = prng.chance(400);
  const auto size = [&] {
    return PackingSize{1 + prng.below(largest), processors_matter ? 1 + prng.below(3) : 1};
  };
  for (std::uint64_t i = 0; i < items; ++i) {
    PackingItem item;
    item.size = size();
    const std::uint64_t eligible = prng.chance(700) ? 1000 : 300 + prng.below(600);
    for (Index bin = 0; bin < bins; ++bin) {
      if (prng.chance(eligible)) item.bins.push_back(bin);
    }
    problem.items.push_back(std::move(item));
  }
  const std::uint64_t foes = prng.chance(500) ? 0 : prng.below(300);
  for (Index a = 0; a < items; ++a) {
    for (Index b = a + 1; b < items; ++b) {
      if (!prng.chance(foes)) continue;
      problem.items[a].apart.push_back(b);
      problem.items[b].apart.push_back(a);
    }
  }
  const bool lodgers = prng.chance(500);
  for (std::uint64_t i = 0; i < bins; ++i) {
    PackingBin bin;
    bin.room = {prng.below(2 * largest + 1), processors_matter ? prng.below(7) : 9};
    const std::uint64_t count = lodgers ? prng.below(4) : 0;
    for (std::uint64_t l = 0; l < count; ++l) {
      const PackingLodger lodger{size(), prng.below(4)};
      for (Index item = 0; item < items; ++item) {
        if (!prng.chance(foes / 2)) continue;
        problem.items[item].foes.push_back({static_cast<Index>(i), static_cast<Index>(l)});
      }
      // Mostly they stay within the room; now and then the bin is overfull.
      if (prng.chance(900)) bin.room = {bin.room.memory + lodger.size.memory, bin.room.vcpus + 1};
      bin.lodgers.push_back(lodger);
    }
    problem.bins.push_back(std::move(bin));
  }
  return problem;
}

// ---- the naive opinion -------------------------------------------------------------------------

bool hates(const PackingItem& item, Index bin, Index lodger) {
  return std::any_of(item.foes.begin(), item.foes.end(),
                     [&](const PackingFoe& foe) { return foe.bin == bin && foe.lodger == lodger; });
}

// The cheapest set of lodgers of this bin without whom its items fit; nullopt if they never do.
std::optional<PackingCost> naive_evictions(const PackingProblem& problem, Index bin,
                                           const std::vector<Index>& items) {
  const PackingBin& home = problem.bins[bin];
  if (items.empty()) return PackingCost{};
  std::optional<PackingCost> cheapest;
  for (std::uint32_t stay = 0; stay < 1U << home.lodgers.size(); ++stay) {
    std::uint64_t memory = 0;
    std::uint64_t vcpus = 0;
    PackingCost cost;
    bool peace = true;
    for (Index l = 0; l < home.lodgers.size(); ++l) {
      if ((stay >> l & 1U) == 0) {
        cost += PackingCost{1, home.lodgers[l].price, home.lodgers[l].size.memory};
        continue;
      }
      memory += home.lodgers[l].size.memory;
      vcpus += home.lodgers[l].size.vcpus;
      for (const Index item : items) peace = peace && !hates(problem.items[item], bin, l);
    }
    for (const Index item : items) {
      memory += problem.items[item].size.memory;
      vcpus += problem.items[item].size.vcpus;
    }
    if (!peace || memory > home.room.memory || vcpus > home.room.vcpus) continue;
    if (!cheapest || cost < *cheapest) cheapest = cost;
  }
  return cheapest;
}

// Tries every bin for every item.
void naive(const PackingProblem& problem, Index next, std::vector<std::vector<Index>>& inside,
           std::optional<PackingCost>& cheapest) {
  if (next == problem.items.size()) {
    PackingCost all;
    for (Index bin = 0; bin < inside.size(); ++bin) {
      const auto here = naive_evictions(problem, bin, inside[bin]);
      if (!here) return;
      all += *here;
    }
    if (!cheapest || all < *cheapest) cheapest = all;
    return;
  }
  for (const Index bin : problem.items[next].bins) {
    const auto& foes = problem.items[next].apart;
    const bool peace = std::none_of(inside[bin].begin(), inside[bin].end(), [&](Index other) {
      return std::find(foes.begin(), foes.end(), other) != foes.end();
    });
    if (!peace) continue;
    inside[bin].push_back(next);
    // Only what fits even without any lodger is worth going on with.
    if (naive_evictions(problem, bin, inside[bin])) naive(problem, next + 1, inside, cheapest);
    inside[bin].pop_back();
  }
}

PackingCost cost_of(const PackingProblem& problem, const PackingResult& result) {
  PackingCost cost;
  for (Index bin = 0; bin < result.leave.size(); ++bin) {
    for (const Index l : result.leave[bin]) {
      const PackingLodger& lodger = problem.bins[bin].lodgers[l];
      cost += PackingCost{1, lodger.price, lodger.size.memory};
    }
  }
  return cost;
}

}  // namespace

TEST_CASE("packing: exhaustive search agrees, and nobody leaves without need") {
  const std::uint64_t cases = test::cases(3000);
  std::uint64_t fits = 0;
  std::uint64_t sends_away = 0;
  for (std::uint64_t seed = 1; seed <= cases; ++seed) {
    Prng prng(seed);
    const PackingProblem problem = random_problem(prng);
    std::optional<PackingCost> cheapest;
    std::vector<std::vector<Index>> inside(problem.bins.size());
    naive(problem, 0, inside, cheapest);
    const PackingResult result = pack(problem);
    const PackingResult any = pack(problem, {kPackingSteps, PackingGoal::any});
    INFO("seed " << seed);
    REQUIRE(result.verdict == (cheapest ? PackingVerdict::fits : PackingVerdict::does_not_fit));
    REQUIRE(any.verdict == result.verdict);
    if (!cheapest) {
      REQUIRE(result.blocking.has_value());
      continue;
    }
    REQUIRE(packing_fault(problem, result).value_or("") == "");
    REQUIRE(packing_fault(problem, any).value_or("") == "");
    REQUIRE(result.fewest);
    REQUIRE(result.cheapest);
    REQUIRE(result.cost == cost_of(problem, result));
    REQUIRE(result.cost == *cheapest);
    ++fits;
    if (cheapest->lodgers > 0) ++sends_away;
  }
  // Both answers, and both kinds of packing, are common: none is tested by accident only.
  CHECK(fits * 4 > cases);
  CHECK(fits * 4 < cases * 3);
  CHECK(sends_away * 20 > cases);
}
