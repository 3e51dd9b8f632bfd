#include <arpa/inet.h>

#include <algorithm>

#include "clusterd/config/read_sections.h"
#include "clusterd/model/limits.h"

namespace clusterd {
namespace {

constexpr Duration kShortest{100};
constexpr Duration kNoWait{0};

std::optional<Duration> wait(const YamlValue& v, Duration least) {
  return v.duration(least, limits::kDuration);
}

Preference read_preference(const YamlValue& value) {
  Preference prefer;
  if (!value.is_map()) {
    set(prefer.nodes, value.name_list());
    return prefer;
  }
  value.keys(
      {{"nodes", [&](const YamlValue& v) { set(prefer.nodes, v.name_list()); }},
       {"away_from", [&](const YamlValue& v) { set(prefer.away_from, v.name_set()); }},
       {"together_with", [&](const YamlValue& v) { set(prefer.together_with, v.name_set()); }}});
  return prefer;
}

PlacementRules read_placement(const YamlValue& value) {
  PlacementRules rules;
  value.keys(
      {{"allow", [&](const YamlValue& v) { set(rules.allow, v.name_set()); }},
       {"avoid", [&](const YamlValue& v) { set(rules.avoid, v.name_set()); }},
       {"away_from", [&](const YamlValue& v) { set(rules.away_from, v.name_set()); }},
       {"together_with", [&](const YamlValue& v) { set(rules.together_with, v.name_set()); }},
       {"prefer", [&](const YamlValue& v) { rules.prefer = read_preference(v); }}});
  return rules;
}

RestartPolicy read_restart(const YamlValue& value) {
  RestartPolicy restart;
  value.keys({{"attempts",
               [&](const YamlValue& v) { set(restart.attempts, v.number(0, limits::kTries)); }},
              {"window", [&](const YamlValue& v) { set(restart.window, wait(v, kShortest)); }},
              {"relocations", [&](const YamlValue& v) {
                 set(restart.relocations, v.number(0, limits::kTries));
               }}});
  return restart;
}

// The keys that the guest agent's check and every probe have.
template <class Check>
YamlValue::Keys check_keys(Check& check) {
  return {
      {"interval", [&](const YamlValue& v) { set(check.interval, wait(v, Duration(1000))); }},
      {"timeout", [&](const YamlValue& v) { set(check.timeout, wait(v, kShortest)); }},
      {"failures", [&](const YamlValue& v) { set(check.failures, v.number(1, limits::kTries)); }}};
}

// `preset`: how often is asked, and how many failures in a row are too many.
struct Pace {
  Duration interval{10000};
  Duration timeout{5000};
  std::uint32_t failures = 3;
};
constexpr Pace kFast{Duration(3000), Duration(2000), 3};
constexpr Pace kNormal{};
constexpr Pace kRelaxed{Duration(30000), Duration(10000), 5};

template <class Check>
void set_pace(Check& check, const Pace& pace) {
  check.interval = pace.interval;
  check.timeout = pace.timeout;
  check.failures = pace.failures;
}

GuestAgentCheck read_guest_agent(const YamlValue& value, const Pace& pace) {
  GuestAgentCheck check;
  set_pace(check, pace);
  auto keys = check_keys(check);
  keys.emplace("required", [&](const YamlValue& v) { set(check.required, v.boolean()); });
  value.keys(keys);
  return check;
}

// A program and its arguments; no shell.
YamlValue::Visit command_of(std::vector<std::string>& into) {
  return [&into](const YamlValue& v) {
    v.items([&](const YamlValue& word) {
      const auto text = word.text(limits::kDetail);
      if (text) into.push_back(*text);
    });
  };
}

Probe read_probe(const YamlValue& value, const Pace& pace) {
  Probe probe;
  set_pace(probe, pace);
  int kinds = 0;
  const auto kind = [&](ProbeKind is, YamlValue::Keys keys) {
    return [&probe, &kinds, is, keys = std::move(keys)](const YamlValue& v) {
      ++kinds;
      probe.kind = is;
      v.keys(keys);
    };
  };
  const YamlValue::Visit port = [&](const YamlValue& v) { set(probe.port, v.number(1, 65535)); };
  auto keys = check_keys(probe);
  keys.emplace("name", [&](const YamlValue& v) { set(probe.name, v.name()); });
  keys.emplace("tcp", kind(ProbeKind::tcp, {{"port", port}}));
  keys.emplace(
      "http",
      kind(ProbeKind::http,
           {{"port", port},
            {"path",
             [&](const YamlValue& v) {
               set(probe.path, v.text(limits::kDetail));
               if (!probe.path.empty() && probe.path.front() != '/') v.error("must begin with /");
             }},
            {"expect", [&](const YamlValue& v) { set(probe.expect, v.number(100, 599)); }},
            {"body", [&](const YamlValue& v) { set(probe.body, v.text(limits::kDetail)); }}}));
  keys.emplace("heartbeat", kind(ProbeKind::heartbeat, {{"port", port}}));
  keys.emplace("exec", kind(ProbeKind::exec, {{"command", command_of(probe.command)}}));
  keys.emplace("script", kind(ProbeKind::script, {{"command", command_of(probe.command)}}));
  keys.emplace("required", [&](const YamlValue& v) { set(probe.required, v.boolean()); });
  if (!value.keys(keys)) return probe;
  if (probe.name.empty() && !value.has("name")) value.error("a probe needs a name");
  if (kinds != 1) {
    value.error("a probe has one of tcp, http, exec, script, heartbeat");
    return probe;
  }
  const bool runs = probe.kind == ProbeKind::exec || probe.kind == ProbeKind::script;
  if (runs && probe.command.empty()) value.error("a command is needed");
  if (runs && !probe.command.empty() && !probe.command.front().starts_with('/')) {
    value.error("the command must begin with the full path of a program");
  }
  if (!runs && probe.port == 0) value.error("a port is needed");
  return probe;
}

void read_repair(const YamlValue& value, HealthPolicy& health) {
  value.keys({{"command", command_of(health.repair)}, {"timeout", [&](const YamlValue& v) {
                 set(health.repair_timeout, wait(v, kShortest));
               }}});
  if (health.repair.empty()) {
    value.error("a command is needed");
  } else if (!health.repair.front().starts_with('/')) {
    value.error("the command must begin with the full path of a program");
  }
}

bool is_address(const std::string& text) {
  in6_addr any{};
  return inet_pton(AF_INET, text.c_str(), &any) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &any) == 1;
}

HealthPolicy read_health(const YamlValue& value) {
  HealthPolicy health;
  Pace pace;
  // Read when the preset is known, wherever it stands.
  std::optional<YamlValue> agent;
  std::optional<YamlValue> probes;
  value.keys(
      {{"boot_grace", [&](const YamlValue& v) { set(health.boot_grace, wait(v, kNoWait)); }},
       {"preset",
        [&](const YamlValue& v) {
          set(pace, v.word<Pace>({{"fast", kFast}, {"normal", kNormal}, {"relaxed", kRelaxed}}));
        }},
       {"address",
        [&](const YamlValue& v) {
          set(health.address, v.text(limits::kName));
          if (!health.address.empty() && !is_address(health.address)) {
            v.error("'" + health.address + "' is no IP address");
            health.address.clear();
          }
        }},
       {"repair", [&](const YamlValue& v) { read_repair(v, health); }},
       {"guest_agent", [&](const YamlValue& v) { agent = v; }},
       {"probes", [&](const YamlValue& v) { probes = v; }},
       {"on_unhealthy", [&](const YamlValue& v) {
          set(health.on_unhealthy, v.word<OnUnhealthy>({{"restart", OnUnhealthy::restart},
                                                        {"relocate", OnUnhealthy::relocate},
                                                        {"alert", OnUnhealthy::alert}}));
        }}});
  if (agent) health.guest_agent = read_guest_agent(*agent, pace);
  if (probes) {
    probes->items([&](const YamlValue& item) {
      Probe probe = read_probe(item, pace);
      const bool twice = std::any_of(health.probes.begin(), health.probes.end(),
                                     [&](const Probe& other) { return other.name == probe.name; });
      if (twice && !probe.name.empty()) item.error("a second probe named " + probe.name);
      health.probes.push_back(std::move(probe));
    });
  }
  return health;
}

void add_placement_keys(YamlValue::Keys& keys, VmPolicy& policy) {
  keys.emplace("requires", [&](const YamlValue& v) { set(policy.requires_, v.name_set()); });
  keys.emplace("placement", [&](const YamlValue& v) { policy.placement = read_placement(v); });
  keys.emplace("start_after", [&](const YamlValue& v) { set(policy.start_after, v.name_set()); });
  keys.emplace("preemptible", [&](const YamlValue& v) { set(policy.preemptible, v.boolean()); });
  keys.emplace("memory", [&](const YamlValue& v) {
    set(policy.memory, v.size(1ULL << 20, limits::kMemory));
  });
  keys.emplace("vcpus",
               [&](const YamlValue& v) { set(policy.vcpus, v.number(1, limits::kVcpus)); });
}

}  // namespace

YamlValue::Keys policy_keys(VmPolicy& policy) {
  YamlValue::Keys keys{
      {"priority", [&](const YamlValue& v) { set(policy.priority, v.number(0, 1'000'000)); }},
      {"state",
       [&](const YamlValue& v) {
         set(policy.state, v.word<DesiredState>({{"running", DesiredState::running},
                                                 {"stopped", DesiredState::stopped},
                                                 {"ignored", DesiredState::ignored}}));
       }},
      {"failback",
       [&](const YamlValue& v) {
         set(policy.failback,
             v.word<Failback>({{"never", Failback::never}, {"auto", Failback::automatic}}));
       }},
      {"restart", [&](const YamlValue& v) { policy.restart = read_restart(v); }},
      {"shutdown_timeout",
       [&](const YamlValue& v) { set(policy.shutdown_timeout, wait(v, kShortest)); }},
      {"migration",
       [&](const YamlValue& v) {
         set(policy.migration, v.word<MigrationPolicy>({{"live", MigrationPolicy::live},
                                                        {"never", MigrationPolicy::never}}));
       }},
      {"health", [&](const YamlValue& v) { policy.health = read_health(v); }},
      {"rto", [&](const YamlValue& v) { set(policy.rto, wait(v, kShortest)); }}};
  add_placement_keys(keys, policy);
  return keys;
}

}  // namespace clusterd
