#include "clusterd/ctl/plan.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <variant>

#include "clusterd/codec/json_report.h"
#include "clusterd/codec/json_status.h"
#include "clusterd/ctl/show.h"
#include "clusterd/ctl/told.h"
#include "clusterd/engine/forecast.h"
#include "clusterd/engine/offline.h"
#include "clusterd/engine/queries.h"
#include "clusterd/engine/rebalance.h"
#include "clusterd/engine/report.h"
#include "clusterd/model/limits.h"
#include "clusterd/model/merge.h"

namespace clusterd::ctl {
namespace {

constexpr int kRefused = static_cast<int>(ReplyCode::refused);

// Nothing without a file, or with errors.
std::optional<StatusReport> read_saved(const std::string& file, ConfigErrors& errors) {
  if (file.empty()) return std::nullopt;
  const auto text = read_text_file(file, limits::kSnapshot, errors);
  if (!text) return std::nullopt;
  auto status = read_status(*text);
  if (auto* report = std::get_if<StatusReport>(&status)) return std::move(*report);
  for (const auto& problem : std::get<std::vector<StatusProblem>>(status)) {
    errors.push_back({place_of(file, *text, problem.offset), problem.message});
  }
  return std::nullopt;
}

// A VM whose domain or memory could not be read has no size either: that was told already.
bool follows_from(const Finding& finding, const LoadedDeclarations& loaded) {
  const bool said = loaded.places.contains(finding.path + ".domain") ||
                    loaded.places.contains(finding.path + ".memory");
  return said && finding.message == "has neither a domain nor memory: its size is not known";
}

// The cluster of the files, with what hinders it on standard error; nullopt: something does.
std::optional<OfflineState> read_cluster(const PlanOptions& wanted, bool& has_saved) {
  LoadedDeclarations loaded = load_declarations(wanted.declarations, {}, Purpose::plan);
  const auto saved = read_saved(wanted.state, loaded.errors);
  has_saved = saved.has_value();
  OfflineState offline =
      offline_state(merge(Configuration{}, loaded.declarations), saved ? &*saved : nullptr);
  std::erase_if(offline.findings,
                [&](const Finding& finding) { return follows_from(finding, loaded); });
  bool refused = false;
  for (const Told& told : placed(offline.findings, loaded, "saved status")) {
    std::fprintf(stderr, "%s\n", told.text.c_str());
    refused = refused || told.hinders;
  }
  if (refused) return std::nullopt;
  return offline;
}

// Where VMs run once everything that is declared has started.
std::vector<ForecastReport::Place> places(const ClusterState& state) {
  std::vector<ForecastReport::Place> places;
  for (const auto& [name, declaration] : state.config.vms) {
    const auto host = active_on(state.vms.at(declaration.domain.uuid));
    if (host) places.push_back({name, node_name(state, host->node)});
  }
  return places;
}

int tell_moves(const Options& options, const ClusterState& state) {
  const std::string json = to_json(report_rebalance(state, rebalance(state, state.time)));
  const std::string text = options.json ? json + "\n" : show_rebalance(Json::parse(json));
  std::fputs(text.c_str(), stdout);
  return 0;
}

}  // namespace

int plan(const Options& options, const PlanOptions& wanted) {
  bool has_saved = false;
  auto offline = read_cluster(wanted, has_saved);
  if (!offline) {
    std::fputs("nothing was planned\n", stderr);
    return kRefused;
  }
  ClusterState state = std::move(offline->state);
  const auto named = nodes_named(state, wanted.down);
  if (const auto* problem = std::get_if<std::string>(&named)) {
    std::fprintf(stderr, "%s\n", problem->c_str());
    return kRefused;
  }
  const auto& down = std::get<std::set<NodeId>>(named);
  // Who loses hosts or moves VMs asks about a cluster that runs: as the planner would have started
  // it.
  const bool starts_first = (!down.empty() || wanted.rebalance) && !has_saved;
  if (starts_first) state = forecast(state, {}, state.time).after;
  if (wanted.rebalance) return tell_moves(options, state);
  const Forecast told = forecast(state, down, state.time);
  ForecastReport report = report_forecast(state, told);
  report.reserve_before = report_reserve(state, reserve_of(state, state.time));
  if (starts_first) report.assumed = places(state);
  const std::string json = to_json(report);
  if (options.json) {
    std::printf("%s\n", json.c_str());
  } else {
    std::fputs(show_forecast(Json::parse(json), options.terminal).c_str(), stdout);
  }
  return told.feasible ? 0 : kRefused;
}

}  // namespace clusterd::ctl
