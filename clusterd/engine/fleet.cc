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

// What is larger counts as this, so that no sum of sizes wraps: a VM of it fits nowhere.
constexpr std::uint64_t kHuge = 1ULL << 50;

PackingSize size_of(const Resources& size) {
  return {std::min(size.memory, kHuge), std::min<std::uint64_t>(size.vcpus, kHuge)};
}

std::uint64_t less(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : 0;
}

bool contains(const std::vector<Index>& ascending, Index value) {
  return std::binary_search(ascending.begin(), ascending.end(), value);
}

// What resolve() would answer for one key; null: nobody said anything. See rules_of in
// constraints.cc: resolving every VM whole takes longer than all the rest.
template <class T>
const T* said(const VmPolicy& own, const VmPolicy* profile, std::optional<T> VmPolicy::*key) {
  if (own.*key) return &*(own.*key);
  return profile != nullptr && profile->*key ? &*(profile->*key) : nullptr;
}

const VmPolicy* profile_of(const Configuration& config, const VmDeclaration& vm) {
  if (vm.profile.empty()) return nullptr;
  const auto found = config.profiles.find(vm.profile);
  return found == config.profiles.end() ? nullptr : &found->second;
}

// Declarations by the domains' UUIDs, so that they can be read beside the states, which are in that
// order, without a search by name for each.
std::vector<const std::pair<const std::string, VmDeclaration>*> by_uuid(
    const Configuration& config) {
  std::vector<const std::pair<const std::string, VmDeclaration>*> result;
  result.reserve(config.vms.size());
  for (const auto& entry : config.vms) result.push_back(&entry);
  std::sort(result.begin(), result.end(), [](const auto* a, const auto* b) {
    return a->second.domain.uuid < b->second.domain.uuid;
  });
  return result;
}

}  // namespace

// ---- from the state ----------------------------------------------------------------------------

Fleet::Fleet(const ClusterState& state, ClusterTime now, FleetUse use,
             const std::map<VmId, NodeId>& planned) {
  read_nodes(state, now, use);
  read_vms(state, planned);
  read_relations(state);
  settle_groups(state);
}

void Fleet::read_nodes(const ClusterState& state, ClusterTime now, FleetUse use) {
  nodes_.reserve(state.nodes.size());
  for (const auto& [id, node] : state.nodes) {
    FleetNode one;
    one.id = id;
    const ClusterTime at = use == FleetUse::proof ? std::max(now, node.settle_until) : now;
    one.online = !node_exclusion(state, id, at);
    const NodeCapacity offer = offer_of(state, node);
    one.offer = {std::min(offer.memory, kHuge - 1), std::min(offer.vcpus, kHuge - 1)};
    one.degraded_memory = std::min(offer.degraded_memory, kHuge - 1);
    nodes_.push_back(std::move(one));
  }
}

void Fleet::read_places(const ClusterState& state, const VmState& vm, std::optional<Index> planned,
                        FleetVm& out) const {
  for (const auto& [host, sighting] : vm.holders) {
    if (is_dead(state, host)) continue;
    const auto at = node(host.node);
    if (!at || (!out.on.empty() && out.on.back() == *at)) continue;
    out.on.push_back(*at);
    if (planned ? *at != *planned : clusterd::is_lost(state, host)) out.ghost.push_back(*at);
  }
  if (!planned || contains(out.on, *planned)) return;
  out.on.insert(std::lower_bound(out.on.begin(), out.on.end(), *planned), *planned);
}

void Fleet::read_policy(const Configuration& config, const VmDeclaration& vm, FleetVm& out) const {
  const VmPolicy* const profile = profile_of(config, vm);
  const auto* priority = said(vm.policy, profile, &VmPolicy::priority);
  const auto* preemptible = said(vm.policy, profile, &VmPolicy::preemptible);
  const auto* memory = said(vm.policy, profile, &VmPolicy::memory);
  const auto* vcpus = said(vm.policy, profile, &VmPolicy::vcpus);
  const Resources& size = vm.domain.size;
  out.need =
      size_of({memory != nullptr ? *memory : size.memory, vcpus != nullptr ? *vcpus : size.vcpus});
  out.priority = priority != nullptr ? *priority : ResolvedVm{}.priority;
  const bool may_stop = preemptible != nullptr && *preemptible;
  out.standing = may_stop ? Standing::lodger : Standing::guaranteed;
}

Fleet::Kind Fleet::kind_of(const ClusterState& state, const VmDeclaration& vm) const {
  const ResolvedVm rules = resolve(state.config, vm);
  Kind kind;
  kind.allows.assign(nodes_.size(), 0);
  for (Index n = 0; n < nodes_.size(); ++n) {
    const NodeId id = nodes_[n].id;
    if (!nodes_[n].online) continue;
    if (rule_exclusion(rules, id, state.nodes.at(id).name, node_declaration(state, id),
                       Detail::omit)) {
      continue;
    }
    kind.allows[n] = 1;
    kind.nodes.push_back(n);
  }
  return kind;
}

void Fleet::read_vms(const ClusterState& state, const std::map<VmId, NodeId>& planned) {
  const auto declared = by_uuid(state.config);
  auto next = declared.begin();
  auto plan = planned.begin();
  std::map<RuleKey, Index> kinds;
  kinds_.push_back({{}, std::vector<std::uint8_t>(nodes_.size(), 0)});  // of the undeclared
  vms_.reserve(state.vms.size());
  for (const auto& [id, vm] : state.vms) {
    FleetVm& one = vms_.emplace_back();
    one.id = id;
    while (plan != planned.end() && plan->first < id) ++plan;
    const bool is_planned = plan != planned.end() && plan->first == id;
    read_places(state, vm, is_planned ? node(plan->second) : std::nullopt, one);
    while (next != declared.end() && (*next)->second.domain.uuid < id) ++next;
    const bool known = !vm.tombstone && next != declared.end() &&
                       (*next)->second.domain.uuid == id && (*next)->first == vm.name;
    const VmDeclaration* declaration = known ? &(*next)->second : vm_declaration(state, vm);
    if (declaration != nullptr) {
      read_policy(state.config, *declaration, one);
      const auto [kind, fresh] =
          kinds.emplace(RuleKey(state.config, *declaration), static_cast<Index>(kinds_.size()));
      if (fresh) kinds_.push_back(kind_of(state, *declaration));
      one.kind = kind->second;
    }
    // Where it is already it has the size with which it counts there, until it ends.
    one.counted = size_of(vm.size);
    if (declaration == nullptr) one.need = one.counted;
    const bool starts = is_planned && one.ghost.size() + 1 == one.on.size();
    if (starts && !may_be_active_on(state, vm, plan->second)) one.counted = one.need;
  }
}

void Fleet::read_relations(const ClusterState& state) {
  bonds_.emplace_back();
  std::map<VmId, Index> groups;  // by the first member
  const Relations relations(state.config);
  const auto indices = [&](const std::vector<VmId>& ids) {
    std::vector<Index> result;
    for (const VmId& id : ids) {
      if (const auto known = vm(id)) result.push_back(*known);
    }
    return result;
  };
  for (const auto& [id, one] : relations.all()) {
    const auto self = vm(id);
    if (!self || (one.apart.empty() && one.group.empty())) continue;
    vms_[*self].bonds = static_cast<Index>(bonds_.size());
    Bonds& bonds = bonds_.emplace_back();
    bonds.apart = indices(one.apart);
    if (one.group.empty()) continue;
    const auto [group, fresh] =
        groups.emplace(one.group.front(), static_cast<Index>(groups_.size()));
    if (fresh) groups_.push_back(indices(one.group));
    bonds.group = group->second;
  }
}

// Nobody of a group may be stopped unless all of it may, as is_preemptible() in constraints.h says.
void Fleet::settle_groups(const ClusterState& state) {
  for (const std::vector<Index>& group : groups_) {
    const bool all = std::all_of(group.begin(), group.end(), [&](Index member) {
      return vms_[member].standing == Standing::lodger;
    });
    if (all) continue;
    for (const Index member : group) vms_[member].standing = Standing::guaranteed;
  }
  Index index = 0;
  for (const auto& [id, vm] : state.vms) {
    FleetVm& one = vms_[index];
    const bool stopping = vm.operation && vm.operation->kind == VmOpKind::stop;
    if (!should_run(vm)) one.standing = Standing::fixed;
    if (one.standing == Standing::lodger && stopping) one.standing = Standing::leaving;
    settle(index++);
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
