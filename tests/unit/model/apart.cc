#include "clusterd/model/apart.h"

#include <catch2/catch.hpp>
#include <set>

#include "clusterd/base/prng.h"

using namespace clusterd;

namespace {

using Items = std::vector<std::uint32_t>;

// `edges` between items that may use nodes as listed.
std::vector<ApartItem> problem(const std::vector<Items>& nodes,
                               const std::set<std::pair<std::uint32_t, std::uint32_t>>& edges) {
  std::vector<ApartItem> items;
  for (const Items& list : nodes) items.push_back({list, {}});
  for (const auto& [a, b] : edges) {
    items[a].apart.push_back(b);
    items[b].apart.push_back(a);
  }
  for (ApartItem& item : items) std::sort(item.apart.begin(), item.apart.end());
  return items;
}

std::set<std::pair<std::uint32_t, std::uint32_t>> all_pairs(std::uint32_t count) {
  std::set<std::pair<std::uint32_t, std::uint32_t>> edges;
  for (std::uint32_t a = 0; a < count; ++a) {
    for (std::uint32_t b = a + 1; b < count; ++b) edges.insert({a, b});
  }
  return edges;
}

// Exhaustive: the items of `who` from index `next` on, given what those before it use.
bool possible(const std::vector<ApartItem>& items, const Items& who, std::size_t next = 0,
              std::vector<std::uint32_t> used = {}) {
  if (next == who.size()) return true;
  for (const std::uint32_t node : items[who[next]].nodes) {
    bool free = true;
    for (std::size_t i = 0; i < next; ++i) {
      const Items& apart = items[who[next]].apart;
      const bool parted = std::find(apart.begin(), apart.end(), who[i]) != apart.end();
      if (parted && used[i] == node) free = false;
    }
    if (!free) continue;
    used.push_back(node);
    if (possible(items, who, next + 1, used)) return true;
    used.pop_back();
  }
  return false;
}

Items without(const Items& items, std::uint32_t one) {
  Items rest;
  for (const std::uint32_t item : items) {
    if (item != one) rest.push_back(item);
  }
  return rest;
}

}  // namespace

TEST_CASE("apart: three that keep apart need three nodes") {
  CHECK(crowded(problem({{0, 1, 2}, {0, 1, 2}, {0, 1, 2}}, all_pairs(3))).empty());
  CHECK(crowded(problem({{0, 1}, {0, 1}, {0, 1}}, all_pairs(3))) == std::vector<Items>{{0, 1, 2}});
}

TEST_CASE("apart: only those that are too many are named") {
  // Items 0 and 3 may both use node 7 alone; 1 and 2 have room.
  CHECK(crowded(problem({{7}, {1, 2, 7}, {1, 2, 7}, {7}}, all_pairs(4))) ==
        std::vector<Items>{{0, 3}});
}

TEST_CASE("apart: a ring of five is too many for two nodes, although no three are a clique") {
  const std::vector<Items> two(5, Items{0, 1});
  CHECK(crowded(problem(two, {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {0, 4}})) ==
        std::vector<Items>{{0, 1, 2, 3, 4}});
  const std::vector<Items> even(4, Items{0, 1});
  CHECK(crowded(problem(even, {{0, 1}, {1, 2}, {2, 3}, {0, 3}})).empty());
}

TEST_CASE("apart: two crowds are two answers") {
  CHECK(crowded(problem({{0}, {0}, {1}, {1}}, {{0, 1}, {2, 3}})) ==
        std::vector<Items>{{0, 1}, {2, 3}});
}

TEST_CASE("apart: sixty-five on sixty-four nodes are seen at once, and a thousand in a line too") {
  Items all;
  for (std::uint32_t node = 0; node < 64; ++node) all.push_back(node);
  const auto crowds = crowded(problem(std::vector<Items>(65, all), all_pairs(65)));
  REQUIRE(crowds.size() == 1);
  CHECK(crowds[0].size() == 65);
  CHECK(crowded(problem(std::vector<Items>(64, all), all_pairs(64))).empty());
  std::set<std::pair<std::uint32_t, std::uint32_t>> line;
  for (std::uint32_t i = 0; i + 1 < 1000; ++i) line.insert({i, i + 1});
  CHECK(crowded(problem(std::vector<Items>(1000, Items{0, 1}), line)).empty());
}

TEST_CASE("apart: what is not proven within the limit is not said") {
  CHECK(crowded(problem(std::vector<Items>(3, Items{0, 1}), all_pairs(3)), 2).empty());
}

TEST_CASE("apart: agrees with trying everything, and names nobody in vain") {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    CAPTURE(seed);
    Prng prng(seed);
    const auto count = static_cast<std::uint32_t>(1 + prng.below(8));
    const auto nodes = static_cast<std::uint32_t>(1 + prng.below(4));
    std::vector<Items> lists(count);
    for (Items& list : lists) {
      for (std::uint32_t node = 0; node < nodes; ++node) {
        if (prng.chance(700)) list.push_back(node);
      }
    }
    std::set<std::pair<std::uint32_t, std::uint32_t>> edges;
    for (const auto& edge : all_pairs(count)) {
      if (prng.chance(500)) edges.insert(edge);
    }
    const std::vector<ApartItem> items = problem(lists, edges);
    Items rest;
    for (std::uint32_t i = 0; i < count; ++i) rest.push_back(i);
    for (const Items& crowd : crowded(items)) {
      REQUIRE_FALSE(possible(items, crowd));
      for (const std::uint32_t one : crowd) {
        REQUIRE(possible(items, without(crowd, one)));
        REQUIRE(std::find(rest.begin(), rest.end(), one) != rest.end());
        rest = without(rest, one);
      }
    }
    REQUIRE(possible(items, rest));
  }
}
