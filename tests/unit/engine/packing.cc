#include "clusterd/engine/packing.h"

#include <catch2/catch.hpp>
#include <numeric>

namespace {

using namespace clusterd;
using Index = std::uint32_t;

PackingBin bin(std::uint64_t memory, std::uint64_t vcpus = 100) {
  return {{memory, vcpus}, {}};
}

// Items that may go everywhere.
PackingProblem problem_of(const std::vector<std::uint64_t>& items,
                          const std::vector<std::uint64_t>& bins) {
  PackingProblem problem;
  for (const std::uint64_t room : bins) problem.bins.push_back(bin(room));
  std::vector<Index> all(bins.size());
  std::iota(all.begin(), all.end(), 0U);
  for (const std::uint64_t size : items) problem.items.push_back({{size, 1}, all, {}, {}});
  return problem;
}

void keep_apart(PackingProblem& problem, Index a, Index b) {
  problem.items[a].apart.push_back(b);
  problem.items[b].apart.push_back(a);
}

PackingVerdict verdict(const PackingProblem& problem) {
  const PackingResult result = pack(problem);
  if (result.verdict == PackingVerdict::fits) {
    CHECK(packing_fault(problem, result).value_or("") == "");
  }
  return result.verdict;
}

}  // namespace

TEST_CASE("packing: nothing fits into nothing") {
  CHECK(verdict({}) == PackingVerdict::fits);
  CHECK(verdict(problem_of({}, {4})) == PackingVerdict::fits);
  CHECK(verdict(problem_of({1}, {})) == PackingVerdict::does_not_fit);
}

TEST_CASE("packing: 5, 3 and 3 go into 6 and 5, which defeats worst fit") {
  const PackingProblem problem = problem_of({5, 3, 3}, {6, 5});
  CHECK(verdict(problem) == PackingVerdict::fits);
  CHECK(pack(problem).bin_of == std::vector<Index>{1, 0, 0});
}

TEST_CASE("packing: one large and many small ones, which defeats slots and percentages") {
  std::vector<std::uint64_t> items(24, 1);
  items.push_back(16);
  CHECK(verdict(problem_of(items, {20, 10, 10})) == PackingVerdict::fits);
  CHECK(verdict(problem_of(items, {14, 13, 13})) == PackingVerdict::does_not_fit);
}

TEST_CASE("packing: what heuristics miss is found by search") {
  // Only 7+3, 6+4 and 5+5 fill the three.
  CHECK(verdict(problem_of({7, 6, 5, 5, 4, 3}, {10, 10, 10})) == PackingVerdict::fits);
  // Best fit decreasing puts 6 with 4; only 6+2+2 and 4+3+3 work.
  CHECK(verdict(problem_of({6, 4, 3, 3, 2, 2}, {10, 10})) == PackingVerdict::fits);
}

TEST_CASE("packing: three that keep apart need three bins") {
  PackingProblem problem = problem_of({1, 1, 1}, {9, 9});
  CHECK(verdict(problem) == PackingVerdict::fits);
  keep_apart(problem, 0, 1);
  keep_apart(problem, 0, 2);
  CHECK(verdict(problem) == PackingVerdict::fits);
  keep_apart(problem, 1, 2);
  CHECK(verdict(problem) == PackingVerdict::does_not_fit);
  problem.bins.push_back(bin(1));
  for (PackingItem& item : problem.items) item.bins.push_back(2);
  CHECK(verdict(problem) == PackingVerdict::fits);
}

TEST_CASE("packing: the blocking item is one that finds no place") {
  PackingProblem problem = problem_of({2, 3, 2}, {9, 9});
  problem.items[1].bins.clear();
  CHECK(pack(problem).blocking == 1U);
}

TEST_CASE("packing: what is not decided within the limit is unknown") {
  // Every pair that fills a bin would need an odd size: sums of even numbers, rooms of odd ones.
  PackingProblem problem = problem_of({}, {});
  std::vector<Index> all(12);
  std::iota(all.begin(), all.end(), 0U);
  for (Index i = 0; i < 12; ++i) problem.bins.push_back(bin(101 + 2 * i));
  std::uint64_t room = 0;
  for (const PackingBin& one : problem.bins) room += one.room.memory;
  for (std::uint64_t used = 0, i = 0; used + 40 <= room - 12; ++i) {
    const std::uint64_t size = 26 + 2 * (i % 7);
    problem.items.push_back({{size, 1}, all, {}, {}});
    used += size;
  }
  CHECK(pack(problem, {1000, PackingGoal::any}).verdict == PackingVerdict::unknown);
  const PackingResult result = pack(problem, {1000, PackingGoal::any});
  CHECK(result.bin_of.empty());
  CHECK(result.blocking.has_value());
  CHECK(result.steps < 20000);
}

TEST_CASE("packing: as few lodgers leave as possible, of these the cheapest") {
  PackingProblem problem = problem_of({4}, {6});
  problem.bins[0].lodgers = {{{2, 1}, 5}, {{2, 1}, 1}, {{2, 1}, 3}};
  PackingResult result = pack(problem);
  CHECK(result.leave == std::vector<std::vector<Index>>{{1, 2}});
  CHECK(result.cost == PackingCost{2, 4, 4});
  CHECK(result.fewest);
  CHECK(result.cheapest);
  // One large one is fewer than two cheap small ones.
  problem.bins[0].lodgers = {{{2, 1}, 1}, {{1, 1}, 1}, {{3, 1}, 9}};
  problem.items[0].size.memory = 3;
  CHECK(pack(problem).leave == std::vector<std::vector<Index>>{{2}});
}

TEST_CASE("packing: a lodger leaves when an item comes that it keeps apart from") {
  PackingProblem problem = problem_of({1}, {9, 9});
  problem.bins[0].lodgers = {{{2, 1}, 1}};
  problem.bins[1].lodgers = {{{2, 1}, 1}};
  problem.items[0].foes = {{0, 0}};
  CHECK(pack(problem).bin_of == std::vector<Index>{1});
  problem.items[0].foes = {{0, 0}, {1, 0}};
  CHECK(pack(problem).cost.lodgers == 1);
}

TEST_CASE("packing: nobody leaves an overfull bin to which nothing goes") {
  PackingProblem problem = problem_of({3}, {2, 4});
  problem.bins[0].lodgers = {{{5, 1}, 1}};
  const PackingResult result = pack(problem);
  CHECK(packing_fault(problem, result).value_or("") == "");
  CHECK(result.cost.lodgers == 0);
}

TEST_CASE("packing: 40 items and 255 bins with 40 lodgers each are a matter of milliseconds") {
  PackingProblem problem;
  std::vector<Index> all(255);
  std::iota(all.begin(), all.end(), 0U);
  for (Index b = 0; b < 255; ++b) {
    PackingBin one = bin(160, 400);
    for (std::uint64_t l = 0; l < 40; ++l) one.lodgers.push_back({{4, 2}, l % 5});
    problem.bins.push_back(std::move(one));
  }
  for (Index i = 0; i < 40; ++i) problem.items.push_back({{8 + i % 5, 2}, all, {}, {}});
  const PackingResult result = pack(problem, {kPackingSteps, PackingGoal::any});
  REQUIRE(packing_fault(problem, result).value_or("") == "");
  CHECK(result.cost.lodgers <= 120);
  CHECK(result.steps < 50'000);
}

TEST_CASE("packing: a fault in an answer is found") {
  PackingProblem problem = problem_of({2, 2}, {4, 4});
  keep_apart(problem, 0, 1);
  problem.bins[1].lodgers = {{{3, 1}, 1}};
  problem.items[0].bins = {0};
  problem.items[1].foes = {{1, 0}};
  PackingResult result = pack(problem);
  REQUIRE_FALSE(packing_fault(problem, result).has_value());
  const PackingResult good = result;
  result.bin_of = {1, 0};
  CHECK(packing_fault(problem, result) == "an item is where it may not be");
  result.bin_of = {0, 0};
  CHECK(packing_fault(problem, result) == "items that keep apart share a bin");
  result = good;
  result.leave[1].clear();
  CHECK(packing_fault(problem, result) == "a lodger stays beside an item it keeps apart from");
  problem.items[1].foes.clear();
  CHECK(packing_fault(problem, result) == "a bin is overfull");
  result.bin_of.pop_back();
  CHECK(packing_fault(problem, result) == "an item has no bin");
}
