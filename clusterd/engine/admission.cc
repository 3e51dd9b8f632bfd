#include "clusterd/engine/admission.h"

#include <algorithm>

#include "clusterd/engine/capacity.h"
#include "clusterd/engine/constraints.h"
#include "clusterd/engine/queries.h"
#include "clusterd/engine/reserve.h"

namespace clusterd {
namespace {

// ---- what matters --------------------------------------------------------------------------

// Each is emptied of what says nothing about where and whether a VM may run, so that a key that
// is added later counts until somebody says that it does not.
ClusterSettings relevant(ClusterSettings settings) {
  const ClusterSettings defaults;
  settings.name.clear();
  settings.admission = defaults.admission;
  settings.on_quorum_loss = defaults.on_quorum_loss;
  settings.on_daemon_death = defaults.on_daemon_death;
  settings.parallel_starts_per_node = defaults.parallel_starts_per_node;
  settings.parallel_migrations_per_node = defaults.parallel_migrations_per_node;
  settings.min_healthy_percent = defaults.min_healthy_percent;
  settings.startup_wait = defaults.startup_wait;
  settings.after_fence = defaults.after_fence;
  settings.timers = defaults.timers;
  settings.fences_per_hour = defaults.fences_per_hour;
  settings.priority_delay = defaults.priority_delay;
  return settings;
}

NodeDeclaration relevant(NodeDeclaration node) {
  node.labels.clear();
  node.fencing.clear();
  return node;
}

VmPolicy relevant(VmPolicy policy) {
  policy.failback.reset();
  policy.start_after.reset();
  policy.restart.reset();
  policy.shutdown_timeout.reset();
  policy.migration.reset();
  policy.health.reset();
  policy.rto.reset();
  return policy;
}

VmDeclaration relevant(VmDeclaration vm) {
  vm.policy = relevant(vm.policy);
  vm.domain.xml = Digest{};
  vm.domain.macs.clear();
  vm.domain.disks.clear();
  return vm;
}

// Appends the path of every object that is new, gone or another one.
template <class Table>
void differences(const std::string& section, const Table& before, const Table& after,
                 std::vector<std::string>& paths) {
  for (const auto& [name, value] : after) {
    const auto old = before.find(name);
    if (old != before.end() && old->second == value) continue;
    if (old != before.end() && relevant(old->second) == relevant(value)) continue;
    paths.push_back(section + "." + name);
  }
  for (const auto& [name, value] : before) {
    if (!after.contains(name)) paths.push_back(section + "." + name);
  }
}

// ---- whether it can be judged --------------------------------------------------------------

// A host that comes will change the verdict in a moment, and one without a size makes none
// possible.
std::string unknown_capacity(const ClusterState& state, ClusterTime now) {
  for (const auto& [id, member] : state.view.members) {
    const bool counts = member.phase == MemberPhase::synced && !member.inventory_done;
    if (counts || member.phase == MemberPhase::joining) {
      return node_name(state, id) + " has not told yet what it has";
    }
    if (!node_exclusion(state, id, now) && capacity_of(state, id).memory == 0) {
      return "the capacity of " + node_name(state, id) + " is not known";
    }
  }
  return {};
}

// ---- what is said --------------------------------------------------------------------------

std::string failures(std::uint32_t count) {
  return std::to_string(count) + (count == 1 ? " host failure" : " host failures");
}

std::string all_of(const ClusterState& state, const std::vector<NodeId>& nodes) {
  std::string text;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == nodes.size() ? " and " : ", ") + node_name(state, nodes[i]);
  }
  return text;
}

// "if n3 is lost, big finds no place; 2 GiB more on n2 would keep it".
std::string what_is_lost(const ClusterState& state, const Reserve& reserve) {
  std::string text;
  if (reserve.blocking.empty()) {
    text = "it could not be proven within the limit of work, which counts as no";
  } else {
    const Blocking& first = reserve.blocking.front();
    const auto vm = first.vm ? state.vms.find(*first.vm) : state.vms.end();
    text = "if " + all_of(state, first.down) + (first.down.size() == 1 ? " is" : " are") +
           " lost, " + (vm == state.vms.end() ? "not every VM" : vm->second.name) + " finds " +
           (vm == state.vms.end() ? "a place" : "no place");
  }
  if (reserve.remedy) {
    const bool two = reserve.remedy->memory && reserve.remedy->move;
    text += "; " + reserve.remedy->text + (two ? ", would keep it" : " would keep it");
  }
  return text;
}

// apply waits for the answer on every node at once, and who does not acknowledge in time is set
// aside: so it may take a few tenths of a second and not more.
constexpr ReserveEffort effort(std::uint64_t remedy_steps) {
  return {.all_steps = 50'000'000, .beyond = 0, .remedy_steps = remedy_steps};
}

// The same cluster with another goal.
Reserve reserve_with(ClusterState state, std::uint32_t required, ClusterTime now,
                     const ReserveEffort& effort) {
  state.config.cluster.reserve_host_failures = required;
  return reserve_of(state, now, effort);
}

}  // namespace

std::optional<std::string> concerns_reserve(const Configuration& before,
                                            const Configuration& after) {
  const std::string reserve = "cluster.reserve";
  if (relevant(before.cluster) != relevant(after.cluster)) return reserve;
  std::vector<std::string> paths;
  differences("nodes", before.nodes, after.nodes, paths);
  differences("profiles", before.profiles, after.profiles, paths);
  differences("vms", before.vms, after.vms, paths);
  if (paths.empty()) return std::nullopt;
  return paths.size() == 1 ? paths.front() : reserve;
}

std::optional<Objection> objection_to(const ClusterState& before, const ClusterState& after,
                                      ClusterTime now) {
  const std::uint32_t had = before.config.cluster.reserve_host_failures;
  const std::uint32_t wanted = after.config.cluster.reserve_host_failures;
  // With too few hosts no reserve can hold, whatever is refused (check() says so).
  if (wanted == 0 || after.config.nodes.size() <= wanted) return std::nullopt;
  const Reserve reserve = reserve_of(after, now, effort(1'000'000));
  if (reserve.ok) return std::nullopt;
  if (const std::string why = unknown_capacity(after, now); !why.empty()) {
    return Objection{
        "whether the reserve of " + failures(wanted) + " holds cannot be judged: " + why, false};
  }
  // A goal that is raised was not held before: who raises it wants to see what is missing, and
  // loses only what the old one promised.
  const std::uint32_t promised = std::min(had, wanted);
  const Reserve kept =
      promised == wanted ? reserve : reserve_with(after, promised, now, effort(1'000'000));
  if (!kept.ok && reserve_with(before, promised, now, effort(0)).ok) {
    const bool hinders = after.config.cluster.admission == Admission::enforce;
    return Objection{
        std::string(hinders ? "would lose" : "loses") + " the reserve of " + failures(promised) +
            ": " + what_is_lost(after, kept) +
            (hinders ? ". `admission: warn`, or a smaller `reserve`, lets it through" : ""),
        hinders};
  }
  if (wanted <= had) return std::nullopt;
  return Objection{
      "the reserve of " + failures(wanted) + " does not hold yet: " + what_is_lost(after, reserve),
      false};
}

}  // namespace clusterd
