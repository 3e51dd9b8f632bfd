// How long a plan takes: one node of a cluster is lost, with nothing spare but what the others
// have free. Prints one line a size. Optimised build; the best of many runs, as noise only adds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "clusterd/engine/placement.h"
#include "tests/support/cluster_builder.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

struct Size {
  std::uint32_t nodes;
  std::uint32_t vms;
};

struct Case {
  ClusterState state;
  std::vector<StartDemand> demands;
};

// Every worker runs its share of VMs of different sizes; every tenth VM keeps away from another.
Case lose_one(const Size& size) {
  ClusterBuilder cluster;
  const std::uint32_t share = size.vms / size.nodes + 1;
  for (std::uint32_t n = 1; n < size.nodes; ++n) {
    cluster.node("n" + std::to_string(n), {.memory = gib(8ULL * share), .vcpus = 64});
  }
  cluster.backup("n" + std::to_string(size.nodes), {.memory = gib(4ULL * share), .vcpus = 64});
  for (std::uint32_t v = 0; v < size.vms; ++v) {
    VmOptions options;
    options.on = "n" + std::to_string(v % (size.nodes - 1) + 1);
    options.memory = gib(2 + v % 5);
    options.priority = 100 * (v % 7);
    if (v % 10 == 9) options.placement.away_from = {"vm" + std::to_string(v - 1)};
    cluster.vm("vm" + std::to_string(v), options);
  }
  cluster.prove_dead("n1");
  Case loss;
  loss.state = cluster.build();
  for (const auto& [id, vm] : loss.state.vms) {
    if (vm.holders.empty()) loss.demands.push_back({id, Cause::host_lost, std::nullopt, ""});
  }
  return loss;
}

template <class F>
double best_milliseconds(int rounds, F&& work) {
  double best = 1e9;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::milli> took =
        std::chrono::steady_clock::now() - begin;
    best = std::min(best, took.count());
  }
  return best;
}

}  // namespace

int main() {
  std::printf("%12s %8s %8s %14s %14s\n", "nodes x VMs", "demands", "placed", "plan ms",
              "guard ms each");
  for (const Size size : {Size{4, 40}, Size{16, 400}, Size{64, 4000}}) {
    const Case loss = lose_one(size);
    std::vector<Placement> plan;
    const double plan_ms = best_milliseconds(
        20, [&] { plan = plan_starts(loss.state, loss.demands, loss.state.time); });
    const auto placed = std::count_if(plan.begin(), plan.end(), [](const Placement& p) {
      return !std::holds_alternative<NoCandidate>(p.result);
    });
    bool refused = false;
    const double guard_ms = best_milliseconds(20, [&] {
      refused |= refuses(loss.state, loss.demands.front().vm, NodeId(size.nodes), loss.state.time)
                     .has_value();
    });
    std::printf("%6u x %-5u %6zu %8td %14.3f %14.3f%s\n", size.nodes, size.vms,
                loss.demands.size(), placed, plan_ms, guard_ms, refused ? " (refused)" : "");
  }
  return 0;
}
