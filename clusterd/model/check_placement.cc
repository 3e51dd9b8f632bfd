#include "clusterd/model/check_placement.h"

#include <algorithm>
#include <optional>
#include <set>

#include "clusterd/model/apart.h"

namespace clusterd {
namespace {

using Names = std::set<std::string>;
using Indices = std::vector<std::uint32_t>;  // ascending, of VMs or of nodes

constexpr std::size_t kShown = 8;  // of a long list of names

struct Node {
  const std::string* name = nullptr;
  const NodeDeclaration* declared = nullptr;
  std::optional<Resources> offer;  // nullopt: nobody knows it yet
};

struct Vm {
  const std::string* name = nullptr;
  const ResolvedVm* rules = nullptr;
  Indices allowed;  // by allow and avoid
  Indices fits;     // of those, what provides everything and is large enough if empty
  Indices bound;    // together_with, whoever of the two says it
  std::size_t group = 0;
};

bool allows(const ResolvedVm& vm, const Node& node) {
  const PlacementRules& rules = vm.placement;
  const bool named = rules.allow.contains(*node.name);
  if (node.declared->exclusive && !named) return false;
  return !rules.avoid.contains(*node.name) && (rules.allow.empty() || named);
}

bool provides(const Node& node, const Names& needs) {
  const Names& has = node.declared->provides;
  return std::includes(has.begin(), has.end(), needs.begin(), needs.end());
}

bool fits_empty(const Node& node, std::uint64_t memory, std::uint64_t vcpus) {
  return !node.offer || (memory <= node.offer->memory && vcpus <= node.offer->vcpus);
}

std::string joined(const Names& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

template <class Named>
std::string names_of(const std::vector<Named>& all, const Indices& some) {
  std::string text;
  for (std::size_t i = 0; i < std::min(some.size(), kShown); ++i) {
    text += (i == 0 ? "" : ", ") + *all[some[i]].name;
  }
  if (some.size() > kShown) text += " and " + std::to_string(some.size() - kShown) + " more";
  return text;
}

Indices both(const Indices& a, const Indices& b) {
  Indices result;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(result));
  return result;
}

class PlacementChecker {
 public:
  PlacementChecker(const Configuration& config, const std::map<std::string, ResolvedVm>& vms) {
    for (const auto& [name, node] : config.nodes) {
      Node& known = nodes_.emplace_back(Node{&name, &node, {}});
      if (!node.capacity) continue;
      known.offer = offered(*node.capacity, node.host_reserved, config.cluster.overcommit);
    }
    for (const auto& [name, rules] : vms) vms_.push_back({&name, &rules, {}, {}, {}, 0});
  }

  std::vector<Finding> run() {
    for (Vm& vm : vms_) candidates(vm);
    bind();
    for (const Indices& group : groups_) {
      if (group.size() < 2) continue;
      contradictions(group);
      common_node(group);
      unprotected(group);
    }
    apart();
    return std::move(findings_);
  }

 private:
  void say(const Vm& vm, const std::string& key, const std::string& message,
           Severity severity = Severity::error) {
    findings_.push_back({"vms." + *vm.name + key, message, severity});
  }

  std::optional<std::uint32_t> find(const std::string& name) const {
    const auto at = std::lower_bound(vms_.begin(), vms_.end(), name,
                                     [](const Vm& vm, const auto& n) { return *vm.name < n; });
    if (at == vms_.end() || *at->name != name) return std::nullopt;
    return static_cast<std::uint32_t>(at - vms_.begin());
  }

  // A VM that no declared node could ever run.
  void candidates(Vm& vm) {
    Indices reach;
    const ResolvedVm& rules = *vm.rules;
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      const Node& node = nodes_[i];
      if (!allows(rules, node)) continue;
      vm.allowed.push_back(i);
      if (!provides(node, rules.requires_)) continue;
      reach.push_back(i);
      if (fits_empty(node, rules.size.memory, rules.size.vcpus)) vm.fits.push_back(i);
    }
    if (nodes_.empty()) {
      say(vm, "", "no node is declared that could run it");
    } else if (vm.allowed.empty()) {
      say(vm, ".placement",
          "allow and avoid leave no node to " + *vm.name + exclusive_nodes({vm_index(vm)}));
    } else if (reach.empty()) {
      say(vm, "",
          "requires " + joined(rules.requires_) + ": none of " + names_of(nodes_, vm.allowed) +
              " provides that");
    } else if (vm.fits.empty()) {
      say(vm, "", "is larger than each of " + names_of(nodes_, reach) + ", even if empty");
    }
  }

  std::uint32_t vm_index(const Vm& vm) const {
    return static_cast<std::uint32_t>(&vm - vms_.data());
  }

  // " (exclusive: n1)": the nodes that none of these VMs names; nothing if there are none.
  std::string exclusive_nodes(const Indices& vms) const {
    Indices closed;
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      const bool named = std::any_of(vms.begin(), vms.end(), [&](std::uint32_t vm) {
        return vms_[vm].rules->placement.allow.contains(*nodes_[i].name);
      });
      if (nodes_[i].declared->exclusive && !named) closed.push_back(i);
    }
    return closed.empty() ? "" : " (exclusive: " + names_of(nodes_, closed) + ")";
  }

  // VMs bound by together_with, directly or through others, are one group: they go to one node.
  void bind() {
    for (std::uint32_t i = 0; i < vms_.size(); ++i) {
      for (const auto& name : vms_[i].rules->placement.together_with) {
        const auto other = find(name);
        if (!other || *other == i) continue;
        vms_[i].bound.push_back(*other);
        vms_[*other].bound.push_back(i);
      }
    }
    std::vector<bool> seen(vms_.size(), false);
    for (std::uint32_t i = 0; i < vms_.size(); ++i) {
      if (seen[i]) continue;
      seen[i] = true;
      Indices group{i};
      for (std::size_t next = 0; next < group.size(); ++next) {
        vms_[group[next]].group = groups_.size();
        for (const std::uint32_t other : vms_[group[next]].bound) {
          if (!seen[other]) group.push_back(other);
          seen[other] = true;
        }
      }
      std::sort(group.begin(), group.end());
      groups_.push_back(std::move(group));
    }
  }

  // Nothing may part a group.
  void contradictions(const Indices& group) {
    for (const std::uint32_t member : group) {
      const Vm& vm = vms_[member];
      for (const auto& name : vm.rules->placement.away_from) {
        const auto other = find(name);
        if (!other || *other == member || vms_[*other].group != vm.group) continue;
        say(vm, ".placement.away_from[" + name + "]",
            "together_with binds " + *vm.name + " and " + name +
                " to one node: " + chain(member, *other));
      }
    }
  }

  // Who says that the two belong together: "web1 names app1, db1 names app1".
  std::string chain(std::uint32_t from, std::uint32_t to) const {
    std::map<std::uint32_t, std::uint32_t> next_to{{to, to}};  // towards `to`
    Indices queue{to};
    for (std::size_t next = 0; !next_to.contains(from); ++next) {
      for (const std::uint32_t other : vms_[queue[next]].bound) {
        if (next_to.emplace(other, queue[next]).second) queue.push_back(other);
      }
    }
    std::string text;
    for (std::uint32_t at = from; at != to; at = next_to.at(at)) {
      const Vm& a = vms_[at];
      const Vm& b = vms_[next_to.at(at)];
      const bool says_it = a.rules->placement.together_with.contains(*b.name);
      text += (text.empty() ? "" : ", ") + *(says_it ? a : b).name + " names " +
              *(says_it ? b : a).name;
    }
    return text;
  }

  const Vm& speaker(const Indices& group) const {
    const auto first = std::find_if(group.begin(), group.end(), [&](std::uint32_t member) {
      return !vms_[member].rules->placement.together_with.empty();
    });
    return vms_[first == group.end() ? group.front() : *first];
  }

  // A group that no declared node could ever run as a whole. Members that are not to run need no
  // room. What is wrong with a member alone has been told.
  void common_node(const Indices& group) {
    const bool alone = std::any_of(group.begin(), group.end(),
                                   [&](auto member) { return vms_[member].fits.empty(); });
    if (alone) return;
    Indices allowed = vms_[group.front()].allowed;
    Names needs;
    for (const std::uint32_t member : group) {
      allowed = both(allowed, vms_[member].allowed);
      needs.insert(vms_[member].rules->requires_.begin(), vms_[member].rules->requires_.end());
    }
    Indices reach;
    for (const std::uint32_t node : allowed) {
      if (provides(nodes_[node], needs)) reach.push_back(node);
    }
    const Vm& vm = speaker(group);
    const std::string key = ".placement.together_with";
    const std::string who = names_of(vms_, group);
    if (allowed.empty()) {
      std::string each;
      for (const std::uint32_t member : group) {
        if (vms_[member].allowed.size() == nodes_.size()) continue;
        each += (each.empty() ? ": " : "; ") + *vms_[member].name + " may use " +
                names_of(nodes_, vms_[member].allowed);
      }
      say(vm, key,
          "allow and avoid leave no node to " + who + " together" + each + exclusive_nodes(group));
    } else if (reach.empty()) {
      say(vm, key,
          who + " together require " + joined(needs) + ": none of " + names_of(nodes_, allowed) +
              " provides all of that");
    } else if (large_enough(group, reach).empty()) {
      say(vm, key,
          names_of(vms_, wanted(group)) + " together are larger than each of " +
              names_of(nodes_, reach) + ", even if empty");
    }
  }

  Indices wanted(const Indices& group) const {
    Indices running;
    for (const std::uint32_t member : group) {
      if (vms_[member].rules->state == DesiredState::running) running.push_back(member);
    }
    return running;
  }

  // Of these nodes, those that hold all members that are to run.
  Indices large_enough(const Indices& group, const Indices& nodes) const {
    std::uint64_t memory = 0;  // at most 100,000 VMs of 2^50 bytes: it cannot overflow
    std::uint64_t vcpus = 0;
    for (const std::uint32_t member : wanted(group)) {
      memory += vms_[member].rules->size.memory;
      vcpus += vms_[member].rules->size.vcpus;
    }
    Indices result;
    for (const std::uint32_t node : nodes) {
      if (fits_empty(nodes_[node], memory, vcpus)) result.push_back(node);
    }
    return result;
  }

  // A group is recovered as a whole: one member that must run makes all of them guaranteed.
  void unprotected(const Indices& group) {
    const auto guaranteed = std::find_if(group.begin(), group.end(), [&](std::uint32_t member) {
      return !vms_[member].rules->preemptible;
    });
    if (guaranteed == group.end()) return;
    for (const std::uint32_t member : group) {
      if (!vms_[member].rules->preemptible) continue;
      say(vms_[member], ".preemptible",
          "has no effect: together_with binds it to " + *vms_[*guaranteed].name +
              ", which is not preemptible (" + chain(member, *guaranteed) + ")",
          Severity::warning);
    }
  }

  // VMs that keep apart, and have fewer nodes to choose from than they need.
  void apart() {
    std::vector<ApartItem> items(groups_.size());
    for (std::size_t i = 0; i < groups_.size(); ++i) items[i].nodes = nodes_for(groups_[i]);
    const auto takes_part = [&](const Vm& vm) {
      return vm.rules->state == DesiredState::running && !items[vm.group].nodes.empty();
    };
    for (const Vm& vm : vms_) {
      if (!takes_part(vm)) continue;
      for (const auto& name : vm.rules->placement.away_from) {
        const auto other = find(name);
        if (!other || vms_[*other].group == vm.group || !takes_part(vms_[*other])) continue;
        items[vm.group].apart.push_back(static_cast<std::uint32_t>(vms_[*other].group));
        items[vms_[*other].group].apart.push_back(static_cast<std::uint32_t>(vm.group));
      }
    }
    for (ApartItem& item : items) {
      std::sort(item.apart.begin(), item.apart.end());
      item.apart.erase(std::unique(item.apart.begin(), item.apart.end()), item.apart.end());
    }
    for (const Indices& crowd : crowded(items)) {
      if (!items[crowd.front()].nodes.empty()) tell_crowd(crowd, items);
    }
  }

  Indices nodes_for(const Indices& group) const {
    Indices nodes = vms_[group.front()].fits;
    for (const std::uint32_t member : group) nodes = both(nodes, vms_[member].fits);
    return large_enough(group, nodes);
  }

  // "web1", or "web1 with db1" for a group.
  std::string label(std::size_t group) const {
    const Indices members = wanted(groups_[group]);
    const std::string first = *vms_[members.front()].name;
    if (members.size() == 1) return first;
    return first + " with " + names_of(vms_, Indices(members.begin() + 1, members.end()));
  }

  void tell_crowd(const Indices& crowd, const std::vector<ApartItem>& items) {
    std::string who;
    std::string each;
    for (std::size_t i = 0; i < std::min(crowd.size(), kShown); ++i) {
      who += (i == 0 ? "" : ", ") + label(crowd[i]);
      each += (i == 0 ? "" : "; ") + label(crowd[i]) + " may use " +
              names_of(nodes_, items[crowd[i]].nodes);
    }
    if (crowd.size() > kShown) {
      who += " and " + std::to_string(crowd.size() - kShown) + " more";
      each += "; ...";
    }
    const Indices& nodes = items[crowd.front()].nodes;
    const bool same = std::all_of(crowd.begin(), crowd.end(),
                                  [&](std::uint32_t item) { return items[item].nodes == nodes; });
    const std::string lead = "away_from asks for more nodes than there are for " + who + ": ";
    say(speaker_of(crowd), ".placement.away_from",
        lead + (same ? "only " + names_of(nodes_, nodes) + " can take them" : each));
  }

  // The first VM of the crowd that says that it keeps away from another one of it.
  const Vm& speaker_of(const Indices& crowd) const {
    const Vm* first = nullptr;
    for (const std::uint32_t group : crowd) {
      for (const std::uint32_t member : wanted(groups_[group])) {
        const Names& away = vms_[member].rules->placement.away_from;
        const bool says_it = std::any_of(away.begin(), away.end(), [&](const auto& name) {
          const auto other = find(name);
          return other && std::binary_search(crowd.begin(), crowd.end(), vms_[*other].group);
        });
        if (says_it && (first == nullptr || *vms_[member].name < *first->name)) {
          first = &vms_[member];
        }
      }
    }
    return first == nullptr ? vms_[groups_[crowd.front()].front()] : *first;
  }

  std::vector<Node> nodes_;  // by name
  std::vector<Vm> vms_;      // by name
  std::vector<Indices> groups_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check_placement(const Configuration& config,
                                     const std::map<std::string, ResolvedVm>& vms) {
  return PlacementChecker(config, vms).run();
}

}  // namespace clusterd
