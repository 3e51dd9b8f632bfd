#include "clusterd/engine/fleet.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "clusterd/base/assert.h"
#include "clusterd/engine/constraints.h"
#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

using Index = std::uint32_t;

std::uint64_t less(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : 0;
}

bool contains(const std::vector<Index>& ascending, Index value) {
  return std::binary_search(ascending.begin(), ascending.end(), value);
}

}  // namespace

// ---- from the state ----------------------------------------------------------------------------

Fleet::Fleet(const ClusterState& state, ClusterTime now, FleetUse use, const FleetRules& rules,
             const std::map<VmId, NodeId>& planned) {
  read_nodes(state, now, use);
  read_kinds(state, rules);
  read_vms(state, now, use, rules, planned);
  for (Index vm = 0; vm < vms_.size(); ++vm) settle(vm);
}

void Fleet::read_nodes(const ClusterState& state, ClusterTime now, FleetUse use) {
  nodes_.reserve(state.nodes.size());
  for (const auto& [id, node] : state.nodes) {
    FleetNode one;
    one.id = id;
    const ClusterTime at = use == FleetUse::proof ? std::max(now, node.settle_until) : now;
    one.online = !node_exclusion(state, id, at);
    const NodeCapacity offer = offer_of(state, node);
    one.offer = {std::min(offer.memory, kHugeSize - 1), std::min(offer.vcpus, kHugeSize - 1)};
    one.degraded_memory = std::min(offer.degraded_memory, kHugeSize - 1);
    nodes_.push_back(std::move(one));
    eventful_.push_back(node.loss || !node.dead.empty() ? 1 : 0);
  }
}

void Fleet::read_places(const ClusterState& state, const VmState& vm, std::optional<Index> planned,
                        FleetVm& out) const {
  for (const auto& [host, sighting] : vm.holders) {
    const auto at = node(host.node);
    if (!at || (!out.on.empty() && out.on.back() == *at)) continue;
    // Asking costs two searches; nearly all nodes have lost nothing since they were founded.
    const bool lost = eventful_[*at] != 0 && clusterd::is_lost(state, host);
    if (eventful_[*at] != 0 && is_dead(state, host)) continue;
    out.on.push_back(*at);
    if (planned ? *at != *planned : lost) out.ghost.push_back(*at);
  }
  if (!planned || contains(out.on, *planned)) return;
  out.on.insert(std::lower_bound(out.on.begin(), out.on.end(), *planned), *planned);
}

void Fleet::read_kinds(const ClusterState& state, const FleetRules& rules) {
  for (const ResolvedVm& example : rules.kinds) {
    Kind& kind = kinds_.emplace_back();
    kind.allows.assign(nodes_.size(), 0);
    for (Index n = 0; n < nodes_.size(); ++n) {
      const NodeId id = nodes_[n].id;
      if (!nodes_[n].online) continue;
      if (rule_exclusion(example, id, state.nodes.at(id), node_declaration(state, id),
                         Detail::omit)) {
        continue;
      }
      kind.allows[n] = 1;
      kind.nodes.push_back(n);
    }
  }
  // Of those that are not declared.
  kinds_.push_back({{}, std::vector<std::uint8_t>(nodes_.size(), 0)});
}

void Fleet::read_vms(const ClusterState& state, ClusterTime now, FleetUse use,
                     const FleetRules& rules, const std::map<VmId, NodeId>& planned) {
  std::vector<Index> vm_of(rules.vms.size(), kNone);
  Index next = 0;  // both ascend, so that nobody need be searched
  auto plan = planned.begin();
  vms_.reserve(state.vms.size());
  for (const auto& [id, vm] : state.vms) {
    FleetVm& one = vms_.emplace_back();
    one.id = id;
    one.counted = one.need = packing_size(vm.size);
    one.kind = static_cast<Index>(kinds_.size() - 1);
    while (plan != planned.end() && plan->first < id) ++plan;
    const bool is_planned = plan != planned.end() && plan->first == id;
    read_places(state, vm, is_planned ? node(plan->second) : std::nullopt, one);
    while (next < rules.vms.size() && rules.vms[next].id < id) ++next;
    const bool declared = !vm.tombstone && next < rules.vms.size() && rules.vms[next].id == id &&
                          rules.vms[next].name == vm.name;
    if (!declared) continue;
    const FleetRules::Vm& rule = rules.vms[next];
    vm_of[next] = static_cast<Index>(vms_.size() - 1);
    one.need = rule.need;
    one.priority = rule.priority;
    one.kind = rule.kind;
    // Where it is already it has the size with which it counts there, until it ends.
    if (is_planned && !may_be_active_on(state, vm, plan->second)) one.counted = one.need;
    if (!should_run(vm)) continue;
    const bool stopping = vm.operation && vm.operation->kind == VmOpKind::stop;
    // Its host could not stop it, and is given a pause: for now it makes no room.
    const bool stuck = use == FleetUse::plan && vm.next_stop > now;
    one.standing = !rule.may_stop ? Standing::guaranteed
                   : stopping     ? Standing::leaving
                   : stuck        ? Standing::fixed
                                  : Standing::lodger;
  }
  read_relations(rules, vm_of);
}

void Fleet::read_relations(const FleetRules& rules, const std::vector<Index>& vm_of) {
  const auto known = [&](const std::vector<Index>& list) {
    std::vector<Index> result;
    for (const Index one : list) {
      if (vm_of[one] != kNone) result.push_back(vm_of[one]);
    }
    return result;
  };
  bonds_.emplace_back();
  for (const auto& group : rules.groups) groups_.push_back(known(group));
  for (Index i = 0; i < rules.vms.size(); ++i) {
    const FleetRules::Vm& rule = rules.vms[i];
    if (vm_of[i] == kNone || (rule.apart.empty() && !rule.group)) continue;
    vms_[vm_of[i]].bonds = static_cast<Index>(bonds_.size());
    bonds_.push_back({known(rule.apart), rule.group.value_or(kNone)});
  }
}

// ---- who is where
// --------------------------------------------------------------------------------

void Fleet::settle(Index vm) {
  const FleetVm& one = vms_[vm];
  const auto insert = [&](std::vector<Index>& list) {
    list.insert(std::lower_bound(list.begin(), list.end(), vm), vm);
  };
  for (const Index at : one.on) {
    FleetNode& node = nodes_[at];
    switch (one.standing) {
      case Standing::guaranteed:
        if (!contains(one.ghost, at)) insert(node.guaranteed);
        node.fixed = node.fixed + one.counted;
        break;
      case Standing::lodger:
        insert(node.lodgers);
        break;
      case Standing::leaving:
        break;
      case Standing::fixed:
        node.fixed = node.fixed + one.counted;
        break;
    }
  }
}

void Fleet::unsettle(Index vm) {
  const FleetVm& one = vms_[vm];
  const auto erase = [&](std::vector<Index>& list) {
    const auto found = std::lower_bound(list.begin(), list.end(), vm);
    if (found != list.end() && *found == vm) list.erase(found);
  };
  for (const Index at : one.on) {
    FleetNode& node = nodes_[at];
    erase(node.guaranteed);
    erase(node.lodgers);
    const bool counts = one.standing == Standing::guaranteed || one.standing == Standing::fixed;
    if (counts) node.fixed = node.fixed - one.counted;
  }
}

void Fleet::move(Index vm, Index to) {
  CLUSTERD_ASSERT(vms_[vm].on.size() == 1 && vms_[vm].ghost.empty());
  unsettle(vm);
  vms_[vm].on.front() = to;
  settle(vm);
}

std::optional<Index> Fleet::node(NodeId id) const {
  const auto found =
      std::lower_bound(nodes_.begin(), nodes_.end(), id,
                       [](const FleetNode& node, NodeId wanted) { return node.id < wanted; });
  if (found == nodes_.end() || found->id != id) return std::nullopt;
  return static_cast<Index>(found - nodes_.begin());
}

std::optional<Index> Fleet::vm(const VmId& id) const {
  const auto found =
      std::lower_bound(vms_.begin(), vms_.end(), id,
                       [](const FleetVm& vm, const VmId& wanted) { return vm.id < wanted; });
  if (found == vms_.end() || found->id != id) return std::nullopt;
  return static_cast<Index>(found - vms_.begin());
}

PackingSize Fleet::room(Index node, Mode mode) const {
  const FleetNode& one = nodes_[node];
  const std::uint64_t memory =
      mode == Mode::degraded ? std::max(one.degraded_memory, one.offer.memory) : one.offer.memory;
  return {less(memory, one.fixed.memory), less(one.offer.vcpus, one.fixed.vcpus)};
}

const std::vector<Index>& Fleet::apart(Index vm) const {
  return bonds_[vms_[vm].bonds].apart;
}

const std::vector<Index>& Fleet::group(Index vm) const {
  const Index group = bonds_[vms_[vm].bonds].group;
  return group == kNone ? nobody_ : groups_[group];
}

bool Fleet::is_lost(Index node, const std::vector<Index>& lost) const {
  return std::find(lost.begin(), lost.end(), node) != lost.end();
}

bool Fleet::stays(const FleetVm& vm, const std::vector<Index>& lost) const {
  if (vm.on.size() == 1 && vm.ghost.empty()) return !is_lost(vm.on.front(), lost);
  return std::any_of(vm.on.begin(), vm.on.end(),
                     [&](Index at) { return !is_lost(at, lost) && !contains(vm.ghost, at); });
}

std::vector<Index> Fleet::displaced(const std::vector<Index>& lost) const {
  std::vector<Index> result;
  for (const Index node : lost) {
    for (const Index vm : nodes_[node].guaranteed) {
      if (!stays(vms_[vm], lost)) result.push_back(vm);
    }
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

Fleet::Anchor Fleet::anchor(Index group, const std::vector<Index>& vms,
                            const std::vector<Index>& lost) const {
  Anchor anchor;
  for (const Index member : groups_[group]) {
    const FleetVm& one = vms_[member];
    if (contains(vms, member) || !stays(one, lost)) continue;
    std::vector<Index> here;
    for (const Index at : one.on) {
      const bool counts = !is_lost(at, lost) && !contains(one.ghost, at);
      if (counts && (!anchor.any || contains(anchor.nodes, at))) here.push_back(at);
    }
    anchor.any = true;
    anchor.nodes = std::move(here);
  }
  return anchor;
}

// ---- problems
// ------------------------------------------------------------------------------------

FleetProblem Fleet::problem(const std::vector<Index>& vms, const std::vector<Index>& lost,
                            Mode mode) const {
  FleetProblem problem;
  problem.packing.bins.resize(nodes_.size());
  for (Index n = 0; n < nodes_.size(); ++n) {
    if (!nodes_[n].online || is_lost(n, lost)) continue;
    PackingBin& bin = problem.packing.bins[n];
    bin.room = room(n, mode);
    bin.lodgers.reserve(nodes_[n].lodgers.size());
    for (const Index lodger : nodes_[n].lodgers) {
      bin.lodgers.push_back({vms_[lodger].counted, vms_[lodger].priority});
    }
  }
  form_items(problem, vms, lost);
  for (Index item = 0; item < problem.vms.size(); ++item) bind_item(problem, item, vms, lost);
  // Both of a pair say it, if only one of their VMs did.
  auto& items = problem.packing.items;
  for (PackingItem& one : items) {
    std::sort(one.apart.begin(), one.apart.end());
    one.apart.erase(std::unique(one.apart.begin(), one.apart.end()), one.apart.end());
    std::sort(one.foes.begin(), one.foes.end());
    one.foes.erase(std::unique(one.foes.begin(), one.foes.end()), one.foes.end());
  }
  return problem;
}

// A group that stays nowhere goes as one; everybody else by himself.
void Fleet::form_items(FleetProblem& problem, const std::vector<Index>& vms,
                       const std::vector<Index>& lost) const {
  std::map<Index, Index> group_items;
  for (const Index vm : vms) {
    const FleetVm& one = vms_[vm];
    const Index group = bonds_[one.bonds].group;
    Index item = static_cast<Index>(problem.vms.size());
    if (group != kNone && !anchor(group, vms, lost).any) {
      item = group_items.emplace(group, item).first->second;
    }
    if (item == problem.vms.size()) {
      problem.vms.emplace_back();
      problem.packing.items.emplace_back();
    }
    problem.vms[item].push_back(vm);
    problem.packing.items[item].size = problem.packing.items[item].size + one.need;
  }
}

void Fleet::bind_item(FleetProblem& problem, Index item, const std::vector<Index>& vms,
                      const std::vector<Index>& lost) const {
  PackingItem& out = problem.packing.items[item];
  const std::vector<Index>& members = problem.vms[item];
  std::set<Index> forbidden(lost.begin(), lost.end());
  bool impossible = false;
  for (const Index vm : members) {
    for (const Index other : apart(vm)) {
      if (contains(members, other)) impossible = true;
      if (contains(vms, other)) {
        for (Index i = 0; i < problem.vms.size(); ++i) {
          if (i != item && contains(problem.vms[i], other)) out.apart.push_back(i);
        }
        continue;
      }
      const FleetVm& stranger = vms_[other];
      if (stranger.standing == Standing::leaving) continue;
      for (const Index at : stranger.on) {
        if (stranger.standing != Standing::lodger) {
          forbidden.insert(at);
        } else if (!is_lost(at, lost)) {
          const auto& lodgers = nodes_[at].lodgers;
          const auto place = std::lower_bound(lodgers.begin(), lodgers.end(), other);
          out.foes.push_back({at, static_cast<Index>(place - lodgers.begin())});
        }
      }
    }
  }
  if (impossible) return;
  const Index group = bonds_[vms_[members.front()].bonds].group;
  const Anchor held = group == kNone ? Anchor{} : anchor(group, vms, lost);
  for (const Index n : kinds_[vms_[members.front()].kind].nodes) {
    const bool allowed =
        std::all_of(members.begin(), members.end(), [&](Index vm) { return eligible(vm, n); });
    if (!allowed || forbidden.count(n) != 0) continue;
    if (held.any && !contains(held.nodes, n)) continue;
    out.bins.push_back(n);
  }
}

bool Fleet::peaceful(Index vm, Index target, const std::vector<Index>& vms,
                     const std::vector<Index>& targets, const std::vector<Index>& lost) const {
  const auto going = [&](Index other) {
    const auto found = std::lower_bound(vms.begin(), vms.end(), other);
    return found == vms.end() || *found != other
               ? std::nullopt
               : std::optional(targets[static_cast<std::size_t>(found - vms.begin())]);
  };
  const Bonds& bonds = bonds_[vms_[vm].bonds];
  for (const Index other : bonds.apart) {
    const auto to = going(other);
    const FleetVm& stranger = vms_[other];
    const bool may_leave =
        stranger.standing == Standing::lodger || stranger.standing == Standing::leaving;
    if (to ? *to == target : !may_leave && contains(stranger.on, target)) return false;
  }
  if (bonds.group == kNone) return true;
  const Anchor held = anchor(bonds.group, vms, lost);
  if (held.any) return contains(held.nodes, target);
  const auto& group = groups_[bonds.group];
  return std::all_of(group.begin(), group.end(),
                     [&](Index other) { return going(other).value_or(target) == target; });
}

bool Fleet::holds(const std::vector<Index>& vms, const std::vector<Index>& targets,
                  const std::vector<Index>& lost) const {
  if (vms.size() != targets.size()) return false;
  std::map<Index, PackingSize> loads;
  for (std::size_t i = 0; i < vms.size(); ++i) {
    const Index target = targets[i];
    if (target >= nodes_.size() || !eligible(vms[i], target) || is_lost(target, lost)) return false;
    PackingSize& load = loads[target];
    load = load + vms_[vms[i]].need;
    if (vms_[vms[i]].bonds != 0 && !peaceful(vms[i], target, vms, targets, lost)) return false;
  }
  return std::all_of(loads.begin(), loads.end(),
                     [&](const auto& load) { return load.second.fits_in(room(load.first)); });
}

}  // namespace clusterd
