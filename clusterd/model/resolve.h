// Resolve: one VM's policy after its own words, its profile's and the defaults are merged.
#pragma once

#include "clusterd/model/declarations.h"

namespace clusterd {

struct ResolvedVm {
  std::uint32_t priority = 500;
  std::set<std::string> requires_;
  DesiredState state = DesiredState::running;
  PlacementRules placement;
  Failback failback = Failback::never;
  std::set<std::string> start_after;
  RestartPolicy restart;
  Duration shutdown_timeout{60000};
  MigrationPolicy migration = MigrationPolicy::live;
  HealthPolicy health;
  std::optional<Duration> rto;
  bool preemptible = false;
  Resources size;
  std::string virt_type;  // these three as in DomainFacts
  std::string machine;
  DomainCpu cpu;
};

// Pure. A profile that does not exist counts as empty (check() reports it).
[[nodiscard]] ResolvedVm resolve(const Configuration& config, const VmDeclaration& vm);

// What a host offers to VMs: its total without what the host itself keeps, times the overcommit.
// Saturates; never less than nothing.
[[nodiscard]] Resources offered(const Resources& total, const Resources& reserved,
                                const Overcommit& factor);

}  // namespace clusterd
