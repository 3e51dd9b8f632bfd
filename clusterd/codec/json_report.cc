#include "clusterd/codec/json_report.h"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "clusterd/model/failover_phases.h"

namespace clusterd {
namespace {

// ordered: people read it too.
using Json = nlohmann::ordered_json;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

const char* name_of(DesiredState state) {
  switch (state) {
    case DesiredState::running:
      return "running";
    case DesiredState::stopped:
      return "stopped";
    case DesiredState::ignored:
      return "ignored";
  }
  return "";
}

const char* name_of(Power power) {
  switch (power) {
    case Power::on:
      return "on";
    case Power::off:
      return "off";
    case Power::unknown:
      return "unknown";
  }
  return "";
}

Json json_of(const NodeReport& node) {
  Json devices = Json::array();
  for (const auto& device : node.fence_devices) {
    devices.push_back({{"name", device.name},
                       {"reading", name_of(device.reading)},
                       {"calibrated", device.calibrated}});
  }
  const bool known = node.capacity.memory != 0;
  return {
      {"name", node.name},
      {"id", node.id.value},
      {"state", node.state},
      {"reason", node.reason},
      {"role", node.role == NodeRole::backup ? "backup" : "worker"},
      {"declared", node.declared},
      {"capacity", known ? Json{{"memory", node.capacity.memory}, {"vcpus", node.capacity.vcpus}}
                         : Json(nullptr)},
      {"memory_total", node.memory_total},
      {"memory_used", node.memory_used},
      {"degraded", node.degraded},
      {"vcpus_total", node.vcpus_total},
      {"vcpus_used", node.vcpus_used},
      {"vms", node.vms},
      {"fence_devices", devices},
      {"cpu_vendor", node.cpu_vendor},
      {"cpu_model", node.cpu_model},
      {"cpu_pool", node.cpu_pool.empty() ? Json(nullptr) : Json(node.cpu_pool)}};
}

Json json_of(const VmReport& vm) {
  return {{"name", vm.name},
          {"uuid", vm.uuid},
          {"desired", name_of(vm.desired)},
          {"declared", vm.declared ? Json(name_of(*vm.declared)) : Json(nullptr)},
          {"state", vm.state},
          {"node", vm.node.empty() ? Json(nullptr) : Json(vm.node)},
          {"health", vm.health},
          {"priority", vm.priority},
          {"memory", vm.size.memory},
          {"vcpus", vm.size.vcpus},
          {"preemptible", vm.preemptible},
          {"reason", vm.reason}};
}

Json word_or_null(const std::string& word) {
  return word.empty() ? Json(nullptr) : Json(word);
}

Json json_of(const std::optional<ReserveReport>& reserve) {
  if (!reserve) return nullptr;
  Json blocking = Json::array();
  for (const auto& one : reserve->blocking) {
    blocking.push_back({{"down", one.down}, {"vm", word_or_null(one.vm)}});
  }
  return {{"required", reserve->required},
          {"tolerated", reserve->tolerated},
          {"at_least", reserve->at_least},
          {"ok", reserve->ok},
          {"proof", reserve->proof},
          {"blocking", blocking},
          {"remedy", word_or_null(reserve->remedy)}};
}

Json json_of(const HistoryEvent& event, const ClusterState* state) {
  Json json{{"sequence", event.sequence},
            {"at", rfc3339(event.at)},
            {"at_ms", event.at.ms},
            {"kind", name_of(event.kind)}};
  json["node"] = nullptr;
  json["vm"] = nullptr;
  if (event.node && state != nullptr) {
    const auto node = state->nodes.find(*event.node);
    if (node != state->nodes.end()) json["node"] = node->second.name;
  }
  if (event.vm) {
    const auto vm = state == nullptr ? decltype(state->vms.begin()){}
                                     : state->vms.find(*event.vm);
    const bool known = state != nullptr && vm != state->vms.end();
    json["vm"] = known ? vm->second.name : event.vm->str();
  }
  json["text"] = event.text;
  return json;
}

std::string node_name(const ClusterState& state, NodeId id) {
  const auto node = state.nodes.find(id);
  return node == state.nodes.end() ? std::to_string(id.value) : node->second.name;
}

// Milliseconds from the new ring, or null.
Json phase(const FailoverRecord& record, const std::optional<ClusterTime>& at) {
  if (!at) return nullptr;
  return (*at - record.ring).count();
}

Json phases_json(const FailoverRecord& record) {
  Json json;
  for (const FailoverPhase& phase : phases_of(record)) {
    json[phase.name] = phase.at ? Json(phase.at->count()) : Json(nullptr);
  }
  return json;
}

Json json_of(const ClusterState& state, const FailoverRecord& record) {
  Json lost = Json::array();
  for (const auto& [node, at] : record.fenced) {
    const auto proof = record.proof.find(node);
    lost.push_back({{"node", node_name(state, node)},
                    {"fenced_ms", phase(record, at)},
                    {"proof", proof == record.proof.end() ? "" : proof->second}});
  }
  Json vms = Json::array();
  for (const auto& [id, vm] : record.vms) {
    vms.push_back({{"vm", record.names.at(id)},
                   {"from", node_name(state, vm.from.node)},
                   {"to", vm.to ? Json(node_name(state, *vm.to)) : Json(nullptr)},
                   {"planned_ms", phase(record, vm.planned)},
                   {"active_ms", phase(record, vm.active)},
                   {"create_returned_ms", phase(record, vm.create_returned)},
                   {"agent_ms", phase(record, vm.agent)}});
  }
  return {{"id", record.id},
          {"epoch", record.epoch.value},
          {"ring_at", rfc3339(record.ring)},
          {"coordinator", node_name(state, record.coordinator)},
          {"done", record.done},
          {"lost", lost},
          {"vms", vms},
          {"phases_ms", phases_json(record)}};
}

}  // namespace

std::string rfc3339(ClusterTime time) {
  const auto seconds = static_cast<std::time_t>(time.ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  const std::string ms = std::to_string(1000 + time.ms % 1000);  // three digits behind the 1
  return std::string(text, size) + "." + ms.substr(1) + "Z";
}

const char* name_of(EventKind kind) {
  static constexpr const char* kNames[] = {
      "founded",       "activated",     "node_joined",   "node_lost",     "node_left",
      "node_unmanaged", "node_demoted", "fence_started", "fence_failed",  "node_dead",
      "power_on",      "vm_starting",   "vm_running",    "vm_stopping",   "vm_stopped",
      "vm_failed",     "vm_guest_off",  "vm_unexpected", "vm_duplicate",  "agent_answers",
      "configuration", "order",         "fence_device",  "alarm",         "failover_done",
      "vm_unhealthy",  "vm_healthy",    "vm_rebooted"};
  static_assert(sizeof kNames / sizeof *kNames ==
                static_cast<std::size_t>(enum_last(EventKind{})) + 1);
  return kNames[static_cast<std::size_t>(kind)];
}

std::string to_json(const StatusReport& report) {
  Json cluster{
      {"name", report.name},
      {"uuid", report.founded ? Json(report.uuid) : Json(nullptr)},
      {"founded", report.founded},
      {"quorate", report.quorate},
      {"active", report.active},
      {"epoch", report.epoch},
      {"coordinator", report.coordinator.empty() ? Json(nullptr) : Json(report.coordinator)},
      {"members", report.members},
      {"armed", report.armed},
      {"reserve", json_of(report.reserve)},
      {"waiting", report.waiting},
      {"config_version", report.config_version},
      {"time", rfc3339(report.time)}};
  Json nodes = Json::array();
  for (const NodeReport& node : report.nodes) nodes.push_back(json_of(node));
  Json vms = Json::array();
  for (const VmReport& vm : report.vms) vms.push_back(json_of(vm));
  Json operations = Json::array();
  for (const OperationReport& operation : report.operations) {
    operations.push_back({{"id", operation.id},
                          {"kind", operation.kind},
                          {"vm", operation.vm.empty() ? Json(nullptr) : Json(operation.vm)},
                          {"node", operation.node},
                          {"executor", operation.executor},
                          {"since", rfc3339(operation.since)},
                          {"unknown", operation.unknown}});
  }
  return dump({{"cluster", cluster},
               {"alarms", report.alarms},
               {"nodes", nodes},
               {"vms", vms},
               {"operations", operations}});
}

std::string to_json(const ExplainReport& report) {
  Json nodes = Json::array();
  for (const auto& candidate : report.nodes) {
    nodes.push_back({{"node", candidate.node},
                     {"fits", candidate.reason.empty() || candidate.reason == "it is here"},
                     {"reason", candidate.reason}});
  }
  Json history = Json::array();
  for (const HistoryEvent& event : report.history) history.push_back(json_of(event, nullptr));
  return dump({{"vm", json_of(report.vm)},
               {"why", report.why},
               {"nodes", nodes},
               {"history", history}});
}

std::string to_json(const ReserveReport& report) { return dump(json_of(std::optional(report))); }

std::string to_json(const ForecastReport& report) {
  Json actions = Json::array();
  for (const auto& action : report.actions) {
    actions.push_back({{"vm", action.vm},
                       {"action", action.action},
                       {"from", word_or_null(action.from)},
                       {"to", word_or_null(action.to)}});
  }
  Json assumed = Json::array();
  for (const auto& place : report.assumed) {
    assumed.push_back({{"vm", place.vm}, {"node", place.node}});
  }
  Json unplaced = Json::array();
  for (const auto& vm : report.unplaced) {
    Json reasons = Json::array();
    for (const auto& node : vm.reasons) {
      reasons.push_back({{"node", node.node}, {"reason", node.reason}});
    }
    unplaced.push_back({{"vm", vm.vm},
                        {"guaranteed", vm.guaranteed},
                        {"reason", word_or_null(vm.reason)},
                        {"reasons", std::move(reasons)}});
  }
  return dump({{"feasible", report.feasible},
               {"actions", std::move(actions)},
               {"unplaced", std::move(unplaced)},
               {"degraded", report.degraded},
               {"assumed", std::move(assumed)},
               {"reserve", json_of(report.reserve)},
               {"reserve_before", json_of(report.reserve_before)}});
}

std::string to_json(const RebalanceReport& report) {
  Json moves = Json::array();
  for (const auto& move : report.moves) {
    moves.push_back(
        {{"vm", move.vm}, {"from", move.from}, {"to", move.to}, {"reason", move.reason}});
  }
  return dump({{"hindered", word_or_null(report.hindered)},
               {"moves", std::move(moves)},
               {"spread_before", report.spread_before / 1e6},
               {"spread_after", report.spread_after / 1e6}});
}

std::string history_json(const ClusterState& state, const HistoryFilter& filter) {
  Json events = Json::array();
  for (auto event = state.history.upper_bound(filter.after_sequence);
       event != state.history.end(); ++event) {
    if (filter.since && event->second.at < *filter.since) continue;
    Json json = json_of(event->second, &state);
    if (!filter.vm.empty() && json["vm"] != filter.vm) continue;
    if (!filter.node.empty() && json["node"] != filter.node) continue;
    events.push_back(std::move(json));
  }
  return dump({{"events", events}});
}

std::string failovers_json(const ClusterState& state, std::optional<std::uint64_t> id) {
  Json failovers = Json::array();
  for (const auto& [number, record] : state.failovers) {
    if (id && *id != number) continue;
    failovers.push_back(json_of(state, record));
  }
  return dump({{"failovers", failovers}});
}

}  // namespace clusterd
