#include "tests/sim/run.h"

#include <algorithm>

#include "clusterd/base/archive.h"
#include "tests/sim/cluster.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"

namespace clusterd::sim {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// After the faults: boots, startup_wait, failed retries and their back-off, with room to spare.
constexpr SimTime kConverge = minutes(12);
constexpr SimTime kCalm = minutes(3);

SimOptions draw(const RunOptions& options) {
  Prng prng(options.seed * 0x9e3779b97f4a7c15ULL + 1);
  SimOptions sim;
  sim.seed = options.seed;
  sim.nodes = options.nodes != 0 ? options.nodes : static_cast<std::uint32_t>(prng.between(3, 7));
  sim.vms = options.vms != 0 ? options.vms : static_cast<std::uint32_t>(prng.between(1, 20));
  sim.backups = prng.chance(700) ? 1 : 0;
  sim.network.device_votes = sim.nodes % 2 == 0 && prng.chance(300) ? 1 : 0;
  sim.network.wait_for_all = prng.chance(300);
  sim.network.token = SimTime(prng.between(300000, 3000000));
  sim.trace_lines = options.trace_lines;
  sim.echo = options.echo;
  sim.node.record = options.record;
  return sim;
}

bool converges(SimCluster& cluster, Workload& workload) {
  const SimTime end = cluster.now() + kConverge;
  while (!cluster.violated() && cluster.now() < end) {
    if (cluster.settle(seconds(30))) return true;
    workload.help();
  }
  return cluster.unsettled().empty();
}

void live(SimCluster& cluster, const RunOptions& options, RunResult& result) {
  if (const std::string problem = cluster.found(); !problem.empty()) {
    if (!cluster.violated()) cluster.checkers().fail("L1", "founding: " + problem);
    return;
  }
  Nemesis nemesis(cluster);
  Workload workload(cluster);
  const SimTime end = cluster.now() + options.duration;
  if (options.faults) {
    result.faults = nemesis.kinds();
    nemesis.start(end);
    workload.start(end);
  }
  cluster.run_for(options.duration);
  if (options.faults) {
    nemesis.quiet();
    if (!converges(cluster, workload)) {
      if (!cluster.violated()) cluster.checkers().fail("L1", cluster.unsettled());
      return;
    }
    // What was under way when the last VM came up may end.
    cluster.run_for(minutes(1));
  }
  const Activity before = cluster.checkers().activity();
  cluster.run_for(kCalm);
  const Activity after = cluster.checkers().activity();
  if (!(before == after)) {
    cluster.checkers().fail("L3", "calm, and yet: before " + before.str() + "; after " +
                                      after.str());
  }
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
  write(hasher, result.steps);
  write(hasher, cluster.env().prng.next());
  result.trace_hash = hasher.digest().value;
  result.trace = cluster.trace();
  if (result.violation) result.situation = cluster.describe();
  for (std::uint32_t number = 1; options.record && number <= cluster.options().nodes; ++number) {
    result.recordings[name_of(NodeId(number))] = cluster.node(number).recording().segments();
  }
  return result;
}

}  // namespace clusterd::sim
