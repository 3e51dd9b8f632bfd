#include "tests/sim/run.h"

#include <algorithm>
#include <vector>

#include "clusterd/base/archive.h"
#include "clusterd/engine/recovery_bound.h"
#include "clusterd/model/merge.h"
#include "tests/sim/cluster.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"

namespace clusterd::sim {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// After the faults, what recovery_bound() does not count: hosts boot, a ring forms, and operators
// are asked a few things, one after the other.
constexpr SimTime kBeside = minutes(3);
constexpr SimTime kCalm = minutes(3);

// Groups of VMs that must not meet, and hosts that have just enough memory for all to fit in
// whatever order they come. Some VMs may have to make room for others, some hosts be overfilled.
void draw_constraints(SimOptions& sim, Prng& prng) {
  const std::uint32_t largest = std::min<std::uint32_t>(sim.nodes, 4);
  const auto group = prng.chance(500) ? 1 : static_cast<std::uint32_t>(prng.between(1, largest));
  const std::uint32_t open = sim.nodes - group + 1;  // nodes without another one of the group
  std::uint32_t slots = (sim.vms + open - 1) / open;
  if (prng.chance(500)) slots = sim.vms;
  sim.node.size.total.memory = sim.vm_size.memory * slots;
  const bool preemption = prng.chance(300);
  if (prng.chance(200)) sim.degraded_memory = 1500;
  sim.adjust = [group, preemption](Declarations& all) {
    for (auto& [name, vm] : all.vms) {
      const auto number = [](const std::string& vm_name) { return std::stoul(vm_name.substr(2)); };
      vm.policy.preemptible = preemption && number(name) % 3 == 0;
      for (const auto& [other, theirs] : all.vms) {
        if (name == other || (number(name) - 1) / group != (number(other) - 1) / group) continue;
        if (group > 1) vm.policy.placement->away_from.insert(other);
      }
    }
  };
}

// Some guests are asked how they are; of those some need a repair, some only an alert.
void draw_health(Declarations& all, Prng prng) {
  for (auto& [name, vm] : all.vms) {
    const std::uint64_t kind = prng.below(8);
    const bool patient = prng.chance(500);
    if (kind < 2) continue;
    HealthPolicy& health = vm.policy.health.emplace();
    health.boot_grace = Duration(60000);
    if (kind != 3) health.guest_agent.emplace().required = kind == 4;
    if (kind > 2) {
      Probe& probe = health.probes.emplace_back();
      probe.name = "app";
      probe.port = 80;
      probe.kind = kind == 5 ? ProbeKind::exec : ProbeKind::tcp;
      probe.interval = Duration(patient ? 10000 : 3000);
      probe.required = kind == 6;
    }
    if (kind == 6) health.repair = {"/sbin/repair"};
    if (kind == 7) health.on_unhealthy = patient ? OnUnhealthy::relocate : OnUnhealthy::alert;
  }
}

SimOptions draw(const RunOptions& options) {
  Prng prng(options.seed * 0x9e3779b97f4a7c15ULL + 1);
  SimOptions sim;
  sim.seed = options.seed;
  const auto nodes = static_cast<std::uint32_t>(prng.between(2, 9));
  const auto vms = static_cast<std::uint32_t>(prng.between(1, 20));
  sim.nodes = options.nodes != 0 ? options.nodes : nodes;
  sim.vms = options.vms != 0 ? options.vms : vms;
  sim.backups = prng.chance(700) ? 1 : 0;
  sim.outlets = prng.chance(400);
  sim.network.device_votes = sim.nodes % 2 == 0 && prng.chance(300) ? 1 : 0;
  sim.network.two_node = sim.nodes == 2 && sim.network.device_votes == 0;
  sim.network.wait_for_all = prng.chance(300) || sim.network.two_node;
  sim.network.token = SimTime(prng.between(300000, 3000000));
  draw_constraints(sim, prng);
  // Half of the clusters whose reserve holds refuse what would lose it.
  sim.admission = prng.chance(500) ? Admission::enforce : Admission::warn;
  sim.warns_if_refused = true;
  sim.node.never_sleeps = prng.chance(600);
  if (prng.chance(700)) sim.node.startup = SimTime(prng.between(1000, 50000));
  const std::uint64_t guests = prng.next();
  if (prng.chance(600)) {
    sim.adjust = [before = std::move(sim.adjust), guests](Declarations& all) {
      if (before) before(all);
      draw_health(all, Prng(guests));
    };
  }
  sim.trace_lines = options.trace_lines;
  sim.echo = options.echo;
  sim.node.record = options.record;
  return sim;
}

bool converges(SimCluster& cluster, Workload& workload, RunResult& result) {
  const SimTime begin = cluster.now();
  const Duration bound = recovery_bound(merge(Configuration{}, cluster.declarations()));
  result.bound = SimTime(bound) + kBeside;
  while (!cluster.violated() && cluster.now() < begin + result.bound) {
    const bool settled = cluster.settle(seconds(30));
    result.recovery = std::max(result.recovery, cluster.now() - begin);
    if (settled) return true;
    workload.help();
  }
  return cluster.unsettled().empty();
}

void stay_calm(SimCluster& cluster) {
  const Activity before = cluster.checkers().activity();
  cluster.run_for(kCalm);
  const Activity after = cluster.checkers().activity();
  if (!(before == after)) {
    cluster.checkers().fail("L3",
                            "calm, and yet: before " + before.str() + "; after " + after.str());
  }
  if (const std::string who = cluster.unanswered(); !who.empty()) {
    cluster.checkers().fail("L2", who + " never had an answer");
  }
}

void live(SimCluster& cluster, const RunOptions& options, RunResult& result) {
  if (const std::string problem = cluster.found(); !problem.empty()) {
    if (!cluster.violated()) cluster.checkers().fail("L1", "founding: " + problem);
    return;
  }
  Prng seeds(options.seed ^ 0x5eedULL);
  Nemesis nemesis(cluster, seeds.next(), options.faults == Faults::every);
  Workload workload(cluster, seeds.next());
  Schedule schedule;
  const SimTime begin = cluster.now();
  const SimTime end = begin + options.duration;
  if (options.faults != Faults::none) {
    result.faults = nemesis.kinds();
    nemesis.plan(schedule, begin, end);
    workload.plan(schedule, begin, end);
    schedule.start(cluster.env(), options.only);
  }
  cluster.run_for(options.duration);
  result.entries = schedule.before(cluster.now());
  if (options.faults != Faults::none) {
    nemesis.quiet();
    workload.quiet();
    // Whatever the first convergence went through, the second one begins at this fault alone: no
    // later view hides what it leaves behind.
    for (const bool again : {false, true}) {
      if (again) nemesis.crash_daemons(seeds);
      if (!converges(cluster, workload, result)) {
        if (!cluster.violated()) cluster.checkers().fail("L1", cluster.unsettled());
        return;
      }
    }
    // What was under way when the last VM came up may end.
    cluster.run_for(minutes(1));
  }
  stay_calm(cluster);
}

}  // namespace

RunResult run_seed(const RunOptions& options) {
  SimCluster cluster(draw(options));
  RunResult result;
  live(cluster, options, result);
  result.violation = cluster.checkers().violation();
  result.liveness = result.violation && result.violation->rule.starts_with("L");
  result.simulated = cluster.now();
  result.steps = cluster.env().queue.executed();
  Hasher hasher;
  write(hasher, cluster.env().queue.fingerprint());
  write(hasher, cluster.env().prng.next());
  write(hasher, cluster.checkers().activity().str());
  result.fingerprint = hasher.digest().value;
  result.trace = cluster.trace();
  if (result.violation) result.situation = cluster.describe();
  for (std::uint32_t number = 1; options.record && number <= cluster.options().nodes; ++number) {
    result.recordings[name_of(NodeId(number))] = cluster.node(number).recording().segments();
  }
  return result;
}

RunOptions shrink(RunOptions run, const RunResult& result) {
  const std::string rule = result.violation->rule;
  std::vector<std::uint32_t> kept;
  for (std::uint32_t number = 1; number <= result.entries; ++number) {
    if (!run.only || run.only->count(number) != 0) kept.push_back(number);
  }
  const auto still = [&](const std::vector<std::uint32_t>& entries) {
    run.only.emplace(entries.begin(), entries.end());
    const RunResult tried = run_seed(run);
    return tried.violation && tried.violation->rule == rule;
  };
  bool smaller = true;
  for (std::size_t chunk = (kept.size() + 1) / 2; chunk >= 1 && !kept.empty();) {
    smaller = false;
    for (std::size_t at = 0; at < kept.size();) {
      std::vector<std::uint32_t> without = kept;
      const auto from = without.begin() + static_cast<std::ptrdiff_t>(at);
      without.erase(from, from + static_cast<std::ptrdiff_t>(std::min(chunk, kept.size() - at)));
      if (still(without)) {
        kept = std::move(without);
        smaller = true;
      } else {
        at += chunk;
      }
    }
    if (chunk > 1) {
      chunk = (chunk + 1) / 2;
    } else if (!smaller) {
      break;
    }
  }
  run.only.emplace(kept.begin(), kept.end());
  return run;
}

}  // namespace clusterd::sim
