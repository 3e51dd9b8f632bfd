#include "clusterd/model/resolve.h"

#include <algorithm>
#include <limits>

namespace clusterd {
namespace {

template <class T>
void take(T& into, const std::optional<T>& said) {
  if (said) into = *said;
}

void overlay(ResolvedVm& vm, const VmPolicy& said) {
  take(vm.priority, said.priority);
  take(vm.requires_, said.requires_);
  take(vm.state, said.state);
  take(vm.placement, said.placement);
  take(vm.failback, said.failback);
  take(vm.start_after, said.start_after);
  take(vm.restart, said.restart);
  take(vm.shutdown_timeout, said.shutdown_timeout);
  take(vm.migration, said.migration);
  take(vm.health, said.health);
  if (said.rto) vm.rto = said.rto;
  take(vm.preemptible, said.preemptible);
  take(vm.size.memory, said.memory);
  take(vm.size.vcpus, said.vcpus);
}

// (total - reserved) * thousandths / 1000; split so that the product of real sizes cannot
// overflow.
template <class T>
T share(T total, T reserved, std::uint32_t thousandths) {
  const std::uint64_t left = total > reserved ? total - reserved : 0;
  constexpr std::uint64_t kMost = std::numeric_limits<T>::max();
  if (thousandths != 0 && left / 1000 >= kMost / thousandths) return std::numeric_limits<T>::max();
  const std::uint64_t whole = left / 1000 * thousandths;
  return static_cast<T>(whole + std::min(left % 1000 * thousandths / 1000, kMost - whole));
}

}  // namespace

ResolvedVm resolve(const Configuration& config, const VmDeclaration& vm) {
  ResolvedVm resolved;
  resolved.size = vm.domain.size;
  resolved.virt_type = vm.domain.virt_type;
  resolved.machine = vm.domain.machine;
  resolved.cpu = vm.domain.cpu;
  const auto profile = config.profiles.find(vm.profile);
  if (profile != config.profiles.end()) overlay(resolved, profile->second);
  overlay(resolved, vm.policy);
  return resolved;
}

Resources offered(const Resources& total, const Resources& reserved, const Overcommit& factor) {
  return {share(total.memory, reserved.memory, factor.memory),
          share(total.vcpus, reserved.vcpus, factor.vcpus)};
}

}  // namespace clusterd
