// How a scenario declares its cluster: words into declarations.
#include "tests/scenario/player.h"

namespace clusterd::scenario {
namespace {

using std::chrono::seconds;

Probe application_probe() {
  Probe probe;
  probe.name = "app";
  probe.port = 80;
  return probe;
}

using VmSetters = std::map<std::string, std::function<void(VmDeclaration&, const std::string&)>>;

const VmSetters& health_setters() {
  static const auto health = [](VmDeclaration& vm) -> HealthPolicy& {
    if (!vm.policy.health) vm.policy.health.emplace();
    return *vm.policy.health;
  };
  static const VmSetters kSetters = {
      // Of agent (the guest agent) and app (a probe), which are asked ...
      {"health",
       [](auto& vm, auto& v) {
         if (name_set(v).contains("agent")) health(vm).guest_agent.emplace();
         if (name_set(v).contains("app")) health(vm).probes.push_back(application_probe());
       }},
      // ... and which of them, named after that, are required.
      {"required",
       [](auto& vm, auto& v) {
         if (name_set(v).contains("agent")) health(vm).guest_agent.value().required = true;
         for (Probe& probe : health(vm).probes) probe.required = name_set(v).contains("app");
       }},
      {"boot_grace",
       [](auto& vm, auto& v) {
         health(vm).boot_grace = std::chrono::duration_cast<Duration>(span(v));
       }},
      {"repair",
       [](auto& vm, auto& v) { health(vm).repair = {v}; }},
      {"on_unhealthy",
       [](auto& vm, auto& v) {
         health(vm).on_unhealthy = v == "alert"      ? OnUnhealthy::alert
                                   : v == "relocate" ? OnUnhealthy::relocate
                                                     : OnUnhealthy::restart;
       }},
  };
  return kSetters;
}

const VmSetters& vm_setters() {
  static const auto rules = [](VmDeclaration& vm) -> PlacementRules& {
    if (!vm.policy.placement) vm.policy.placement.emplace();
    return *vm.policy.placement;
  };
  static const auto restart = [](VmDeclaration& vm) -> RestartPolicy& {
    if (!vm.policy.restart) vm.policy.restart.emplace();
    return *vm.policy.restart;
  };
  static const VmSetters kSetters = {
      {"prefer", [](auto& vm, auto& v) { rules(vm).prefer.nodes = split(v, ','); }},
      {"allow", [](auto& vm, auto& v) { rules(vm).allow = name_set(v); }},
      {"avoid", [](auto& vm, auto& v) { rules(vm).avoid = name_set(v); }},
      {"away_from", [](auto& vm, auto& v) { rules(vm).away_from = name_set(v); }},
      {"together_with", [](auto& vm, auto& v) { rules(vm).together_with = name_set(v); }},
      {"requires", [](auto& vm, auto& v) { vm.policy.requires_ = name_set(v); }},
      {"priority",
       [](auto& vm, auto& v) { vm.policy.priority = static_cast<std::uint32_t>(number(v)); }},
      {"memory", [](auto& vm, auto& v) { vm.policy.memory = gibibytes(v); }},
      {"preemptible",
       [](auto& vm, auto& v) { vm.policy.preemptible = either(v, "yes", "no"); }},
      {"start_after", [](auto& vm, auto& v) { vm.policy.start_after = name_set(v); }},
      {"machine",
       [](auto& vm, auto& v) {
         vm.domain.virt_type = "kvm";
         vm.domain.machine = v;
       }},
      {"cpu",
       [](auto& vm, auto& v) {
         vm.domain.virt_type = "kvm";
         vm.domain.cpu = {CpuMode::custom, v, "", true};
       }},
      {"profile", [](auto& vm, auto& v) { vm.profile = v; }},
      {"uuid", [](auto& vm, auto& v) { vm.domain.uuid = sim::vm_id(vm_number(v)); }},
      {"shutdown",
       [](auto& vm, auto& v) {
         vm.policy.shutdown_timeout = std::chrono::duration_cast<Duration>(span(v));
       }},
      {"window",
       [](auto& vm, auto& v) {
         restart(vm).window = std::chrono::duration_cast<Duration>(span(v));
       }},
      {"restarts",
       [](auto& vm, auto& v) { restart(vm).attempts = static_cast<std::uint32_t>(number(v)); }},
      {"relocations",
       [](auto& vm, auto& v) { restart(vm).relocations = static_cast<std::uint32_t>(number(v)); }},
      {"state",
       [](auto& vm, auto& v) {
         vm.policy.state =
             either(v, "running", "stopped") ? DesiredState::running : DesiredState::stopped;
       }},
  };
  return kSetters;
}

using NodeSetters =
    std::map<std::string, std::function<void(NodeDeclaration&, const std::string&)>>;

const NodeSetters& node_setters() {
  static const NodeSetters kSetters = {
      {"provides", [](auto& node, auto& v) { node.provides = name_set(v); }},
      {"role",
       [](auto& node, auto& v) {
         node.role = either(v, "backup", "worker") ? NodeRole::backup : NodeRole::worker;
       }},
      {"memory",
       [](auto& node, auto& v) {
         node.capacity = Resources{gibibytes(v), 32};
       }},
      {"exclusive", [](auto& node, auto& v) { node.exclusive = either(v, "true", "false"); }},
      // Levels are separated by '/', devices of one level by ','.
      {"fencing",
       [](auto& node, auto& v) {
         node.fencing.clear();
         for (const std::string& level : split(v, '/')) node.fencing.push_back(split(level, ','));
       }},
  };
  return kSetters;
}

// What the host's libvirt tells, of the same line.
using FactSetters = std::map<std::string, std::function<void(HostFacts&, const std::string&)>>;

const FactSetters& fact_setters() {
  static const FactSetters kSetters = {
      {"machines", [](auto& facts, auto& v) { facts.machines = name_set(v); }},
      {"never_sleeps", [](auto& facts, auto& v) { facts.never_sleeps = v == "1"; }},
      {"cpu_models", [](auto& facts, auto& v) { facts.cpu_models = name_set(v); }},
  };
  return kSetters;
}

using ClusterSetters =
    std::map<std::string, std::function<void(sim::SimOptions&, const std::string&)>>;

std::uint32_t count(const std::string& text) {
  return static_cast<std::uint32_t>(number(text));
}

const ClusterSetters& cluster_setters() {
  static const ClusterSetters kSetters = {
      {"nodes", [](auto& options, auto& v) { options.nodes = count(v); }},
      {"backups", [](auto& options, auto& v) { options.backups = count(v); }},
      {"vms", [](auto& options, auto& v) { options.vms = count(v); }},
      {"token", [](auto& options, auto& v) { options.network.token = span(v); }},
      {"seed", [](auto& options, auto& v) { options.seed = count(v); }},
      {"arbiter", [](auto& options, auto& v) { options.network.device_votes = count(v); }},
      {"wait_for_all",
       [](auto& options, auto& v) { options.network.wait_for_all = count(v) != 0; }},
      {"two_node", [](auto& options, auto& v) { options.network.two_node = count(v) != 0; }},
      {"reserve", [](auto& options, auto& v) { options.reserve = count(v); }},
      {"never_sleeps", [](auto& options, auto& v) { options.node.never_sleeps = count(v) != 0; }},
      {"fences_per_hour", [](auto& options, auto& v) { options.fences_per_hour = count(v); }},
      {"admission",
       [](auto& options, auto& v) {
         options.admission = either(v, "enforce", "warn") ? Admission::enforce : Admission::warn;
       }},
      {"degraded_memory", [](auto& options, auto& v) { options.degraded_memory = count(v); }},
  };
  return kSetters;
}

// `others` are the words of the same line that somebody else sets.
template <class Setters, class Declaration, class Others = Setters>
void set_all(const Setters& setters, Declaration& declaration, const Words& words,
             const Others& others = {}) {
  for (std::size_t i = 2; i < words.size(); ++i) {
    const auto [key, value] = key_and_value(words[i]);
    if (others.contains(key)) continue;
    const auto setter = setters.find(key);
    if (setter == setters.end()) throw Failure("'" + words[0] + "' has no '" + key + "'");
    setter->second(declaration, value);
  }
}

}  // namespace

void Player::add_declaring() {
  commands_["cluster"] = [this](const Words& words) {
    for (std::size_t i = 1; i < words.size(); ++i) {
      const auto [key, value] = key_and_value(words[i]);
      const auto setter = cluster_setters().find(key);
      if (setter == cluster_setters().end()) throw Failure("'cluster' has no '" + key + "'");
      setter->second(options_, value);
    }
  };
  const auto keep = [this](const Words& words) { declared_.push_back(words); };
  commands_["vm"] = keep;
  commands_["node"] = keep;
  // feed pdu-a n1: one of the outlets that power it; devices are declared like the rest.
  commands_["feed"] = keep;
  commands_["found"] = [this](const Words&) { found(); };
  commands_["boot"] = [this](const Words&) {
    make_cluster();
    for (std::uint32_t n = 1; n <= options_.nodes; ++n) cluster_->node(n).power_on();
    cluster_->run_for(seconds(30));
    begin_timeline();
  };
}

void Player::declare(Declarations& all, const Words& words) const {
  const std::string& name = word(words, 1);
  if (words[0] == "vm") {
    const auto vm = all.vms.find(name);
    if (vm == all.vms.end()) throw Failure("there is no VM " + name);
    set_all(vm_setters(), vm->second, words, health_setters());
    set_all(health_setters(), vm->second, words, vm_setters());
    if (!vm->second.profile.empty()) all.profiles[vm->second.profile];
  } else if (words[0] == "feed") {
    all.fence_devices[name].agent = "fence_sim";
  } else {
    const auto host = all.nodes.find(name);
    if (host == all.nodes.end()) throw Failure("there is no node " + name);
    set_all(node_setters(), host->second, words, fact_setters());
  }
}

void Player::make_cluster() {
  cluster_ = std::make_unique<sim::SimCluster>(options_);
  cluster_->network().on_ordered = [this](NodeId, const std::string& bytes) { ordered(bytes); };
  for (const Words& words : declared_) {
    if (words[0] == "feed") {
      cluster_->devices().add(word(words, 1), NodeId(node_number(word(words, 2))), true);
    } else if (words[0] == "node") {
      HostFacts& facts = cluster_->node(node_number(word(words, 1))).hypervisor().facts();
      set_all(fact_setters(), facts, words, node_setters());
    }
  }
}

void Player::begin_timeline() {
  told_ = cluster_->env().trace.lines().size();
  zero_ = cluster_->now();
  mark();
}

void Player::found() {
  options_.adjust = [this](Declarations& all) {
    for (const Words& words : declared_) declare(all, words);
  };
  make_cluster();
  const std::string problem = cluster_->found();
  if (problem.empty()) cluster_->run_for(seconds(40));  // agents answer, devices are calibrated
  begin_timeline();
  if (!problem.empty()) throw Failure(problem);
}

}  // namespace clusterd::scenario
