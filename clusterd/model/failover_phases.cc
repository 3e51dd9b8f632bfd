#include "clusterd/model/failover_phases.h"

#include <algorithm>

namespace clusterd {
namespace {

using When = std::optional<ClusterTime>;

// The latest over all; nullopt while one is missing, or when there is none at all.
template <class Entries, class Pick>
When last(const Entries& entries, Pick pick) {
  When latest;
  for (const auto& [id, entry] : entries) {
    const When at = pick(entry);
    if (!at) return std::nullopt;
    latest = latest ? std::max(*latest, *at) : *at;
  }
  return latest;
}

When first_active(const FailoverRecord& record) {
  When earliest;
  for (const auto& [id, vm] : record.vms) {
    if (vm.active) earliest = earliest ? std::min(*earliest, *vm.active) : *vm.active;
  }
  return earliest;
}

}  // namespace

FailoverPhases phases_of(const FailoverRecord& record) {
  const auto since_ring = [&](When at) -> std::optional<Duration> {
    if (!at) return std::nullopt;
    return *at - record.ring;
  };
  const auto& vms = record.vms;
  return {{
      {"ring", Duration(0)},
      {"activated", record.activated - record.ring},
      {"fenced", since_ring(last(record.fenced, [](const When& at) { return at; }))},
      {"planned", since_ring(last(vms, [](const VmRecovery& vm) { return vm.planned; }))},
      {"first_active", since_ring(first_active(record))},
      {"last_active", since_ring(last(vms, [](const VmRecovery& vm) { return vm.active; }))},
      {"create_returned",
       since_ring(last(vms, [](const VmRecovery& vm) { return vm.create_returned; }))},
      {"agents", since_ring(last(vms, [](const VmRecovery& vm) { return vm.agent; }))},
  }};
}

}  // namespace clusterd
