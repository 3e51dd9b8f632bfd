#include "clusterd/model/resolve.h"

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

}  // namespace

ResolvedVm resolve(const Configuration& config, const VmDeclaration& vm) {
  ResolvedVm resolved;
  resolved.size = vm.domain.size;
  const auto profile = config.profiles.find(vm.profile);
  if (profile != config.profiles.end()) overlay(resolved, profile->second);
  overlay(resolved, vm.policy);
  return resolved;
}

}  // namespace clusterd
