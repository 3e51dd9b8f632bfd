// What planning costs: a plan after one node was lost, the guard of one start, the proof that the
// reserve holds (from scratch, and after one change), and the memory of the proof. Prints one line
// a size, and how fast each figure grows: the exponent e in figure ~ VMs^e since the line above.
// Optimised build; the best of many runs, as noise only adds; of changes the worst.
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <new>
#include <string>
#include <vector>

#include "clusterd/engine/placement.h"
#include "clusterd/engine/reserve.h"
#include "tests/support/cluster_builder.h"

// ---- memory in use, counted at every allocation ------------------------------------------------

namespace {
std::size_t in_use = 0;
std::size_t peak = 0;
}  // namespace

void* operator new(std::size_t size) {
  void* const block = std::malloc(size);
  if (block == nullptr) throw std::bad_alloc();
  in_use += malloc_usable_size(block);
  peak = std::max(peak, in_use);
  return block;
}
void operator delete(void* block) noexcept {
  in_use -= malloc_usable_size(block);
  std::free(block);
}
void operator delete(void* block, std::size_t) noexcept {
  operator delete(block);
}

namespace {

using namespace clusterd;
using namespace clusterd::test;

struct Size {
  std::uint32_t nodes;
  std::uint32_t vms;
};

// ---- clusters
// ------------------------------------------------------------------------------------

// VMs of different sizes, four fifths of all memory; every tenth keeps away from another, every
// seventh needs a SAN that three of four nodes have, every ninth may be stopped. Each node takes
// its share as far as the rules allow.
ClusterBuilder cluster_of(const Size& size) {
  ClusterBuilder cluster;
  const std::uint64_t share = (size.vms + size.nodes - 1) / size.nodes;
  for (std::uint32_t n = 1; n <= size.nodes; ++n) {
    NodeOptions options;
    options.memory = gib(4 * share * 5 / 4 + n % 4);
    options.vcpus = static_cast<std::uint32_t>(share);
    if (n % 4 != 0) options.provides = {"san"};
    if (n == size.nodes) options.role = NodeRole::backup;
    cluster.node("n" + std::to_string(n), options);
  }
  for (std::uint32_t v = 0; v < size.vms; ++v) {
    VmOptions options;
    std::uint32_t home = v % size.nodes + 1;
    if (v % 7 == 3) {
      options.needs = {"san"};
      if (home % 4 == 0) home = home % size.nodes + 1;
    }
    options.on = "n" + std::to_string(home);
    options.memory = gib(2 + v % 5);
    options.priority = 100 * (v % 7);
    if (v % 10 == 9) options.placement.away_from = {"vm" + std::to_string(v - 1)};
    const std::string name = "vm" + std::to_string(v);
    cluster.vm(name, options);
    if (v % 9 == 4) cluster.declaration(name).policy.preemptible = true;
  }
  return cluster;
}

struct Loss {
  ClusterState state;
  std::vector<StartDemand> demands;
};

Loss lose_one(ClusterBuilder cluster) {
  cluster.prove_dead("n1");
  Loss loss;
  loss.state = cluster.build();
  for (const auto& [id, vm] : loss.state.vms) {
    if (vm.holders.empty()) loss.demands.push_back({id, Cause::host_lost, std::nullopt, ""});
  }
  return loss;
}

// ---- figures
// -------------------------------------------------------------------------------------

// Processor time: what others do on the machine does not count.
template <class F>
double milliseconds(F&& work) {
  const std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) * 1000 / CLOCKS_PER_SEC;
}

template <class F>
double best_milliseconds(int rounds, F&& work) {
  double best = 1e9;
  for (int i = 0; i < rounds; ++i) best = std::min(best, milliseconds(work));
  return best;
}

struct Figures {
  double plan = 0;
  double guard = 0;
  double proof = 0;
  double moved = 0;
  double stopped = 0;
  double megabytes = 0;
  std::size_t demands = 0;
  std::size_t placed = 0;
  Reserve reserve;
};

void measure_plan(const Loss& loss, Figures& out) {
  std::vector<Placement> plan;
  out.plan =
      best_milliseconds(20, [&] { plan = plan_starts(loss.state, loss.demands, loss.state.time); });
  out.demands = loss.demands.size();
  out.placed =
      static_cast<std::size_t>(std::count_if(plan.begin(), plan.end(), [](const Placement& p) {
        return !std::holds_alternative<NoCandidate>(p.result);
      }));
  const NodeId last = loss.state.nodes.rbegin()->first;
  out.guard = best_milliseconds(20, [&] {
    static_cast<void>(refuses(loss.state, loss.demands.front().vm, last, loss.state.time));
  });
}

void measure_proof(ClusterBuilder cluster, const Size& size, Figures& out) {
  {
    const ClusterState state = cluster.build();
    out.proof = best_milliseconds(5, [&] { out.reserve = reserve_of(state, state.time); });
  }
  const std::size_t before = in_use;
  peak = in_use;
  ReserveProver prover;
  static_cast<void>(prover.prove(cluster.state(), cluster.state().time));
  out.megabytes = static_cast<double>(peak - before) / 1e6;
  // The worst of changes here and there; every one is followed by its proof.
  const std::uint32_t step = std::max(1U, size.vms / 20);
  for (std::uint32_t v = 0; v < size.vms; v += step) {
    const std::string name = "vm" + std::to_string(v);
    cluster.vm_state(name).holders.clear();
    cluster.run(name, "n" + std::to_string((v + size.nodes / 2) % size.nodes + 1));
    out.moved = std::max(out.moved, best_milliseconds(1, [&] {
                           static_cast<void>(prover.prove(cluster.state(), cluster.state().time));
                         }));
    cluster.vm_state(name).holders.clear();
    cluster.order(name, DesiredState::stopped);
    out.stopped = std::max(out.stopped, best_milliseconds(1, [&] {
                             static_cast<void>(prover.prove(cluster.state(), cluster.state().time));
                           }));
  }
}

void print(const Size& size, const Figures& f) {
  std::printf("%5u x %-6u %4zu/%-4zu %9.3f %9.3f %10.2f %10.2f %10.2f %8.2f   %u%s%s\n", size.nodes,
              size.vms, f.placed, f.demands, f.plan, f.guard, f.proof, f.moved, f.stopped,
              f.megabytes, f.reserve.tolerated, f.reserve.at_least ? "+" : "",
              f.reserve.proof == Proof::exact ? "" : " unknown");
}

void print_growth(const Size& from, const Figures& a, const Size& to, const Figures& b) {
  const double ratio = std::log(static_cast<double>(to.vms) / from.vms);
  const auto exponent = [&](double before, double after) {
    return std::log(after / before) / ratio;
  };
  std::printf("%14s %9s %9.2f %9.2f %10.2f %10.2f %10.2f %8.2f\n", "growth", "",
              exponent(a.plan, b.plan), exponent(a.guard, b.guard), exponent(a.proof, b.proof),
              exponent(a.moved, b.moved), exponent(a.stopped, b.stopped),
              exponent(a.megabytes, b.megabytes));
}

}  // namespace

int main() {
  std::printf("%14s %9s %9s %9s %10s %10s %10s %8s   %s\n", "nodes x VMs", "placed", "plan ms",
              "guard ms", "proof ms", "moved ms", "stopped ms", "proof MB", "tolerated");
  Size last{};
  Figures before;
  for (const Size size :
       {Size{4, 40}, Size{16, 400}, Size{32, 1000}, Size{64, 4000}, Size{256, 10000}}) {
    Figures figures;
    const ClusterBuilder cluster = cluster_of(size);
    measure_plan(lose_one(cluster), figures);
    measure_proof(cluster, size, figures);
    if (last.nodes != 0) print_growth(last, before, size, figures);
    print(size, figures);
    last = size;
    before = figures;
  }
  return 0;
}
