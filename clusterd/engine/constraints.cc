#include "clusterd/engine/constraints.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>
#include <tuple>

#include "clusterd/engine/health.h"
#include "clusterd/engine/queries.h"

namespace clusterd {

namespace {

std::string joined(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

std::string vm_label(const ClusterState& state, const VmId& vm) {
  const auto found = state.vms.find(vm);
  return found == state.vms.end() ? vm.str() : found->second.name;
}

// Why a node that is not in the active view is not.
Exclusion absence(const ClusterState& state, NodeId id, const NodeState& node) {
  if (state.view.ring_only.count(id) != 0) {
    return {id, ExclusionKind::unmanaged, "its daemon does not run"};
  }
  if (node.loss) return {id, ExclusionKind::lost, "not yet proven dead"};
  if (node.departure) return {id, ExclusionKind::left, "has left the cluster"};
  return {id, ExclusionKind::not_a_member, "is not in the cluster now"};
}

// Before the first apply there is nothing to be missing from.
bool is_undeclared(const ClusterState& state, const NodeState& node) {
  return state.config.version.value != 0 && state.config.nodes.count(node.name) == 0;
}

}  // namespace

std::string size_text(std::uint64_t bytes, std::uint64_t scale, Rounding rounding) {
  constexpr std::uint64_t kMib = 1ULL << 20;
  constexpr std::uint64_t kGib = 1ULL << 30;
  const std::uint64_t unit = scale >= kGib ? kGib : kMib;
  std::uint64_t whole = bytes / unit;
  const std::uint64_t part = bytes % unit * 10;
  std::uint64_t tenths = part / unit;
  if (rounding == Rounding::up && part % unit != 0) ++tenths;
  if (tenths == 10) {
    ++whole;
    tenths = 0;
  }
  std::string text = std::to_string(whole);
  if (tenths != 0) text += "." + std::to_string(tenths);
  return text + (unit == kGib ? " GiB" : " MiB");
}

std::string_view name_of(ExclusionKind kind) {
  switch (kind) {
    case ExclusionKind::lost: return "lost";
    case ExclusionKind::left: return "left";
    case ExclusionKind::unmanaged: return "unmanaged";
    case ExclusionKind::not_a_member: return "not_a_member";
    case ExclusionKind::condemned: return "condemned";
    case ExclusionKind::not_synced: return "not_synced";
    case ExclusionKind::inventory: return "inventory";
    case ExclusionKind::undeclared: return "undeclared";
    case ExclusionKind::fencing: return "fencing";
    case ExclusionKind::settling: return "settling";
    case ExclusionKind::maintenance: return "maintenance";
    case ExclusionKind::hypervisor: return "hypervisor";
    case ExclusionKind::requires_: return "requires";
    case ExclusionKind::allow: return "allow";
    case ExclusionKind::avoid: return "avoid";
    case ExclusionKind::exclusive: return "exclusive";
    case ExclusionKind::machine: return "machine";
    case ExclusionKind::cpu: return "cpu";
    case ExclusionKind::away_from: return "away_from";
    case ExclusionKind::together_with: return "together_with";
    case ExclusionKind::memory: return "memory";
    case ExclusionKind::vcpus: return "vcpus";
  }
  return "unknown";
}

std::string sentence(const Exclusion& exclusion) {
  std::string text(name_of(exclusion.kind));
  if (!exclusion.detail.empty()) text += ": " + exclusion.detail;
  return text;
}

std::optional<Exclusion> node_exclusion(const ClusterState& state, NodeId id, ClusterTime now) {
  const auto found = state.nodes.find(id);
  if (found == state.nodes.end()) {
    return Exclusion{id, ExclusionKind::not_a_member, "was never seen"};
  }
  const NodeState& node = found->second;
  const auto member = state.view.members.find(id);
  if (member == state.view.members.end()) return absence(state, id, node);
  if (node.dead.count(member->second.boot) != 0) {
    return Exclusion{id, ExclusionKind::condemned, "this boot of it is proven dead"};
  }
  switch (member->second.phase) {
    case MemberPhase::synced:
      break;
    case MemberPhase::joining:
      return Exclusion{id, ExclusionKind::not_synced, "has no trusted copy of the state yet"};
    case MemberPhase::demoted:
      return Exclusion{id, ExclusionKind::not_synced, "stopped acknowledging"};
  }
  if (!member->second.inventory_done) {
    return Exclusion{id, ExclusionKind::inventory, "has not reported its VMs yet"};
  }
  if (is_undeclared(state, node)) {
    return Exclusion{id, ExclusionKind::undeclared, "is not in the configuration"};
  }
  // A returned boot may still be hit by an off that is on its way (R19).
  if (node.power && node.power->kind == PowerOpKind::fence) {
    return Exclusion{id, ExclusionKind::fencing, "a fence of it is open"};
  }
  if (node.settle_until > now) {
    return Exclusion{id, ExclusionKind::settling, "a fence of it ended a moment ago"};
  }
  if (node.maintenance) return Exclusion{id, ExclusionKind::maintenance, "is in maintenance"};
  if (!node.facts.problem.empty()) {
    return Exclusion{id, ExclusionKind::hypervisor, node.facts.problem};
  }
  return std::nullopt;
}

namespace {

// What resolve() would answer for this one key; resolving thousands of VMs whole takes longer than
// all the rest of the guard. Null: it has no rules.
const PlacementRules* rules_of(const Configuration& config, const VmDeclaration& vm) {
  if (vm.policy.placement) return &*vm.policy.placement;
  if (vm.profile.empty()) return nullptr;
  const auto profile = config.profiles.find(vm.profile);
  if (profile == config.profiles.end() || !profile->second.placement) return nullptr;
  return &*profile->second.placement;
}

// The same of what it requires.
const std::set<std::string>* needs_of(const Configuration& config, const VmDeclaration& vm) {
  if (vm.policy.requires_) return &*vm.policy.requires_;
  if (vm.profile.empty()) return nullptr;
  const auto profile = config.profiles.find(vm.profile);
  if (profile == config.profiles.end() || !profile->second.requires_) return nullptr;
  return &*profile->second.requires_;
}

// ---- one VM and one host -------------------------------------------------------------------

// "pc-i440fx-7.2" as its family "pc-i440fx" and 7, 2. Other names have no version.
struct MachineType {
  std::string_view family;
  std::vector<std::uint64_t> version;
};

MachineType machine_type(std::string_view name) {
  MachineType type;
  const auto dash = name.rfind('-');
  if (dash == std::string_view::npos) return type;
  type.family = name.substr(0, dash);
  const char* at = name.data() + dash + 1;
  const char* const end = name.data() + name.size();
  while (at != end) {
    std::uint64_t number = 0;
    const auto [rest, problem] = std::from_chars(at, end, number);
    const bool more = rest != end;
    if (problem != std::errc() || (more && (*rest != '.' || rest + 1 == end))) return {};
    type.version.push_back(number);
    at = more ? rest + 1 : end;
  }
  return type;
}

std::string machine_detail(const std::string& wanted, const std::set<std::string>& has) {
  const MachineType type = machine_type(wanted);
  std::string newest;
  std::vector<std::uint64_t> version;
  for (const std::string& name : has) {
    MachineType one = machine_type(name);
    if (one.version.empty() || one.family != type.family || one.version <= version) continue;
    newest = name;
    version = std::move(one.version);
  }
  if (!newest.empty() && version < type.version) {
    return "needs " + wanted + ", this host has up to " + newest;
  }
  return "needs " + wanted + ", which this host does not have";
}

bool other_vendor(const DomainCpu& cpu, const HostFacts& facts) {
  return !cpu.vendor.empty() && !facts.cpu_vendor.empty() && cpu.vendor != facts.cpu_vendor;
}

bool cpu_fits(const DomainCpu& cpu, const HostFacts& facts) {
  if (cpu.mode != CpuMode::custom || !cpu.checked) return true;
  if (other_vendor(cpu, facts)) return false;
  return cpu.model.empty() || facts.cpu_models.empty() || facts.cpu_models.count(cpu.model) != 0;
}

std::string cpu_detail(const DomainCpu& cpu, const HostFacts& facts) {
  if (other_vendor(cpu, facts)) {
    return "needs a CPU of " + cpu.vendor + ", this one is of " + facts.cpu_vendor;
  }
  return "needs CPU model " + cpu.model + ", not usable here";
}

// What the domain demands of the host. The facts are about domains of one type: a host that was
// asked about KVM has said nothing about emulation.
std::optional<Exclusion> host_exclusion(const ResolvedVm& vm, NodeId node, const HostFacts& facts,
                                        Detail detail) {
  const bool tell = detail == Detail::tell;
  if (facts.virt_type.empty() || facts.virt_type != vm.virt_type) return std::nullopt;
  const std::set<std::string>& machines = facts.machines;
  if (!vm.machine.empty() && !machines.empty() && machines.count(vm.machine) == 0) {
    return Exclusion{node, ExclusionKind::machine,
                     tell ? machine_detail(vm.machine, machines) : ""};
  }
  if (!cpu_fits(vm.cpu, facts)) {
    return Exclusion{node, ExclusionKind::cpu, tell ? cpu_detail(vm.cpu, facts) : ""};
  }
  return std::nullopt;
}

}  // namespace

RuleKey::RuleKey(const Configuration& config, const VmDeclaration& vm)
    : requires_(needs_of(config, vm)), placement_(rules_of(config, vm)), domain_(&vm.domain) {
  if (requires_ != nullptr && requires_->empty()) requires_ = nullptr;
  if (placement_ != nullptr && placement_->allow.empty() && placement_->avoid.empty()) {
    placement_ = nullptr;
  }
}

bool RuleKey::operator<(const RuleKey& other) const {
  static const std::set<std::string> nothing;
  const auto words = [](const std::set<std::string>* set) -> const std::set<std::string>& {
    return set == nullptr ? nothing : *set;
  };
  const auto key = [&](const RuleKey& rule) {
    const DomainFacts& domain = *rule.domain_;
    const PlacementRules* rules = rule.placement_;
    return std::tie(words(rule.requires_), words(rules == nullptr ? nullptr : &rules->allow),
                    words(rules == nullptr ? nullptr : &rules->avoid), domain.virt_type,
                    domain.machine, domain.cpu.mode, domain.cpu.model, domain.cpu.vendor,
                    domain.cpu.checked);
  };
  return key(*this) < key(other);
}

std::optional<Exclusion> rule_exclusion(const ResolvedVm& vm, NodeId node, const NodeState& state,
                                        const NodeDeclaration* declaration, Detail detail) {
  const bool tell = detail == Detail::tell;
  const std::string& name = state.name;
  const std::set<std::string> nothing;
  const std::set<std::string>& provides = declaration ? declaration->provides : nothing;
  const std::set<std::string>& needs = vm.requires_;
  if (!std::includes(provides.begin(), provides.end(), needs.begin(), needs.end())) {
    std::set<std::string> missing;
    std::set_difference(needs.begin(), needs.end(), provides.begin(), provides.end(),
                        std::inserter(missing, missing.end()));
    return Exclusion{node, ExclusionKind::requires_, tell ? "lacks " + joined(missing) : ""};
  }
  const PlacementRules& rules = vm.placement;
  if (!rules.allow.empty() && rules.allow.count(name) == 0) {
    return Exclusion{node, ExclusionKind::allow,
                     tell ? "only " + joined(rules.allow) + " may run it" : ""};
  }
  if (rules.avoid.count(name) != 0) {
    return Exclusion{node, ExclusionKind::avoid, tell ? "must not run on " + name : ""};
  }
  if (declaration != nullptr && declaration->exclusive && rules.allow.count(name) == 0) {
    return Exclusion{node, ExclusionKind::exclusive, tell ? "takes only VMs that allow it" : ""};
  }
  return host_exclusion(vm, node, state.facts, detail);
}

std::optional<Exclusion> room_exclusion(NodeId node, const NodeCapacity& capacity, const Need& need,
                                        Detail detail, Mode mode) {
  const bool tell = detail == Detail::tell;
  const std::uint64_t memory_free = capacity.memory_free(mode);
  const std::string whose =
      tell && need.vms > 1 ? " for the " + std::to_string(need.vms) + " VMs of its group" : "";
  if (need.memory > memory_free) {
    if (!tell) return Exclusion{node, ExclusionKind::memory, ""};
    return Exclusion{node, ExclusionKind::memory,
                     "needs " + size_text(need.memory, need.memory, Rounding::up) + whose + ", " +
                         size_text(memory_free, need.memory, Rounding::down) + " free"};
  }
  if (need.vcpus > capacity.vcpus_free()) {
    if (!tell) return Exclusion{node, ExclusionKind::vcpus, ""};
    return Exclusion{node, ExclusionKind::vcpus,
                     "needs " + std::to_string(need.vcpus) + whose + ", " +
                         std::to_string(capacity.vcpus_free()) + " free"};
  }
  return std::nullopt;
}

// ---- rules between VMs ---------------------------------------------------------------------

namespace {

void sort_unique(std::vector<VmId>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

// Gives every VM of a connected component the whole component.
void close_groups(std::map<VmId, VmRelations>& relations) {
  std::set<VmId> seen;
  for (const auto& entry : relations) {
    if (entry.second.group.empty() || !seen.insert(entry.first).second) continue;
    std::vector<VmId> component{entry.first};
    for (std::size_t i = 0; i < component.size(); ++i) {
      for (const VmId& next : relations[component[i]].group) {
        if (seen.insert(next).second) component.push_back(next);
      }
    }
    sort_unique(component);
    // Later members of this component are in `seen` already, so replacing is safe.
    for (const VmId& member : component) relations[member].group = component;
  }
}

}  // namespace

Relations::Relations(const Configuration& config) {
  for (const auto& [name, vm] : config.vms) {
    const PlacementRules* const found = rules_of(config, vm);
    if (found == nullptr) continue;
    const PlacementRules& rules = *found;
    const VmId self = vm.domain.uuid;
    const auto relate = [&](const std::set<std::string>& names, auto list) {
      for (const std::string& other_name : names) {
        const auto other = config.vms.find(other_name);
        if (other == config.vms.end() || other->second.domain.uuid == self) continue;
        const VmId id = other->second.domain.uuid;
        (relations_[self].*list).push_back(id);
        (relations_[id].*list).push_back(self);
      }
    };
    relate(rules.away_from, &VmRelations::apart);
    relate(rules.together_with, &VmRelations::group);
    relate(rules.prefer.away_from, &VmRelations::prefer_apart);
    relate(rules.prefer.together_with, &VmRelations::prefer_together);
  }
  close_groups(relations_);
  for (auto& entry : relations_) {
    sort_unique(entry.second.apart);
    sort_unique(entry.second.prefer_apart);
    sort_unique(entry.second.prefer_together);
  }
}

const VmRelations& Relations::of(const VmId& vm) const {
  const auto found = relations_.find(vm);
  return found == relations_.end() ? none_ : found->second;
}

namespace {

bool declared_preemptible(const ClusterState& state, const VmId& id) {
  const auto known = state.vms.find(id);
  if (known == state.vms.end()) return false;
  const VmDeclaration* vm = vm_declaration(state, known->second);
  if (vm == nullptr) return false;
  if (vm->policy.preemptible) return *vm->policy.preemptible;
  const auto profile = state.config.profiles.find(vm->profile);
  return profile != state.config.profiles.end() && profile->second.preemptible.value_or(false);
}

}  // namespace

bool is_preemptible(const ClusterState& state, const Relations& relations, const VmId& vm) {
  const std::vector<VmId>& group = relations.of(vm).group;
  return declared_preemptible(state, vm) &&
         std::all_of(group.begin(), group.end(),
                     [&](const VmId& other) { return declared_preemptible(state, other); });
}

Mode mode_of(const ClusterState& state, const Relations& relations, const VmId& vm) {
  const auto known = state.vms.find(vm);
  const bool ran = known != state.vms.end() && ran_before(known->second);
  return ran && !is_preemptible(state, relations, vm) ? Mode::degraded : Mode::normal;
}

bool Whereabouts::on(const VmId& vm, NodeId node) const {
  const auto planned = planned_.find(vm);
  if (planned != planned_.end() && planned->second == node) return true;
  const auto known = state_.vms.find(vm);
  return known != state_.vms.end() && may_be_active_on(state_, known->second, node);
}

std::vector<NodeId> Whereabouts::stays_on(const VmId& vm) const {
  const auto planned = planned_.find(vm);
  if (planned != planned_.end()) return {planned->second};
  std::vector<NodeId> nodes;
  const auto known = state_.vms.find(vm);
  if (known == state_.vms.end()) return nodes;
  for (const auto& [host, sighting] : known->second.holders) {
    if (is_lost(state_, host) || !may_be_active_on(state_, known->second, host.node)) continue;
    if (nodes.empty() || nodes.back() != host.node) nodes.push_back(host.node);
  }
  return nodes;
}

std::optional<Exclusion> relation_exclusion(const ClusterState& state, const VmRelations& relations,
                                            const Whereabouts& whereabouts, const VmId& vm,
                                            NodeId node, Detail detail) {
  const bool tell = detail == Detail::tell;
  for (const VmId& other : relations.apart) {
    if (!whereabouts.on(other, node)) continue;
    return Exclusion{node, ExclusionKind::away_from,
                     tell ? vm_label(state, other) + " is or may be here" : ""};
  }
  for (const VmId& other : relations.group) {
    if (other == vm) continue;
    const std::vector<NodeId> stays = whereabouts.stays_on(other);
    if (stays.empty() || std::find(stays.begin(), stays.end(), node) != stays.end()) continue;
    return Exclusion{
        node, ExclusionKind::together_with,
        tell ? vm_label(state, other) + " is on " + node_name(state, stays.front()) : ""};
  }
  return std::nullopt;
}

// ---- one VM, one node ----------------------------------------------------------------------

std::uint64_t broken_wishes(const VmRelations& relations, const Whereabouts& whereabouts,
                            NodeId node) {
  std::uint64_t broken = 0;
  for (const VmId& other : relations.prefer_apart) {
    if (whereabouts.on(other, node)) ++broken;
  }
  for (const VmId& other : relations.prefer_together) {
    const std::vector<NodeId> stays = whereabouts.stays_on(other);
    if (!stays.empty() && std::find(stays.begin(), stays.end(), node) == stays.end()) ++broken;
  }
  return broken;
}

std::uint64_t prefer_rank(const PlacementRules& rules, const std::string& node) {
  const auto& wanted = rules.prefer.nodes;
  return static_cast<std::uint64_t>(std::find(wanted.begin(), wanted.end(), node) -
                                    wanted.begin());
}

bool avoids(const VmState& vm, NodeId node, ClusterTime now) {
  const auto until = vm.failures.avoid_until.find(node);
  return until != vm.failures.avoid_until.end() && until->second > now;
}

std::optional<Exclusion> refuses(const ClusterState& state, const VmId& vm, NodeId node,
                                 ClusterTime now) {
  if (auto no = node_exclusion(state, node, now)) return no;
  const auto known = state.vms.find(vm);
  const auto rules = known == state.vms.end() ? std::nullopt : resolved(state, known->second);
  if (!rules) return Exclusion{node, ExclusionKind::undeclared, "the VM is not declared"};
  const NodeDeclaration* declaration = node_declaration(state, node);
  if (auto no = rule_exclusion(*rules, node, state.nodes.at(node), declaration, Detail::tell)) {
    return no;
  }
  const Relations relations(state.config);
  const Whereabouts whereabouts(state);
  if (auto no = relation_exclusion(state, relations.of(vm), whereabouts, vm, node, Detail::tell)) {
    return no;
  }
  NodeCapacity capacity = capacity_of(state, node);
  if (may_be_active_on(state, known->second, node)) capacity.give_back(known->second.size);
  Need need;
  need.add(rules->size);
  return room_exclusion(node, capacity, need, Detail::tell, mode_of(state, relations, vm));
}

namespace {

// Seen running by a host that can still be believed, and not on its way up or down.
bool runs(const ClusterState& state, const VmState& vm) {
  if (vm.operation) return false;
  return std::any_of(vm.holders.begin(), vm.holders.end(), [&](const auto& holder) {
    return holder.second.state == DomainState::running && !is_dead(state, holder.first) &&
           !is_lost(state, holder.first);
  });
}

// Its guest is healthy, or nobody asks, or nothing that was asked has ever answered.
bool is_up(const ClusterState& state, const VmState& vm) {
  const auto policy = resolved(state, vm);
  if (!policy || !has_checks(policy->health)) return true;
  return std::any_of(vm.holders.begin(), vm.holders.end(), [](const auto& holder) {
    const Sighting& sighting = holder.second;
    const bool never = sighting.health == Health::none && !sighting.health_reason.empty();
    return sighting.health == Health::healthy || sighting.health == Health::degraded || never;
  });
}

}  // namespace

std::optional<std::string> waits_for(const ClusterState& state, const VmId& vm, ClusterTime since,
                                     ClusterTime now) {
  const auto known = state.vms.find(vm);
  const auto rules = known == state.vms.end() ? std::nullopt : resolved(state, known->second);
  if (!rules || now - since >= state.config.cluster.timers.start_after_timeout) return std::nullopt;
  for (const std::string& name : rules->start_after) {
    const auto declared = state.config.vms.find(name);
    if (declared == state.config.vms.end()) continue;
    const auto other = state.vms.find(declared->second.domain.uuid);
    if (other == state.vms.end() || !should_run(other->second)) continue;
    if (!runs(state, other->second)) return "start_after: " + name + " does not run yet";
    if (!is_up(state, other->second)) return "start_after: " + name + " is not healthy yet";
  }
  return std::nullopt;
}

}  // namespace clusterd
