// What the planner alone takes, for a cluster that files describe: one plan after a host was proven
// dead, and one proof of the reserve, from scratch. Prints one line of JSON; processor time, the
// median of several rounds. For tests/bench/placement_peers.py.
//
//   plan_file_bench DECLARATIONS STATUS-JSON NODE
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/codec/json_status.h"
#include "clusterd/config/declarations_file.h"
#include "clusterd/engine/apply_detail.h"
#include "clusterd/engine/offline.h"
#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"
#include "clusterd/engine/reserve.h"
#include "clusterd/model/merge.h"

namespace {

using namespace clusterd;

constexpr double kSeconds = 2;  // of rounds, at least kRounds.first, at most kRounds.second
constexpr std::pair<std::size_t, std::size_t> kRounds{3, 101};

double processor_ms() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

template <class F>
double median_ms(F&& work) {
  std::vector<double> took;
  const double begin = processor_ms();
  while (took.size() < kRounds.first ||
         (took.size() < kRounds.second && processor_ms() - begin < 1e3 * kSeconds)) {
    const double started = processor_ms();
    work();
    took.push_back(processor_ms() - started);
  }
  std::nth_element(took.begin(), took.begin() + static_cast<long>(took.size() / 2), took.end());
  return took[took.size() / 2];
}

// Says on standard error what is wrong with the files, and gives nothing then.
std::optional<ClusterState> read_cluster(const std::string& declarations, std::istream& saved) {
  const LoadedDeclarations loaded = load_declarations(declarations, {}, Purpose::plan);
  for (const auto& error : loaded.errors) std::cerr << error.message << '\n';
  const std::string text{std::istreambuf_iterator<char>(saved), {}};
  const auto status = read_status(text);
  const auto* report = std::get_if<StatusReport>(&status);
  if (report == nullptr) std::cerr << "no status\n";
  if (report == nullptr || !loaded.errors.empty()) return std::nullopt;
  OfflineState offline = offline_state(merge(Configuration{}, loaded.declarations), report);
  for (const Finding& finding : offline.findings) {
    std::cerr << finding.path << ": " << finding.message << '\n';
    if (finding.severity == Severity::error) return std::nullopt;
  }
  return std::move(offline.state);
}

void lose(ClusterState& state, NodeId id) {
  const Host host{id, state.nodes.at(id).boot};
  state.view.members.erase(id);
  apply_detail::prove_dead(state, host, DeathCause::fenced, "a benchmark");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::cerr << "usage: plan_file_bench DECLARATIONS STATUS-JSON NODE\n";
    return 2;
  }
  std::ifstream saved(arguments[2]);
  const auto whole = read_cluster(arguments[1], saved);
  if (!whole) return 1;
  const auto lost = node_by_name(*whole, arguments[3]);
  if (!lost) {
    std::cerr << "there is no node " << arguments[3] << '\n';
    return 1;
  }
  ClusterState state = *whole;
  lose(state, *lost);
  VmPlan plan;
  const double plan_ms = median_ms([&] { plan = plan_vms(state, state.time); });
  const auto placed = std::count_if(plan.placements.begin(), plan.placements.end(), [](auto& one) {
    return !std::holds_alternative<NoCandidate>(one.result);
  });
  Reserve reserve;
  const double proof_ms = median_ms([&] { reserve = reserve_of(*whole, whole->time); });
  const std::string proof(name_of(reserve.proof));
  std::printf(
      "{\"plan_ms\": %.6f, \"placed\": %td, \"demands\": %zu, \"proof_ms\": %.6f,"
      " \"tolerated\": %u, \"proof\": \"%s\"}\n",
      plan_ms, placed, plan.placements.size(), proof_ms, reserve.tolerated, proof.c_str());
  return 0;
}
