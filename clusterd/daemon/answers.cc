#include "clusterd/daemon/answers.h"

#include "clusterd/base/overloaded.h"
#include "clusterd/codec/json_config.h"
#include "clusterd/codec/json_report.h"
#include "clusterd/engine/forecast.h"
#include "clusterd/engine/report.h"
#include "clusterd/engine/review.h"

namespace clusterd {
namespace {

ControlReply json(std::string text) { return {ReplyCode::done, {}, std::move(text), false}; }

ControlReply explain(const ExplainVm& request, const ClusterState& state, const LocalView& local,
                     ClusterTime now) {
  const auto report = explain_vm(state, local, request.name, now);
  if (report) return json(to_json(*report));
  return {ReplyCode::refused, "there is no VM " + request.name + ": `clusterctl get vms`", {},
          false};
}

ControlReply status(const ClusterState& state, const LocalView& local, ClusterTime now,
                    ReserveWatch& reserve) {
  StatusReport report = report_status(state, local, now);
  if (const auto& known = reserve.look(state, now)) report.reserve = report_reserve(state, *known);
  return json(to_json(report));
}

ControlReply what_if(const WhatIf& request, const ClusterState& state, ClusterTime now,
                     ReserveWatch& reserve) {
  const auto down = nodes_named(state, request.down);
  if (const auto* problem = std::get_if<std::string>(&down)) {
    return {ReplyCode::refused, *problem, {}, false};
  }
  const Forecast told = forecast(state, std::get<std::set<NodeId>>(down), now);
  ForecastReport report = report_forecast(state, told);
  if (const auto& known = reserve.look(state, now)) {
    report.reserve_before = report_reserve(state, *known);
  }
  ControlReply reply = json(to_json(report));
  if (!told.feasible) reply.code = ReplyCode::refused;
  return reply;
}

}  // namespace

ControlReply answer(const ControlRequest& request, const ClusterState& state,
                    const LocalView& local, ClusterTime now, ReserveWatch& reserve) {
  return std::visit(
      overloaded{
          [&](const GetStatus&) { return status(state, local, now, reserve); },
          [&](const GetConfiguration&) { return json(configuration_json(state.config)); },
          [&](const ExplainVm& what) { return explain(what, state, local, now); },
          [&](const GetHistory& what) {
            return json(history_json(state, {what.after_sequence, what.since, what.vm, what.node}));
          },
          [&](const GetFailovers& what) { return json(failovers_json(state, what.id)); },
          [&](const ApplyConfiguration& what) {
            return json(review_json(
                state.config, review(state, change_of(what), now)));
          },
          [&](const WhatIf& what) { return what_if(what, state, now, reserve); },
          [](const auto&) {
            return ControlReply{ReplyCode::usage, "this request does not only read", {}, false};
          }},
      request);
}

}  // namespace clusterd
