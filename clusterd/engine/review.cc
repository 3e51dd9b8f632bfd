#include "clusterd/engine/review.h"

#include <algorithm>

#include "clusterd/base/overloaded.h"
#include "clusterd/engine/eligible_hosts.h"
#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"
#include "clusterd/engine/report.h"
#include "clusterd/engine/reserve.h"

namespace clusterd {
namespace {

std::vector<std::pair<std::string, std::string>> changed_by_profile(const Configuration& before,
                                                                    const Configuration& after) {
  std::vector<std::pair<std::string, std::string>> changed;
  for (const auto& [name, vm] : after.vms) {
    const auto stored = before.vms.find(name);
    if (vm.profile.empty() || stored == before.vms.end() || stored->second != vm) continue;
    const auto old_profile = before.profiles.find(vm.profile);
    const auto new_profile = after.profiles.find(vm.profile);
    if (old_profile == before.profiles.end() || new_profile == after.profiles.end()) continue;
    if (old_profile->second != new_profile->second) changed.emplace_back(name, vm.profile);
  }
  return changed;
}

std::string why_nowhere(const ClusterState& state, const NoCandidate& none) {
  if (!none.reason.empty()) return none.reason;
  std::string text;
  for (const Exclusion& exclusion : none.excluded) {
    text +=
        (text.empty() ? "" : "; ") + node_name(state, exclusion.node) + ": " + sentence(exclusion);
  }
  return text;
}

Consequence waiting(const ClusterState& state, const Placement& placement) {
  Consequence wait{state.vms.at(placement.vm).name, NextStep::wait, {}, {}};
  std::visit(overloaded{[&](const Waits& waits) {
                          wait.node = node_name(state, waits.node);
                          wait.reason = waits.reason;
                        },
                        [&](const NoCandidate& none) { wait.reason = why_nowhere(state, none); },
                        [](const Chosen&) {}},
             placement.result);
  return wait;
}

std::vector<Consequence> next_steps(const ClusterState& state, ClusterTime now) {
  std::vector<Consequence> steps;
  const VmPlan plan = plan_vms(state, now);
  const auto add = [&](const auto& intent, NextStep step) {
    steps.push_back({state.vms.at(intent.vm).name, step, node_name(state, intent.on.node), {}});
  };
  for (const Body& intent : plan.intents) {
    if (const auto* start = std::get_if<StartVm>(&intent)) add(*start, NextStep::start);
    if (const auto* stop = std::get_if<StopVm>(&intent)) add(*stop, NextStep::stop);
  }
  for (const Placement& placement : plan.placements) {
    if (std::holds_alternative<Chosen>(placement.result)) continue;
    if (state.vms.contains(placement.vm)) steps.push_back(waiting(state, placement));
  }
  return steps;
}

}  // namespace

ConfigurationReview review(const ClusterState& state, const ChangeConfiguration& change,
                           ClusterTime now) {
  ConfigurationReview result;
  result.judged = judge(state, change);
  result.through_profile = changed_by_profile(state.config, result.judged.next);
  const bool refused =
      std::any_of(result.judged.findings.begin(), result.judged.findings.end(),
                  [](const Finding& finding) { return finding.severity == Severity::error; });
  if (refused) return result;
  const ClusterState copy = adopted(state, result.judged.next);
  std::vector<Finding>& findings = result.judged.findings;
  for (Finding& warning : few_hosts_of_all(copy)) findings.push_back(std::move(warning));
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.path < b.path; });
  result.consequences = next_steps(copy, now);
  result.reserve = report_reserve(copy, reserve_of(copy, now));
  result.brake = start_brake(copy);
  return result;
}

}  // namespace clusterd
