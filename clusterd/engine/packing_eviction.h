// Eviction: who leaves one bin of a packing so that a load fits into it.
//
// A part of packing.cc. Exact within a bound of tries; what was cut short is told.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "clusterd/engine/packing.h"

namespace clusterd {

class Eviction {
 public:
  explicit Eviction(const PackingBin& bin);

  struct Answer {
    std::vector<std::uint32_t> leave;  // ascending
    PackingCost cost;
    bool fewest = true;    // nobody less would do
    bool cheapest = true;  // as many of less cost would not do
  };

  // How many leave for this load, when these (ascending) leave anyway; nullopt: it does not fit
  // even if all leave. `exact` turns false if the search was cut short.
  [[nodiscard]] std::optional<std::uint64_t> fewest(const PackingSize& load,
                                                    const std::vector<std::uint32_t>& anyway,
                                                    bool& exact) const;
  // The cheapest of the fewest.
  [[nodiscard]] std::optional<Answer> cheapest(const PackingSize& load,
                                               const std::vector<std::uint32_t>& anyway) const;

 private:
  struct Search;

  [[nodiscard]] PackingSize lack(const PackingSize& load,
                                 const std::vector<std::uint32_t>& anyway) const;
  // At least so many of the others must leave; nullopt: all are not enough.
  [[nodiscard]] std::optional<std::uint64_t> bound(const PackingSize& lack,
                                                   const std::vector<std::uint32_t>& anyway) const;

  const PackingBin& bin_;
  std::vector<std::uint32_t> by_memory_;  // lodgers, largest first
  std::vector<std::uint32_t> by_vcpus_;
  std::vector<std::uint32_t> by_price_;  // cheapest first
};

}  // namespace clusterd
