#include "clusterd/engine/recovery_bound.h"

#include <algorithm>

#include "clusterd/engine/guest_stalls.h"
#include "clusterd/engine/health.h"
#include "clusterd/model/limits.h"
#include "clusterd/model/resolve.h"

namespace clusterd {
namespace {

// Every member may have to be waited for in turn before a view is judged (R11, R13).
Duration agreement(const Configuration& configuration) {
  const Timers& timers = configuration.cluster.timers;
  const auto members = static_cast<Duration::rep>(configuration.nodes.size());
  return (timers.hello_timeout + timers.ack_timeout) * members;
}

// One call of each device of each level of the node that has the most of them.
Duration fence_round(const Configuration& configuration) {
  Duration longest{0};
  for (const auto& [name, node] : configuration.nodes) {
    Duration round{0};
    for (const auto& level : node.fencing) {
      for (const std::string& device : level) {
        const auto found = configuration.fence_devices.find(device);
        if (found != configuration.fence_devices.end()) round += found->second.timeout;
      }
    }
    longest = std::max(longest, round);
  }
  return longest;
}

// A host that may still be booting gets startup_wait; an executor that meets a silent device has
// used up its retries when the fault ends; the next attempt succeeds.
Duration proof(const Configuration& configuration) {
  const Timers& timers = configuration.cluster.timers;
  const auto attempts = static_cast<Duration::rep>(timers.fence_retries) + 2;
  return configuration.cluster.startup_wait + configuration.cluster.priority_delay +
         fence_round(configuration) * attempts + timers.fence_backoff_max + timers.fence_settle;
}

// A stop that hangs, its pause, and one that succeeds.
Duration stop(const Configuration& configuration) {
  const Timers& timers = configuration.cluster.timers;
  Duration patience{0};
  for (const auto& [name, vm] : configuration.vms) {
    patience = std::max(patience, resolve(configuration, vm).shutdown_timeout);
  }
  return (patience + timers.destroy_timeout) * 2 + timers.restart_backoff_max;
}

// A start that hangs, the pause after it (a VM that had failed too often gets the longest), and
// then waves of starts that succeed, at worst all on one host, after those they wait for.
Duration start(const Configuration& configuration) {
  const Timers& timers = configuration.cluster.timers;
  Duration::rep waves = 1;
  if (const auto limit = configuration.cluster.parallel_starts_per_node) {
    const std::size_t at_once = std::max(*limit, 1U);
    waves = static_cast<Duration::rep>((configuration.vms.size() + at_once - 1) / at_once);
  }
  const bool ordered = std::any_of(
      configuration.vms.begin(), configuration.vms.end(),
      [&](const auto& vm) { return !resolve(configuration, vm.second).start_after.empty(); });
  return timers.start_timeout * (1 + waves) +
         std::max(timers.restart_backoff_max, timers.failed_retry) +
         (ordered ? timers.start_after_timeout : Duration{0});
}

// A guest that boots and never answers, or fails until its repair has failed, too; at worst the
// others of its host fail with it.
Duration judgement(const Configuration& configuration) {
  Duration longest{0};
  for (const auto& [name, vm] : configuration.vms) {
    const HealthPolicy health = resolve(configuration, vm).health;
    Duration rounds{0};
    const auto check = [&rounds](const auto& asked) {
      const auto times = static_cast<Duration::rep>(asked.failures) + 1;
      rounds = std::max(rounds, (asked.interval + asked.timeout) * times);
    };
    if (health.guest_agent) check(*health.guest_agent);
    for (const Probe& probe : health.probes) check(probe);
    if (!has_checks(health)) continue;
    const Duration repair = health.repair.empty() ? Duration{0} : health.repair_timeout + rounds;
    longest = std::max(longest, health.boot_grace + rounds + repair + kStallMost);
  }
  return longest;
}

}  // namespace

Duration recovery_bound(const Configuration& configuration) {
  return std::min(limits::kDuration, agreement(configuration) + proof(configuration) +
                                         stop(configuration) + start(configuration) +
                                         judgement(configuration));
}

}  // namespace clusterd
