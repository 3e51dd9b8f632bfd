#include "clusterd/config/read_sections.h"
#include "clusterd/model/limits.h"

namespace clusterd {
namespace {

using std::chrono::milliseconds;

// Waiting may be forbidden (0), a deadline may not: everything would be late.
constexpr Duration kNoWait{0};
constexpr Duration kShortest{100};

YamlValue::Visit time_of(Duration& into, Duration least) {
  return [&into, least](const YamlValue& v) { set(into, v.duration(least, limits::kDuration)); };
}

YamlValue::Visit count_of(std::uint32_t& into, std::uint32_t least, std::uint32_t most) {
  return [&into, least, most](const YamlValue& v) { set(into, v.number(least, most)); };
}

// null: no limit
YamlValue::Visit limit_of(std::optional<std::uint32_t>& into) {
  return [&into](const YamlValue& v) {
    if (v.is_null()) {
      into.reset();
    } else {
      set(into, v.number(1, limits::kElements));
    }
  };
}

void read_timers(const YamlValue& value, Timers& t) {
  value.keys({{"hello_timeout", time_of(t.hello_timeout, kShortest)},
              {"ack_timeout", time_of(t.ack_timeout, kShortest)},
              {"start_timeout", time_of(t.start_timeout, kShortest)},
              {"destroy_timeout", time_of(t.destroy_timeout, kShortest)},
              {"restart_backoff", time_of(t.restart_backoff, kNoWait)},
              {"restart_backoff_max", time_of(t.restart_backoff_max, kNoWait)},
              {"failed_retry", time_of(t.failed_retry, kShortest)},
              {"fence_retries", count_of(t.fence_retries, 0, limits::kTries)},
              {"fence_backoff", time_of(t.fence_backoff, kNoWait)},
              {"fence_backoff_max", time_of(t.fence_backoff_max, kNoWait)},
              {"fence_settle", time_of(t.fence_settle, kNoWait)},
              {"leave_grace", time_of(t.leave_grace, kNoWait)},
              {"calibration_interval", time_of(t.calibration_interval, milliseconds(10000))},
              {"start_after_timeout", time_of(t.start_after_timeout, kNoWait)},
              {"preempt_timeout", time_of(t.preempt_timeout, kNoWait)},
              {"unhealthy_timeout", time_of(t.unhealthy_timeout, kNoWait)}});
}

void read_overcommit(const YamlValue& value, Overcommit& overcommit) {
  const auto factor = [](std::uint32_t& into) {
    return [&into](const YamlValue& v) { set(into, v.thousandths(limits::kFactor)); };
  };
  value.keys({{"memory", factor(overcommit.memory)},
              {"vcpus", factor(overcommit.vcpus)},
              {"degraded_memory", factor(overcommit.degraded_memory)}});
}

void read_fencing_settings(const YamlValue& value, ClusterSettings& settings) {
  value.keys(
      {{"min_healthy", [&](const YamlValue& v) { set(settings.min_healthy_percent, v.percent()); }},
       {"startup_wait", time_of(settings.startup_wait, kNoWait)},
       {"per_hour", limit_of(settings.fences_per_hour)},
       {"priority_delay", time_of(settings.priority_delay, kNoWait)},
       {"after_fence", [&](const YamlValue& v) {
          set(settings.after_fence, v.word<AfterFence>({{"power_on", AfterFence::power_on},
                                                        {"stay_off", AfterFence::stay_off}}));
        }}});
}

std::map<std::string, std::string> read_texts(const YamlValue& value) {
  std::map<std::string, std::string> texts;
  value.entries([&](const std::string& name, const YamlValue& v) {
    if (const auto text = v.text(limits::kName)) texts.emplace(name, *text);
  });
  return texts;
}

Resources read_resources(const YamlValue& value) {
  Resources resources;
  value.keys(
      {{"memory",
        [&](const YamlValue& v) { set(resources.memory, v.size(0, limits::kMemory)); }},
       {"vcpus", count_of(resources.vcpus, 0, limits::kVcpus)}});
  return resources;
}

// Half a capacity would mean that the other half is nothing.
void read_capacity(const YamlValue& value, std::optional<Resources>& capacity) {
  const Resources read = read_resources(value);
  if (value.is_map() && !(value.has("memory") && value.has("vcpus"))) {
    value.error("needs both memory and vcpus");
  }
  if (read.memory != 0 && read.vcpus != 0) capacity = read;
}

}  // namespace

ClusterSettings read_cluster(const YamlValue& value) {
  ClusterSettings s;
  value.keys(
      {{"name", [&](const YamlValue& v) { set(s.name, v.name()); }},
       {"reserve",
        [&](const YamlValue& v) {
          v.keys({{"host_failures", count_of(s.reserve_host_failures, 0, limits::kNodes)}});
        }},
       {"admission",
        [&](const YamlValue& v) {
          set(s.admission,
              v.word<Admission>({{"enforce", Admission::enforce}, {"warn", Admission::warn}}));
        }},
       {"on_quorum_loss",
        [&](const YamlValue& v) {
          set(s.on_quorum_loss, v.word<OnQuorumLoss>({{"freeze", OnQuorumLoss::freeze},
                                                      {"self_fence", OnQuorumLoss::self_fence}}));
        }},
       {"on_daemon_death",
        [&](const YamlValue& v) {
          set(s.on_daemon_death, v.word<OnDaemonDeath>({{"alarm", OnDaemonDeath::alarm},
                                                        {"fence", OnDaemonDeath::fence}}));
        }},
       {"overcommit", [&](const YamlValue& v) { read_overcommit(v, s.overcommit); }},
       {"limits",
        [&](const YamlValue& v) {
          v.keys({{"parallel_starts_per_node", limit_of(s.parallel_starts_per_node)},
                  {"parallel_migrations_per_node", limit_of(s.parallel_migrations_per_node)}});
        }},
       {"fencing", [&](const YamlValue& v) { read_fencing_settings(v, s); }},
       {"timers", [&](const YamlValue& v) { read_timers(v, s.timers); }}});
  return s;
}

FenceDevice read_fence_device(const YamlValue& value) {
  FenceDevice device;
  const bool is_map =
      value.keys({{"agent", [&](const YamlValue& v) { set(device.agent, v.name()); }},
                  {"options", [&](const YamlValue& v) { device.options = read_texts(v); }},
                  {"secrets",
                   [&](const YamlValue& v) {
                     v.entries([&](const std::string& name, const YamlValue& file) {
                       const auto path = file.text(limits::kDetail);
                       if (!path) return;
                       if (path->front() != '/')
                         file.error("must be an absolute path of a file on the nodes");
                       device.secrets.emplace(name, *path);
                     });
                   }},
                  {"timeout", time_of(device.timeout, kShortest)}});
  if (is_map && device.agent.empty() && !value.has("agent")) {
    value.error("has no agent, e.g. fence_ipmilan");
  }
  return device;
}

NodeDeclaration read_node(const YamlValue& value) {
  NodeDeclaration node;
  if (value.is_null()) return node;
  value.keys(
      {{"role",
        [&](const YamlValue& v) {
          set(node.role,
              v.word<NodeRole>({{"worker", NodeRole::worker}, {"backup", NodeRole::backup}}));
        }},
       {"provides", [&](const YamlValue& v) { set(node.provides, v.name_set()); }},
       {"labels", [&](const YamlValue& v) { node.labels = read_texts(v); }},
       {"host_reserved", [&](const YamlValue& v) { node.host_reserved = read_resources(v); }},
       {"capacity", [&](const YamlValue& v) { read_capacity(v, node.capacity); }},
       {"exclusive", [&](const YamlValue& v) { set(node.exclusive, v.boolean()); }},
       {"fencing", [&](const YamlValue& v) {
          v.items([&](const YamlValue& level) {
            const auto devices = level.name_list();
            if (!devices) return;
            if (devices->empty()) level.error("a level without devices proves nothing");
            node.fencing.push_back(*devices);
          });
        }}});
  return node;
}

}  // namespace clusterd
