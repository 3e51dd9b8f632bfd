#include "clusterd/engine/fleet_rules.h"

#include <algorithm>
#include <map>

#include "clusterd/engine/constraints.h"

namespace clusterd {
namespace {

using Index = FleetRules::Index;

// What resolve() would answer for one key; null: nobody said anything. Resolving every VM whole
// takes longer than all the rest.
template <class T>
const T* said(const VmPolicy& own, const VmPolicy* profile, std::optional<T> VmPolicy::*key) {
  if (own.*key) return &*(own.*key);
  return profile != nullptr && profile->*key ? &*(profile->*key) : nullptr;
}

FleetRules::Vm read(const Configuration& config, const std::string& name, const VmDeclaration& vm) {
  const VmPolicy* profile = nullptr;
  if (!vm.profile.empty()) {
    const auto found = config.profiles.find(vm.profile);
    if (found != config.profiles.end()) profile = &found->second;
  }
  const auto* priority = said(vm.policy, profile, &VmPolicy::priority);
  const auto* preemptible = said(vm.policy, profile, &VmPolicy::preemptible);
  const auto* memory = said(vm.policy, profile, &VmPolicy::memory);
  const auto* vcpus = said(vm.policy, profile, &VmPolicy::vcpus);
  Resources size = vm.domain.size;
  if (memory != nullptr) size.memory = *memory;
  if (vcpus != nullptr) size.vcpus = *vcpus;
  FleetRules::Vm out;
  out.id = vm.domain.uuid;
  out.name = name;
  out.need = packing_size(size);
  out.priority = priority != nullptr ? *priority : ResolvedVm{}.priority;
  out.may_stop = preemptible != nullptr && *preemptible;
  return out;
}

std::vector<Index> indices(const std::vector<FleetRules::Vm>& vms, const std::vector<VmId>& ids) {
  std::vector<Index> result;
  for (const VmId& id : ids) {
    const auto found = std::lower_bound(
        vms.begin(), vms.end(), id,
        [](const FleetRules::Vm& vm, const VmId& wanted) { return vm.id < wanted; });
    result.push_back(static_cast<Index>(found - vms.begin()));
  }
  return result;
}

}  // namespace

PackingSize packing_size(const Resources& size) {
  return {std::min(size.memory, kHugeSize), std::min<std::uint64_t>(size.vcpus, kHugeSize)};
}

FleetRules::FleetRules(const Configuration& config) {
  std::map<RuleKey, Index> known;
  vms.reserve(config.vms.size());
  for (const auto& [name, vm] : config.vms) {
    const RuleKey key(config, vm);
    auto kind = known.find(key);
    if (kind == known.end()) {
      kind = known.emplace(key, static_cast<Index>(kinds.size())).first;
      kinds.push_back(resolve(config, vm));
    }
    vms.push_back(read(config, name, vm));
    vms.back().kind = kind->second;
  }
  std::sort(vms.begin(), vms.end(), [](const Vm& a, const Vm& b) { return a.id < b.id; });
  const Relations relations(config);
  std::map<VmId, Index> made;  // groups by their first members
  for (const auto& [id, one] : relations.all()) {
    Vm& vm = vms[indices(vms, {id}).front()];
    vm.apart = indices(vms, one.apart);
    if (one.group.empty()) continue;
    const auto [group, fresh] = made.emplace(one.group.front(), static_cast<Index>(groups.size()));
    if (fresh) groups.push_back(indices(vms, one.group));
    vm.group = group->second;
  }
  // As is_preemptible() of constraints.h says: nobody of a group, unless all of it.
  for (const std::vector<Index>& group : groups) {
    const bool all =
        std::all_of(group.begin(), group.end(), [&](Index vm) { return vms[vm].may_stop; });
    for (const Index vm : group) vms[vm].may_stop = all;
  }
}

}  // namespace clusterd
