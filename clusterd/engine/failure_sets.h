// FailureSets: all sets of k out of n hosts, one after another, the first hosts first.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

namespace clusterd {

class FailureSets {
 public:
  // Precondition: hosts <= nodes.size().
  FailureSets(const std::vector<std::uint32_t>& nodes, std::size_t hosts)
      : nodes_(nodes), chosen_(hosts) {
    std::iota(chosen_.begin(), chosen_.end(), std::size_t{0});
  }

  // The present set, in the order of `nodes`.
  [[nodiscard]] std::vector<std::uint32_t> set() const {
    std::vector<std::uint32_t> set;
    for (const std::size_t i : chosen_) set.push_back(nodes_[i]);
    return set;
  }

  // False if there is none left.
  bool next() {
    for (std::size_t i = chosen_.size(); i-- > 0;) {
      if (chosen_[i] == nodes_.size() - chosen_.size() + i) continue;
      ++chosen_[i];
      for (std::size_t j = i + 1; j < chosen_.size(); ++j) chosen_[j] = chosen_[j - 1] + 1;
      return true;
    }
    return false;
  }

 private:
  const std::vector<std::uint32_t>& nodes_;
  std::vector<std::size_t> chosen_;
};

}  // namespace clusterd
