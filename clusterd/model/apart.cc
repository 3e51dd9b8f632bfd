#include "clusterd/model/apart.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>

namespace clusterd {
namespace {

using Items = std::vector<std::uint32_t>;
constexpr std::uint32_t kNone = ~std::uint32_t{0};

// Tries all ways to give every item of a part a node, always the item next that has the fewest
// left. The parts are what peel() leaves, so this is seldom asked.
class Search {
 public:
  // Uses up to `left` steps, and takes what it used from it.
  Search(const std::vector<ApartItem>& items, const Items& part, std::uint64_t& left)
      : items_(items), part_(part), left_(left), closed_(part.size()), open_(part.size()) {
    for (std::size_t i = 0; i < part.size(); ++i) open_[i] = items[part[i]].nodes.size();
    placed_.resize(part.size(), false);
  }

  // False also when the work is used up.
  bool impossible() {
    if (!deepen()) return false;
    while (!choices_.empty()) {
      if (left_ <= part_.size()) {
        left_ = 0;
        return false;
      }
      left_ -= part_.size();
      if (!next_node(choices_.back())) {
        placed_[choices_.back().item] = false;
        choices_.pop_back();
      } else if (!deepen()) {
        return false;
      }
    }
    return true;
  }

 private:
  struct Choice {
    std::size_t item = 0;  // index in part_
    std::size_t next = 0;  // of its nodes, the next one to try
    std::uint32_t used = kNone;
  };

  // False when all have a node.
  bool deepen() {
    std::size_t best = part_.size();
    for (std::size_t i = 0; i < part_.size(); ++i) {
      if (!placed_[i] && (best == part_.size() || open_[i] < open_[best])) best = i;
    }
    if (best == part_.size()) return false;
    placed_[best] = true;
    choices_.push_back({best, 0, kNone});
    return true;
  }

  // Moves the choice to its item's next free node; false: there is none.
  bool next_node(Choice& choice) {
    const Items& nodes = items_[part_[choice.item]].nodes;
    if (choice.used != kNone) close(choice, false);
    choice.used = kNone;
    const auto& closed = closed_[choice.item];
    while (choice.next < nodes.size() && closed.contains(nodes[choice.next])) ++choice.next;
    if (choice.next == nodes.size()) return false;
    choice.used = nodes[choice.next++];
    close(choice, true);
    return true;
  }

  // Closes the chosen node to the neighbours, or opens it again.
  void close(const Choice& choice, bool on) {
    for (const std::uint32_t other : items_[part_[choice.item]].apart) {
      const auto at = std::lower_bound(part_.begin(), part_.end(), other);
      if (at == part_.end() || *at != other) continue;
      const Items& nodes = items_[other].nodes;
      if (!std::binary_search(nodes.begin(), nodes.end(), choice.used)) continue;
      const auto i = static_cast<std::size_t>(at - part_.begin());
      std::uint32_t& times = closed_[i][choice.used];
      if (on && times++ == 0) --open_[i];
      if (on || --times > 0) continue;
      closed_[i].erase(choice.used);
      ++open_[i];
    }
  }

  const std::vector<ApartItem>& items_;
  const Items& part_;
  std::uint64_t& left_;
  std::vector<std::map<std::uint32_t, std::uint32_t>> closed_;  // node -> how many closed it
  std::vector<std::size_t> open_;                               // how many nodes are left to each
  std::vector<bool> placed_;
  std::vector<Choice> choices_;
};

class Crowds {
 public:
  Crowds(const std::vector<ApartItem>& items, std::uint64_t limit)
      : items_(items), live_(items.size(), true), left_(limit) {}

  std::vector<Items> run() {
    std::vector<Items> found;
    while (left_ > 0) {
      peel();
      const std::size_t before = found.size();
      for (const Items& part : parts()) {
        auto crowd = too_many(part);
        if (!crowd) continue;
        for (const std::uint32_t item : *crowd) live_[item] = false;
        found.push_back(std::move(*crowd));
      }
      if (found.size() == before) break;
    }
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  // False when the work is used up.
  bool spend(std::uint64_t steps) {
    left_ -= std::min(left_, steps);
    return left_ > 0;
  }

  bool apart(std::uint32_t a, std::uint32_t b) const {
    const Items& others = items_[a].apart;
    return std::binary_search(others.begin(), others.end(), b);
  }

  // Takes out, one after the other, every item that has more nodes than neighbours left: it finds
  // a node whatever they use. Mostly that is everybody.
  void peel() {
    std::vector<std::size_t> degree(items_.size(), 0);
    Items queue;
    for (std::uint32_t item = 0; item < items_.size(); ++item) {
      if (!live_[item]) continue;
      for (const std::uint32_t other : items_[item].apart) degree[item] += live_[other] ? 1U : 0U;
      if (degree[item] < items_[item].nodes.size()) queue.push_back(item);
    }
    for (std::size_t next = 0; next < queue.size(); ++next) {
      const std::uint32_t item = queue[next];
      if (!live_[item]) continue;
      live_[item] = false;
      for (const std::uint32_t other : items_[item].apart) {
        if (!live_[other]) continue;
        if (--degree[other] < items_[other].nodes.size()) queue.push_back(other);
      }
    }
  }

  // The connected parts of what is left; each ascends.
  std::vector<Items> parts() const {
    std::vector<Items> parts;
    std::vector<bool> seen(items_.size(), false);
    for (std::uint32_t item = 0; item < items_.size(); ++item) {
      if (!live_[item] || seen[item]) continue;
      Items part{item};
      seen[item] = true;
      for (std::size_t next = 0; next < part.size(); ++next) {
        for (const std::uint32_t other : items_[part[next]].apart) {
          if (!live_[other] || seen[other]) continue;
          seen[other] = true;
          part.push_back(other);
        }
      }
      std::sort(part.begin(), part.end());
      parts.push_back(std::move(part));
    }
    return parts;
  }

  std::optional<Items> too_many(const Items& part) {
    Items order = part;
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return items_[a].nodes.size() < items_[b].nodes.size();
    });
    for (const std::uint32_t first : order) {
      if (auto crowd = crowded_clique(first)) return crowd;
      if (left_ == 0) return std::nullopt;
    }
    if (!impossible(part)) return std::nullopt;
    return shrunk(part);
  }

  // ---- items that are all apart from each other need a node each: Hall's condition -----------

  // Grows a clique around `first`, those with few nodes first, and gives every member a node of
  // its own until one finds none. Then the members whose nodes it could have had are too many.
  std::optional<Items> crowded_clique(std::uint32_t first) {
    Items candidates;
    for (const std::uint32_t other : items_[first].apart) {
      if (live_[other]) candidates.push_back(other);
    }
    std::stable_sort(candidates.begin(), candidates.end(), [&](std::uint32_t a, std::uint32_t b) {
      return items_[a].nodes.size() < items_[b].nodes.size();
    });
    candidates.insert(candidates.begin(), first);
    Items clique;
    std::map<std::uint32_t, std::uint32_t> user;  // node -> member
    for (const std::uint32_t item : candidates) {
      if (!spend(clique.size() + 1)) return std::nullopt;
      const bool fits = std::all_of(clique.begin(), clique.end(),
                                    [&](std::uint32_t member) { return apart(item, member); });
      if (!fits) continue;
      clique.push_back(item);
      if (auto crowd = without_node(item, user)) return crowd;
    }
    return std::nullopt;
  }

  // Gives the item a node, moving other members to others of theirs (an augmenting path). If
  // there is none: the members that were in question, which are one more than their nodes.
  std::optional<Items> without_node(std::uint32_t item,
                                    std::map<std::uint32_t, std::uint32_t>& user) {
    Items reached{item};
    std::map<std::uint32_t, std::uint32_t> asked_by;  // node -> the member that wants it
    for (std::size_t next = 0; next < reached.size(); ++next) {
      const std::uint32_t member = reached[next];
      for (const std::uint32_t node : items_[member].nodes) {
        spend(1);
        if (!asked_by.emplace(node, member).second) continue;
        const auto taken = user.find(node);
        if (taken != user.end()) {
          reached.push_back(taken->second);
          continue;
        }
        hand_over(node, item, asked_by, user);
        return std::nullopt;
      }
    }
    std::sort(reached.begin(), reached.end());
    return reached;
  }

  static void hand_over(std::uint32_t node, std::uint32_t item,
                        const std::map<std::uint32_t, std::uint32_t>& asked_by,
                        std::map<std::uint32_t, std::uint32_t>& user) {
    std::uint32_t free = node;
    while (true) {
      const std::uint32_t member = asked_by.at(free);
      std::uint32_t had = kNone;
      for (const auto& [owned, owner] : user) {
        if (owner == member) had = owned;
      }
      user[free] = member;
      if (member == item) return;
      free = had;
    }
  }

  // Everything else: all ways to give each a node.
  bool impossible(const Items& part) { return Search(items_, part, left_).impossible(); }

  // The same without the items that it does not need.
  Items shrunk(Items part) {
    for (std::size_t i = 0; i < part.size();) {
      Items rest = part;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
      if (impossible(rest)) {
        part = std::move(rest);
      } else {
        ++i;
      }
    }
    return part;
  }

  const std::vector<ApartItem>& items_;
  std::vector<bool> live_;
  std::uint64_t left_;
};

}  // namespace

std::vector<std::vector<std::uint32_t>> crowded(const std::vector<ApartItem>& items,
                                                std::uint64_t limit) {
  return Crowds(items, limit).run();
}

}  // namespace clusterd
