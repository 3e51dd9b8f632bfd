// Packing: which item goes into which bin, so that all have a place. Exact, deterministic.
//
// Vector bin packing of two dimensions (memory, processors) into bins of different sizes, with a
// list of eligible bins for every item, items that may not share a bin, and bins that get room when
// lodgers leave them. NP-hard, so: constructive heuristics say "it fits" fast, bounds say "it does
// not" fast, and branch and bound decides what is left within a limit of work. What is not decided
// is `unknown`, never a guess. Hosts and VMs become bins and items in fleet.h.
//
// Sources: Johnson 1974 for first- and best-fit decreasing; Martello and Toth 1990, chapter 8, for
// bounds by size classes.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace clusterd {

struct PackingSize {
  std::uint64_t memory = 0;  // bytes
  std::uint64_t vcpus = 0;

  [[nodiscard]] bool fits_in(const PackingSize& room) const {
    return memory <= room.memory && vcpus <= room.vcpus;
  }
  friend bool operator==(const PackingSize&, const PackingSize&) = default;
  friend PackingSize operator+(const PackingSize& a, const PackingSize& b) {
    return {a.memory + b.memory, a.vcpus + b.vcpus};
  }
  // Precondition: b fits in a.
  friend PackingSize operator-(const PackingSize& a, const PackingSize& b) {
    return {a.memory - b.memory, a.vcpus - b.vcpus};
  }
};

// A lodger that may not share its bin with an item: it leaves when the item comes.
struct PackingFoe {
  std::uint32_t bin = 0;
  std::uint32_t lodger = 0;
  friend auto operator<=>(const PackingFoe&, const PackingFoe&) = default;
};

struct PackingItem {
  PackingSize size;
  std::vector<std::uint32_t> bins;   // eligible, ascending
  std::vector<std::uint32_t> apart;  // items that may not share its bin; stands in both of them
  std::vector<PackingFoe> foes;      // ascending
};

// Who may be sent away to make room.
struct PackingLodger {
  PackingSize size;
  std::uint64_t price = 0;  // compared among equally many that leave: the cheapest do
};

struct PackingBin {
  PackingSize room;  // free when all lodgers have left
  std::vector<PackingLodger> lodgers;
};

struct PackingProblem {
  std::vector<PackingItem> items;
  std::vector<PackingBin> bins;
};

// What sending lodgers away costs; compared from left to right.
struct PackingCost {
  std::uint64_t lodgers = 0;
  std::uint64_t price = 0;
  std::uint64_t memory = 0;

  friend auto operator<=>(const PackingCost&, const PackingCost&) = default;
  PackingCost& operator+=(const PackingCost& other);
  PackingCost& operator-=(const PackingCost& other);
};

enum class PackingVerdict : std::uint8_t { fits, does_not_fit, unknown };
constexpr PackingVerdict enum_last(PackingVerdict) {
  return PackingVerdict::unknown;
}
[[nodiscard]] std::string_view name_of(PackingVerdict verdict);

struct PackingResult {
  PackingVerdict verdict = PackingVerdict::unknown;
  std::vector<std::uint32_t> bin_of;  // of every item; empty unless it fits
  // Of every bin, the lodgers that leave, ascending. Empty unless it fits.
  std::vector<std::vector<std::uint32_t>> leave;
  PackingCost cost;
  bool fewest = false;    // no packing sends fewer lodgers away
  bool cheapest = false;  // no packing costs less
  // Unless it fits: an item that found no place.
  std::optional<std::uint32_t> blocking;
  std::uint64_t steps = 0;  // bins looked at for an item
};

// The work after which an undecided problem is given up, in steps; some ten milliseconds.
constexpr std::uint64_t kPackingSteps = 2'000'000;

enum class PackingGoal : std::uint8_t {
  any,       // the first packing that is found
  cheapest,  // ... and then the one that costs least, as far as the limit allows
};

struct PackingEffort {
  std::uint64_t limit = kPackingSteps;
  PackingGoal goal = PackingGoal::cheapest;
};

// Packs all items. The verdict does not depend on the goal.
// Precondition: indices are valid, `bins` and `foes` ascend, `apart` is symmetric and never names
// the item, and all sizes together, and all prices, stay below 2^64.
[[nodiscard]] PackingResult pack(const PackingProblem& problem, const PackingEffort& effort = {});

// Nothing if the answer solves the problem, else what is wrong with it. Looks at each rule anew.
[[nodiscard]] std::optional<std::string_view> packing_fault(const PackingProblem& problem,
                                                            const PackingResult& result);

}  // namespace clusterd
