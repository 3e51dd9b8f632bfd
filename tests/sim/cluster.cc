#include "tests/sim/cluster.h"

#include <algorithm>
#include <set>
#include <utility>

#include "clusterd/engine/health.h"
#include "clusterd/engine/queries.h"

namespace clusterd::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

SimCluster::SimCluster(SimOptions options)
    : options_(std::move(options)),
      env_(options_.seed),
      network_(env_, options_.network),
      checkers_(std::make_unique<Checkers>(
          env_, [this](NodeId id) { return standing(id); },
          [this](NodeId a, NodeId b) { return network_.together_for(a, b); })),
      devices_(env_, [this](NodeId id, bool on) { power(id, on); }) {
  env_.trace.keep(options_.trace_lines);
  env_.trace.echo(options_.echo);
  env_.world.observe(*checkers_);
  SimNode::Hooks hooks;
  hooks.applied = [this](SimNode& node) {
    checkers_->on_applied(node.id(), node.process(), node.state());
    if (options_.trace_lines > 0) tell_history(node.state());
  };
  hooks.exited = [this](SimNode&, int, const std::string&) { checkers_->count_exit(); };
  hooks.misspoke = [this](SimNode& node) {
    checkers_->fail("L2", name_of(node.id()) + " would send what every member refuses");
  };
  hooks.replied = [this](ClientId client, const ControlReply& reply) {
    env_.trace.say([&] {
      return "client  " + std::to_string(client.value) + " is answered " +
             std::to_string(static_cast<int>(reply.code)) + " " + reply.message;
    });
    if (reply.more) return;
    replies_[client] = reply;
    asked_.erase(client);
  };
  for (std::uint32_t number = 1; number <= options_.nodes; ++number) {
    SimHost& host = env_.world.add(NodeId(number), MachineId{env_.uuid()});
    network_.add(host);
    devices_.add("bmc-" + name_of(host.id), host.id);
    for (const std::string& outlet : outlets_of(name_of(host.id))) {
      devices_.add(outlet, host.id, true);
    }
    nodes_[host.id] =
        std::make_unique<SimNode>(env_, host, network_, devices_, *checkers_, options_.node, hooks);
    nodes_[host.id]->hypervisor().facts().never_sleeps = options_.node.never_sleeps;
  }
}

SimCluster::~SimCluster() = default;

Standing SimCluster::standing(NodeId id) const {
  const SimNode& node = *nodes_.at(id);
  Standing standing;
  standing.known = node.running();
  if (!standing.known) return standing;
  standing.responsive_for = node.responsive_for();
  standing.local = node.local();
  standing.state = &node.state();
  const auto told = network_.told(id);
  standing.told_quorate = told.quorate;
  standing.told_for = env_.queue.now() - told.since;
  return standing;
}

// What the cluster says of itself, once, as the first member knows it; where histories part, what
// each of them says.
void SimCluster::tell_history(const ClusterState& state) {
  const auto told = [this](const auto& entry) {
    return history_.contains({entry.first, entry.second.text});
  };
  auto event = state.history.end();
  while (event != state.history.begin() && !told(*std::prev(event))) --event;
  for (; event != state.history.end(); ++event) {
    history_.emplace(event->first, event->second.text);
    env_.trace.say([&] { return "history " + event->second.text; });
  }
}

std::vector<std::string> SimCluster::outlets_of(const std::string& node) const {
  if (!options_.outlets) return {};
  return {"pdu-a-" + node, "pdu-b-" + node};
}

void SimCluster::power(NodeId id, bool on) {
  SimNode& target = node(id);
  env_.trace.say([&] { return "bmc     " + name_of(id) + (on ? " on" : " off"); });
  if (on) {
    target.power_on();
  } else {
    target.power_off();
  }
}

// ---- the operator --------------------------------------------------------------------------

Declarations SimCluster::declarations() const {
  Declarations all;
  ClusterSettings settings;
  settings.name = "sim";
  settings.reserve_host_failures = options_.reserve;
  settings.admission = options_.admission;
  settings.fences_per_hour = options_.fences_per_hour;
  settings.startup_wait = Duration(60000);
  settings.timers.failed_retry = Duration(60000);
  settings.timers.leave_grace = Duration(60000);
  settings.timers.restart_backoff_max = Duration(30000);
  settings.timers.start_after_timeout = Duration(30000);
  settings.overcommit.degraded_memory = options_.degraded_memory;
  all.cluster = settings;
  const std::uint32_t workers = options_.nodes - std::min(options_.backups, options_.nodes - 1);
  for (std::uint32_t number = 1; number <= options_.nodes; ++number) {
    const std::string name = name_of(NodeId(number));
    all.fence_devices["bmc-" + name].agent = "fence_sim";
    all.nodes[name].role = number > workers ? NodeRole::backup : NodeRole::worker;
    all.nodes[name].fencing = {{"bmc-" + name}};
    const std::vector<std::string> outlets = outlets_of(name);
    for (const std::string& outlet : outlets) all.fence_devices[outlet].agent = "fence_sim";
    if (!outlets.empty()) all.nodes[name].fencing.push_back(outlets);
  }
  for (std::uint32_t number = 1; number <= options_.vms; ++number) {
    auto [vm, xml] = new_vm(number);
    PlacementRules placement;
    placement.prefer.nodes = {name_of(NodeId((number - 1) % workers + 1))};
    vm.policy.placement = placement;
    all.vms[name_of(vm_id(number))] = vm;
    all.domain_xml[vm.domain.xml] = xml;
  }
  if (options_.adjust) options_.adjust(all);
  return all;
}

// Said once, before anything is declared; operators of the simulator change none of this.
void SimCluster::set_hard_rules() {
  HardRules rules;
  const Declarations all = declarations();
  rules.host_memory = options_.node.size.total.memory;
  rules.degraded_memory = rules.host_memory * all.cluster->overcommit.degraded_memory / 1000;
  for (const auto& [name, vm] : all.vms) {
    rules.memory[vm.domain.uuid] = vm.domain.size.memory;
    if (vm.policy.preemptible.value_or(false)) rules.preemptible.insert(vm.domain.uuid);
    if (!vm.policy.placement) continue;
    for (const std::string& enemy : vm.policy.placement->away_from) {
      rules.away_from[vm.domain.uuid].insert(all.vms.at(enemy).domain.uuid);
      rules.away_from[all.vms.at(enemy).domain.uuid].insert(vm.domain.uuid);
    }
  }
  checkers_->set_rules(std::move(rules));
}

std::pair<VmDeclaration, std::string> SimCluster::new_vm(std::uint32_t number) const {
  const std::string xml = "<domain><name>" + name_of(vm_id(number)) + "</name></domain>";
  VmDeclaration vm;
  vm.domain.uuid = vm_id(number);
  vm.domain.xml = digest_of(xml);
  vm.domain.size = options_.vm_size;
  vm.policy.shutdown_timeout = Duration(3000);
  return {vm, xml};
}

void SimCluster::power_on_all() {
  for (auto& [id, host] : nodes_) host->power_on();
}

std::string SimCluster::found() {
  power_on_all();
  const auto together = [this] {
    return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
      return node.second->running() && node.second->local().in_view && node.second->local().quorate;
    });
  };
  if (!run_until(together, seconds(120))) return "the nodes did not find each other";
  run_for(seconds(5));
  const ControlReply init = ask(NodeId(1), InitCluster{"sim"});
  if (init.code != ReplyCode::done) return "init: " + init.message;
  const auto active = [this] { return active_nodes().size() == nodes_.size(); };
  if (!run_until(active, seconds(30))) return "the founded cluster is not active on every node";
  // Every host tells what it has before anything is placed, or preferences meet empty nodes.
  run_for(seconds(3));
  ApplyConfiguration apply;
  apply.base = node(1).state().config.version;
  apply.upsert = declarations();
  set_hard_rules();
  ControlReply applied = ask(NodeId(1), apply);
  const bool for_reserve = applied.message.find("would lose the reserve") != std::string::npos;
  if (options_.warns_if_refused && for_reserve) {
    options_.admission = Admission::warn;
    apply.upsert = declarations();
    applied = ask(NodeId(1), apply);
  }
  if (applied.code != ReplyCode::done) return "apply: " + applied.message;
  if (!settle(seconds(180))) return "not settled: " + unsettled();
  return "";
}

ClientId SimCluster::send(NodeId id, ControlRequest what) {
  const ClientId client(next_client_++);
  asked_[client] = {id, node(id).process()};
  node(id).request(client, std::move(what));
  return client;
}

const ControlReply* SimCluster::reply_to(ClientId client) const {
  const auto found = replies_.find(client);
  return found == replies_.end() ? nullptr : &found->second;
}

ControlReply SimCluster::ask(NodeId id, ControlRequest what, SimTime limit) {
  const ClientId client = send(id, std::move(what));
  run_until([&] { return reply_to(client) != nullptr; }, limit);
  if (const ControlReply* reply = reply_to(client)) return *reply;
  return ControlReply{ReplyCode::unknown, "no answer in time", "", false};
}

std::string SimCluster::unanswered() const {
  std::string names;
  for (const auto& [client, asked] : asked_) {
    // Who was connected to a daemon that is gone knows that he has no answer.
    if (nodes_.at(asked.first)->process() != asked.second || asked.second == 0) continue;
    names += (names.empty() ? "client " : ", ") + std::to_string(client.value);
  }
  return names;
}

// ---- time ----------------------------------------------------------------------------------

void SimCluster::run_for(SimTime span) {
  const SimTime limit = env_.queue.now() + span;
  while (!violated() && env_.queue.step(limit)) {
  }
  if (!violated()) env_.queue.advance_to(limit);
}

bool SimCluster::run_until(const std::function<bool()>& what, SimTime limit) {
  const SimTime end = env_.queue.now() + limit;
  while (!violated()) {
    if (what()) return true;
    if (env_.queue.now() >= end) return false;
    run_for(std::min(SimTime(milliseconds(20)), end - env_.queue.now()));
  }
  return false;
}

bool SimCluster::settle(SimTime limit) {
  const SimTime end = env_.queue.now() + limit;
  while (!violated() && env_.queue.now() < end) {
    if (unsettled().empty()) return true;
    run_for(milliseconds(250));
  }
  return !violated() && unsettled().empty();
}

// ---- faults --------------------------------------------------------------------------------

SimDevice& SimCluster::device(std::uint32_t number) {
  return devices_.device("bmc-" + name_of(NodeId(number)));
}

void SimCluster::pull_cord(std::uint32_t number) {
  device(number).answers = false;
  node(number).power_off();
}

void SimCluster::plug_cord(std::uint32_t number) {
  device(number).answers = true;
  devices_.plug_in(NodeId(number));
}

void SimCluster::power_back(std::uint32_t number) {
  plug_cord(number);
  node(number).power_on();
}

void SimCluster::partition(const std::vector<std::vector<std::uint32_t>>& sides) {
  std::map<NodeId, int> of;
  int side = 0;
  for (const auto& members : sides) {
    ++side;
    for (const std::uint32_t number : members) of[NodeId(number)] = side;
  }
  env_.trace.say([&] {
    std::string line = "net     partition";
    for (const auto& [id, number] : of) line += " " + name_of(id) + ":" + std::to_string(number);
    return line;
  });
  network_.partition(of);
}

// ---- the truth -----------------------------------------------------------------------------

std::vector<std::uint32_t> SimCluster::vms_of(std::uint32_t number) const {
  std::vector<std::uint32_t> found;
  for (std::uint32_t vm = 1; vm <= options_.vms; ++vm) {
    if (env_.world.hosts().at(NodeId(number)).active(vm_id(vm))) found.push_back(vm);
  }
  return found;
}

bool SimCluster::all_run() const {
  for (std::uint32_t vm = 1; vm <= options_.vms; ++vm) {
    if (active_on(vm).size() != 1) return false;
  }
  return true;
}

std::vector<NodeId> SimCluster::active_nodes() const {
  std::vector<NodeId> found;
  for (const auto& [id, node] : nodes_) {
    if (!node->responsive()) continue;
    const LocalView local = node->local();
    const bool established = node->state().view.authority == Authority::established;
    if (local.active && local.quorate && established) found.push_back(id);
  }
  return found;
}

const SimNode* SimCluster::authority() const {
  const SimNode* best = nullptr;
  for (const NodeId id : active_nodes()) {
    const SimNode* node = nodes_.at(id).get();
    if (best == nullptr || best->state().position.index < node->state().position.index) {
      best = node;
    }
  }
  return best;
}

std::string SimCluster::unsettled() const {
  for (const auto& [id, node] : nodes_) {
    if (!node->host().powered) return name_of(id) + " is off";
    if (!node->responsive()) return name_of(id) + " does not respond";
    const LocalView local = node->local();
    if (!local.active || !local.quorate) return name_of(id) + " is not active: " + local.waiting;
  }
  const SimNode* best = authority();
  if (best == nullptr) return "nobody has authority";
  const ClusterState& state = best->state();
  for (const auto& [id, node] : nodes_) {
    const auto member = state.view.members.find(id);
    if (member == state.view.members.end()) return name_of(id) + " is no member";
    if (member->second.phase != MemberPhase::synced) return name_of(id) + " is not synced";
    if (node->state().position.chain != state.position.chain) return name_of(id) + " lags";
  }
  for (const auto& [id, node] : state.nodes) {
    if (node.loss) return name_of(id) + " counts as lost";
    // A device may be asked at any time; only a question that nobody answers is a fault.
    const bool asking = node.power && node.power->kind == PowerOpKind::read_power &&
                        state.time - node.power->since < Duration(60000);
    if (node.power && !asking) return "an operation on the power of " + name_of(id) + " is open";
  }
  if (!state.accepted) return "an operator must accept the state";
  for (const auto& [id, vm] : state.vms) {
    if (vm.operation) return name_of(id) + " has an open operation";
    const bool wanted =
        vm.ordered.value_or(vm.declared) == DesiredState::running && !vm.guest_off && !vm.tombstone;
    const std::size_t copies = env_.world.active_on(id).size();
    if (wanted && copies == 0) return name_of(id) + " does not run: " + vm.failures.reason;
    // One that was deleted is nobody's any more: it may run on.
    const bool unwanted =
        !vm.tombstone && vm.ordered.value_or(vm.declared) == DesiredState::stopped;
    if (unwanted && copies != 0) return name_of(id) + " runs";
    if (copies != vm.holders.size()) return name_of(id) + " is not where the state says";
    if (wanted) {
      if (std::string unwell = unwell_guest(state, id, vm); !unwell.empty()) return unwell;
    }
  }
  return "";
}

// What its checks can notice, and the cluster must heal, is not healed yet.
std::string SimCluster::unwell_guest(const ClusterState& state, VmId id, const VmState& vm) const {
  const auto policy = resolved(state, vm);
  if (!policy || !has_checks(policy->health)) return "";
  if (policy->health.on_unhealthy == OnUnhealthy::alert) return "";
  for (const auto& [holder, sighting] : vm.holders) {
    const SimDomain& guest = env_.world.hosts().at(holder.node).domains.at(id);
    const bool unnoticed = (guest.hung && !sighting.answered.empty()) ||
                           (guest.app_dead && sighting.answered.contains("app"));
    if (unnoticed) return "the guest of " + name_of(id) + " is in trouble";
    if (sighting.health == Health::booting) return "the guest of " + name_of(id) + " boots";
    if (sighting.health == Health::suspect || sighting.health == Health::unhealthy) {
      return "the guest of " + name_of(id) + " is unwell: " + sighting.health_reason;
    }
  }
  return "";
}

std::string SimCluster::trace() const {
  std::string text;
  for (const std::string& line : env_.trace.lines()) text += line + "\n";
  return text;
}

std::string SimCluster::describe() const {
  std::string text;
  for (const auto& [id, node] : nodes_) {
    text += name_of(id) + ": ";
    if (!node->host().powered) {
      text += "off\n";
      continue;
    }
    if (!node->running()) {
      text += "no daemon\n";
      continue;
    }
    const LocalView local = node->local();
    const Position& at = node->state().position;
    text += std::string(node->responsive() ? "" : "frozen, ") +
            (local.quorate ? "quorate, " : "not quorate, ") + (local.active ? "active" : "idle") +
            (local.coordinator ? ", coordinator" : "") + ", at " + std::to_string(at.epoch.value) +
            "." + std::to_string(at.index.value) +
            (local.waiting.empty() ? "" : ", " + local.waiting) + "\n";
  }
  const SimNode* best = authority();
  if (best == nullptr) return text + "nobody has authority\n";
  for (const auto& [id, vm] : best->state().vms) {
    text += name_of(id) + ":";
    for (const auto& [host, sighting] : vm.holders) text += " held by " + name_of(host.node);
    for (const NodeId on : env_.world.active_on(id)) text += " active on " + name_of(on);
    if (vm.operation) text += " operation " + vm.operation->id.str();
    if (!vm.failures.reason.empty()) text += " (" + vm.failures.reason + ")";
    text += "\n";
  }
  return text;
}

}  // namespace clusterd::sim
