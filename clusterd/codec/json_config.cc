#include "clusterd/codec/json_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "clusterd/codec/json_report.h"

namespace clusterd {
namespace {

// Sorted keys: what does not depend on the order of a file compares equal.
using Json = nlohmann::json;

const char* name_of(DesiredState state) {
  static constexpr const char* kNames[] = {"running", "stopped", "ignored"};
  return kNames[static_cast<std::size_t>(state)];
}
const char* name_of(CpuMode mode) {
  static constexpr const char* kNames[] = {"none", "custom", "host-model", "host-passthrough",
                                           "maximum"};
  return kNames[static_cast<std::size_t>(mode)];
}
const char* name_of(OnUnhealthy action) {
  static constexpr const char* kNames[] = {"restart", "relocate", "alert"};
  return kNames[static_cast<std::size_t>(action)];
}

template <class T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}
void put_ms(Json& json, const char* key, const std::optional<Duration>& value) {
  if (value) json[key] = value->count();
}

Json json_of(const Resources& r) {
  return {{"memory", r.memory}, {"vcpus", r.vcpus}};
}

Json json_of(const Timers& t) {
  return {{"hello_timeout_ms", t.hello_timeout.count()},
          {"ack_timeout_ms", t.ack_timeout.count()},
          {"start_timeout_ms", t.start_timeout.count()},
          {"destroy_timeout_ms", t.destroy_timeout.count()},
          {"restart_backoff_ms", t.restart_backoff.count()},
          {"restart_backoff_max_ms", t.restart_backoff_max.count()},
          {"failed_retry_ms", t.failed_retry.count()},
          {"fence_retries", t.fence_retries},
          {"fence_backoff_ms", t.fence_backoff.count()},
          {"fence_backoff_max_ms", t.fence_backoff_max.count()},
          {"fence_settle_ms", t.fence_settle.count()},
          {"leave_grace_ms", t.leave_grace.count()},
          {"calibration_interval_ms", t.calibration_interval.count()},
          {"start_after_timeout_ms", t.start_after_timeout.count()},
          {"preempt_timeout_ms", t.preempt_timeout.count()},
          {"unhealthy_timeout_ms", t.unhealthy_timeout.count()}};
}

Json limit(const std::optional<std::uint32_t>& value) {
  return value ? Json(*value) : Json();
}

Json json_of(const ClusterSettings& s) {
  return {{"name", s.name},
          {"reserve_host_failures", s.reserve_host_failures},
          {"admission", s.admission == Admission::enforce ? "enforce" : "warn"},
          {"on_quorum_loss", s.on_quorum_loss == OnQuorumLoss::freeze ? "freeze" : "self_fence"},
          {"on_daemon_death", s.on_daemon_death == OnDaemonDeath::alarm ? "alarm" : "fence"},
          {"overcommit",
           {{"memory", s.overcommit.memory},
            {"vcpus", s.overcommit.vcpus},
            {"degraded_memory", s.overcommit.degraded_memory}}},
          {"parallel_starts_per_node", limit(s.parallel_starts_per_node)},
          {"parallel_migrations_per_node", limit(s.parallel_migrations_per_node)},
          {"min_healthy_percent", s.min_healthy_percent},
          {"startup_wait_ms", s.startup_wait.count()},
          {"fences_per_hour", limit(s.fences_per_hour)},
          {"priority_delay_ms", s.priority_delay.count()},
          {"after_fence", s.after_fence == AfterFence::power_on ? "power_on" : "stay_off"},
          {"timers", json_of(s.timers)}};
}

Json json_of(const FenceDevice& device) {
  return {{"agent", device.agent},
          {"options", device.options},
          {"secrets", device.secrets},
          {"timeout_ms", device.timeout.count()}};
}

Json json_of(const NodeDeclaration& node) {
  Json json{{"role", node.role == NodeRole::backup ? "backup" : "worker"},
            {"provides", node.provides},
            {"labels", node.labels},
            {"host_reserved", json_of(node.host_reserved)},
            {"fencing", node.fencing},
            {"exclusive", node.exclusive}};
  if (node.capacity) json["capacity"] = json_of(*node.capacity);
  return json;
}

Json json_of(const PlacementRules& rules) {
  return {{"allow", rules.allow},
          {"avoid", rules.avoid},
          {"away_from", rules.away_from},
          {"together_with", rules.together_with},
          {"prefer",
           {{"nodes", rules.prefer.nodes},
            {"away_from", rules.prefer.away_from},
            {"together_with", rules.prefer.together_with}}}};
}

Json json_of(const Probe& probe) {
  Json json{{"name", probe.name},
            {"interval_ms", probe.interval.count()},
            {"timeout_ms", probe.timeout.count()},
            {"failures", probe.failures},
            {"required", probe.required}};
  switch (probe.kind) {
    case ProbeKind::tcp:
      json["tcp"] = {{"port", probe.port}};
      break;
    case ProbeKind::http:
      json["http"] = {{"port", probe.port},
                      {"path", probe.path},
                      {"expect", probe.expect},
                      {"body", probe.body}};
      break;
    case ProbeKind::exec:
      json["exec"] = {{"command", probe.command}};
      break;
    case ProbeKind::script:
      json["script"] = {{"command", probe.command}};
      break;
    case ProbeKind::heartbeat:
      json["heartbeat"] = {{"port", probe.port}};
      break;
  }
  return json;
}

Json json_of(const HealthPolicy& health) {
  Json json{{"boot_grace_ms", health.boot_grace.count()},
            {"on_unhealthy", name_of(health.on_unhealthy)},
            {"address", health.address},
            {"probes", Json::object()}};
  if (!health.repair.empty()) {
    json["repair"] = {{"command", health.repair}, {"timeout_ms", health.repair_timeout.count()}};
  }
  if (health.guest_agent) {
    json["guest_agent"] = {{"interval_ms", health.guest_agent->interval.count()},
                           {"timeout_ms", health.guest_agent->timeout.count()},
                           {"failures", health.guest_agent->failures},
                           {"required", health.guest_agent->required}};
  }
  for (const Probe& probe : health.probes) json["probes"][probe.name] = json_of(probe);
  return json;
}

Json json_of(const VmPolicy& policy) {
  Json json = Json::object();
  put(json, "priority", policy.priority);
  put(json, "requires", policy.requires_);
  if (policy.state) json["state"] = name_of(*policy.state);
  if (policy.placement) json["placement"] = json_of(*policy.placement);
  if (policy.failback) {
    json["failback"] = *policy.failback == Failback::never ? "never" : "auto";
  }
  put(json, "start_after", policy.start_after);
  if (policy.restart) {
    json["restart"] = {{"attempts", policy.restart->attempts},
                       {"window_ms", policy.restart->window.count()},
                       {"relocations", policy.restart->relocations}};
  }
  put_ms(json, "shutdown_timeout_ms", policy.shutdown_timeout);
  if (policy.migration) {
    json["migration"] = *policy.migration == MigrationPolicy::live ? "live" : "never";
  }
  if (policy.health) json["health"] = json_of(*policy.health);
  put_ms(json, "rto_ms", policy.rto);
  put(json, "preemptible", policy.preemptible);
  put(json, "memory", policy.memory);
  put(json, "vcpus", policy.vcpus);
  return json;
}

Json json_of(const VmDeclaration& vm) {
  Json json = json_of(vm.policy);
  if (!vm.profile.empty()) json["profile"] = vm.profile;
  const DomainCpu& cpu = vm.domain.cpu;
  json["domain"] = {{"uuid", vm.domain.uuid.str()},
                    {"memory", vm.domain.size.memory},
                    {"vcpus", vm.domain.size.vcpus},
                    {"machine", vm.domain.machine},
                    {"macs", vm.domain.macs},
                    {"disks", vm.domain.disks},
                    {"xml_digest", vm.domain.xml.value},
                    {"virt_type", vm.domain.virt_type},
                    {"cpu",
                     {{"mode", name_of(cpu.mode)},
                      {"model", cpu.model},
                      {"vendor", cpu.vendor},
                      {"checked", cpu.checked}}}};
  return json;
}

template <class T>
Json object_of(const std::map<std::string, T>& objects) {
  Json json = Json::object();
  for (const auto& [name, object] : objects) json[name] = json_of(object);
  return json;
}

Json json_of(const Configuration& config) {
  return {{"cluster", json_of(config.cluster)},
          {"fence_devices", object_of(config.fence_devices)},
          {"nodes", object_of(config.nodes)},
          {"profiles", object_of(config.profiles)},
          {"vms", object_of(config.vms)}};
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// "/vms/web1/priority" (RFC 6901) as "vms.web1.priority".
std::string dotted(const std::string& pointer) {
  std::string path;
  for (Json::json_pointer at(pointer); !at.empty(); at.pop_back()) {
    path = at.back() + (path.empty() ? "" : "." + path);
  }
  return path;
}

// [{"op": "add|remove|replace", "path", "before", "after"}], in the order of the paths.
Json changes_of(const Json& before, const Json& after) {
  Json changes = Json::array();
  for (const Json& step : Json::diff(before, after)) {
    const std::string pointer = step.at("path");
    const std::string op = step.at("op");
    Json change{{"op", op}, {"path", dotted(pointer)}};
    if (op != "add") change["before"] = before.value(Json::json_pointer(pointer), Json());
    if (op != "remove") change["after"] = step.at("value");
    changes.push_back(std::move(change));
  }
  std::stable_sort(changes.begin(), changes.end(), [](const Json& a, const Json& b) {
    return a.at("path").get_ref<const std::string&>() < b.at("path").get_ref<const std::string&>();
  });
  return changes;
}

Json json_of(const Consequence& consequence) {
  static constexpr const char* kSteps[] = {"start", "stop", "wait"};
  return {{"vm", consequence.vm},
          {"step", kSteps[static_cast<std::size_t>(consequence.step)]},
          {"node", consequence.node.empty() ? Json() : Json(consequence.node)},
          {"reason", consequence.reason}};
}

}  // namespace

std::string configuration_json(const Configuration& config) {
  Json json = json_of(config);
  json["version"] = config.version.value;
  return dump(json);
}

std::string review_json(const Configuration& before, const ConfigurationReview& review) {
  Json findings = Json::array();
  for (const Finding& finding : review.judged.findings) {
    findings.push_back({{"path", finding.path},
                        {"message", finding.message},
                        {"severity", finding.severity == Severity::error ? "error" : "warning"}});
  }
  Json through = Json::array();
  for (const auto& [vm, profile] : review.through_profile) {
    through.push_back({{"vm", vm}, {"profile", profile}});
  }
  Json consequences = Json::array();
  for (const auto& consequence : review.consequences) consequences.push_back(json_of(consequence));
  return dump({{"version", before.version.value},
               {"findings", findings},
               {"changes", changes_of(json_of(before), json_of(review.judged.next))},
               {"through_profile", through},
               {"consequences", consequences},
               {"reserve", review.reserve ? Json::parse(to_json(*review.reserve)) : Json(nullptr)},
               {"brake", review.brake}});
}

}  // namespace clusterd
