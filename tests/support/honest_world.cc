#include "tests/support/honest_world.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "clusterd/codec/record.h"
#include "clusterd/model/event.h"
#include "tests/support/cluster_builder.h"
#include "tests/support/random_value.h"

namespace clusterd::test {
namespace {

constexpr std::uint64_t kVms = 6;
const std::string kXml = "<domain/>";

std::string node_of(std::uint64_t n) {
  return "n" + std::to_string(n);
}
std::string vm_of(std::uint64_t n) {
  return "v" + std::to_string(n);
}

BootId boot_of(NodeId id, std::uint64_t nth) {
  return {numbered_uuid(4, (std::uint64_t{id.value} << 32) + nth)};
}

VmDeclaration declaration_of(Prng& prng, std::uint64_t number, std::uint64_t nodes) {
  VmDeclaration vm;
  vm.domain.uuid = VmId{numbered_uuid(3, number)};
  vm.domain.xml = digest_of(kXml);
  vm.domain.size = {gib(1 + prng.below(8)), 1};
  if (prng.chance(100)) vm.policy.state = DesiredState::stopped;
  if (prng.chance(50)) vm.policy.state = DesiredState::ignored;
  if (prng.chance(300))
    vm.policy.restart = RestartPolicy{static_cast<std::uint32_t>(prng.below(3))};
  if (prng.chance(200)) {
    vm.policy.placement.emplace();
    vm.policy.placement->avoid = {node_of(1 + prng.below(nodes))};
  }
  return vm;
}

template <class Map>
auto any_of(Prng& prng, Map& map) {
  return std::next(map.begin(), static_cast<std::ptrdiff_t>(prng.below(map.size())));
}

}  // namespace

HonestWorld::HonestWorld(std::uint64_t seed) : prng_(seed) {
  build();
}

void HonestWorld::build() {
  ClusterBuilder cluster;
  const std::uint64_t nodes = 2 + prng_.below(4);
  for (std::uint64_t n = 1; n <= nodes; ++n) {
    cluster.node(node_of(n), {.memory = gib(20)});
    const std::string bmc = "bmc-" + node_of(n);
    cluster.state().config.fence_devices[bmc].agent = "fence_test";
    cluster.node_declaration(node_of(n)).fencing = {{bmc}};
    Machine& machine = machines_[NodeId(static_cast<std::uint32_t>(n))];
    machine.miswired = prng_.chance(80);
    cluster.node_state(node_of(n)).facts.never_sleeps = prng_.chance(800);
  }
  cluster.state().view.wait_for_all = prng_.chance(700);
  cluster.state().config.domain_xml[digest_of(kXml)] = kXml;
  for (std::uint64_t v = 1; v <= kVms / 2; ++v) {
    cluster.vm(vm_of(v));
    cluster.declaration(vm_of(v)) = declaration_of(prng_, v, nodes);
    if (prng_.chance(400)) continue;
    const std::uint64_t n = 1 + prng_.below(nodes);
    cluster.run(vm_of(v), node_of(n));
    machines_.at(NodeId(static_cast<std::uint32_t>(n))).running.insert(cluster.vm_id(vm_of(v)));
  }
  state_ = cluster.build();
}

// ---- what is asked of it ---------------------------------------------------------------------

LogEntry HonestWorld::next() {
  upset_hosts();
  let_hosts_act();
  let_host_speak(any_node());
  let_host_speak(any_node());
  std::optional<Said> said;
  const std::uint64_t kind = prng_.below(100);
  if (kind < 65) said = take_from_an_outbox();
  if (kind >= 65 && kind < 67) said = new_view();
  if (kind >= 67 && kind < 74) said = membership();
  if (kind >= 74 && kind < 78) said = order();
  if (kind >= 78 && kind < 81) said = configure();
  if (kind >= 81 && kind < 84) said = nonsense();
  if (!said) said = plan();
  const std::string bytes = encode(said->message);
  return LogEntry{said->sender, said->message, record_digest(said->sender, bytes)};
}

std::string HonestWorld::deliver(const LogEntry& entry) {
  std::string refusal = apply(state_, entry).refusal;
  const OpId id{state_.position.epoch, state_.position.index};
  for (const auto& [vm_id, vm] : state_.vms) {
    if (!vm.operation || vm.operation->id != id || has_ended(vm.operation->executor)) continue;
    machines_.at(vm.operation->executor.node).vm_tasks[id] = VmTask{vm_id, vm.operation->kind, {}};
  }
  for (const auto& [node_id, node] : state_.nodes) {
    if (!node.power || node.power->id != id || has_ended(node.power->executor)) continue;
    machines_.at(node.power->executor.node).power_tasks[id] = PowerTask{node.power->kind, node_id};
  }
  if (std::holds_alternative<Leave>(entry.message.body) && refusal.empty()) {
    machines_.at(entry.sender).daemon = false;
    machines_.at(entry.sender).outbox.clear();
  }
  return refusal;
}

std::string HonestWorld::runs_twice() const {
  std::map<VmId, NodeId> where;
  for (const auto& [id, machine] : machines_) {
    for (const VmId& vm : machine.running) {
      const auto [first, alone] = where.emplace(vm, id);
      if (!alone) {
        return vm.str() + " runs on node " + std::to_string(first->second.value) + " and on node " +
               std::to_string(id.value);
      }
    }
  }
  return {};
}

std::string HonestWorld::runs_unheld() const {
  for (const auto& [id, machine] : machines_) {
    for (const VmId& vm : machine.running) {
      const auto known = state_.vms.find(vm);
      if (known == state_.vms.end() || !known->second.holders.contains(host(id))) {
        return vm.str() + " runs on node " + std::to_string(id.value) + ", which does not hold it";
      }
    }
  }
  return {};
}

bool HonestWorld::has_ended(const Host& host_asked) const {
  const auto machine = machines_.find(host_asked.node);
  return machine == machines_.end() || !machine->second.powered ||
         host(host_asked.node) != host_asked;
}

// ---- hosts -----------------------------------------------------------------------------------

void HonestWorld::switch_off(NodeId id) {
  Machine& machine = machines_.at(id);
  machine.powered = false;
  machine.running.clear();
  machine.vm_tasks.clear();
  machine.power_tasks.clear();
  machine.outbox.clear();
}

void HonestWorld::switch_on(NodeId id) {
  Machine& machine = machines_.at(id);
  if (machine.powered) return;
  machine.powered = machine.reachable = machine.daemon = true;
  ++machine.boots;
  ++machine.daemons;
}

void HonestWorld::upset_hosts() {
  const bool all_restart = prng_.chance(4);
  const bool heal = !state_.accepted && prng_.chance(50);
  for (auto& [id, machine] : machines_) {
    if (heal) switch_on(id);
    if (heal) machine.reachable = machine.daemon = true;
    if (!all_restart) continue;
    ++machine.daemons;
    machine.outbox.clear();
  }
  if (!prng_.chance(20)) return;
  const NodeId id = any_node();
  Machine& machine = machines_.at(id);
  switch (prng_.below(8)) {
    case 0:
      machine.reachable = false;
      break;
    case 1:
    case 2:
      machine.reachable = true;
      break;
    case 3:
      switch_off(id);
      break;
    case 4:
    case 5:
      switch_on(id);
      break;
    case 6:
      machine.daemon = !machine.daemon;
      [[fallthrough]];
    default:
      ++machine.daemons;
      machine.outbox.clear();
      break;
  }
}

void HonestWorld::let_hosts_act() {
  Machine& machine = machines_.at(any_node());
  if (!machine.running.empty() && prng_.chance(30)) {
    machine.running.erase(any_of(prng_, machine.running));
  }
  for (const auto& [op, task] : machine.vm_tasks) {
    if (task.closing || !prng_.chance(300)) continue;
    if (task.kind == VmOpKind::start) machine.running.insert(task.vm);
    if (task.kind == VmOpKind::stop) machine.running.erase(task.vm);
  }
  if (!machine.power_tasks.empty() && prng_.chance(100)) {
    // A copy, since a host may switch off the one that asks.
    PowerTask late = any_of(prng_, machine.power_tasks)->second;
    static_cast<void>(use_device(late));
  }
}

std::optional<Power> HonestWorld::use_device(const PowerTask& task) {
  const bool miswired = machines_.at(task.target).miswired;
  if (prng_.chance(200)) return std::nullopt;
  if (miswired) return Power::off;
  if (task.kind == PowerOpKind::fence) switch_off(task.target);
  if (task.kind == PowerOpKind::power_on) switch_on(task.target);
  return machines_.at(task.target).powered ? Power::on : Power::off;
}

void HonestWorld::let_host_speak(NodeId id) {
  Machine& machine = machines_.at(id);
  const auto member = state_.view.members.find(id);
  const bool follows = machine.powered && machine.reachable && machine.daemon &&
                       member != state_.view.members.end() &&
                       member->second.phase == MemberPhase::synced &&
                       member->second.incarnation == incarnation(id);
  constexpr std::size_t kSaidEnough = 2;  // what is said must have a chance to arrive
  if (!follows || machine.outbox.size() >= kSaidEnough) return;
  switch (prng_.below(4)) {
    case 0:
      if (const auto vm = any_vm()) look(id, *vm);
      break;
    case 1:
      end_vm_task(id);
      break;
    case 2:
      end_power_task(id);
      break;
    default:
      if (member->second.inventory_done && prng_.chance(900)) return;
      for (const auto& [vm, ignored] : state_.vms) look(id, vm);
      machine.outbox.push_back(
          say(id, InventoryDone{{.total = {gib(20), 32},
                                 .cpu_model = "EPYC",
                                 .problem = prng_.chance(100) ? "libvirt" : "",
                                 .never_sleeps = prng_.chance(800)}})
              .message);
      break;
  }
}

void HonestWorld::look(NodeId id, const VmId& vm) {
  Machine& machine = machines_.at(id);
  Report report{vm, state_.vms.at(vm).generation, DomainState::absent, StopCause::none, false};
  if (report.generation.value > 0 && prng_.chance(200)) --report.generation.value;
  if (machine.running.contains(vm)) {
    report.state = RandomValue(prng_, 0).make<DomainState>();
    if (report.state == DomainState::absent) report.state = DomainState::running;
    report.agent = prng_.chance(500);
    report.health = RandomValue(prng_, 0).make<Health>();
    if (report.health != Health::none) report.health_reason = "as checks have it";
    if (prng_.chance(500)) report.answered.insert(kAgentCheck);
  } else {
    report.cause = RandomValue(prng_, 0).make<StopCause>();
  }
  machine.outbox.push_back(say(id, report).message);
}

// What a host says of an operation it has ended stays true: it does nothing more for it.
void HonestWorld::end_vm_task(NodeId id) {
  Machine& machine = machines_.at(id);
  if (machine.vm_tasks.empty()) return;
  const auto found = any_of(prng_, machine.vm_tasks);
  auto& [op, task] = *found;
  const auto vm = state_.vms.find(task.vm);
  const bool open =
      vm != state_.vms.end() && vm->second.operation && vm->second.operation->id == op;
  if (task.closing && !open) {
    machine.vm_tasks.erase(found);
    return;
  }
  if (!task.closing && prng_.chance(150)) {
    const VmClosed unknown{op, task.vm, Outcome::unknown, DomainState::absent, "it hangs"};
    machine.outbox.push_back(say(id, unknown).message);
    return;
  }
  if (!task.closing) {
    const bool there = machine.running.contains(task.vm);
    task.closing = VmClosed{
        op, task.vm,
        there == (task.kind == VmOpKind::start) ? Outcome::done : Outcome::failed_without_effect,
        there ? DomainState::running : DomainState::absent, ""};
  }
  machine.outbox.push_back(say(id, *task.closing).message);
}

void HonestWorld::end_power_task(NodeId id) {
  Machine& machine = machines_.at(id);
  if (machine.power_tasks.empty()) return;
  const auto found = any_of(prng_, machine.power_tasks);
  const OpId op = found->first;
  const PowerTask task = found->second;
  const auto node = state_.nodes.find(task.target);
  const bool open =
      node != state_.nodes.end() && node->second.power && node->second.power->id == op;
  if (!open) {
    machine.power_tasks.erase(found);
    return;
  }
  // As long as its word has not arrived it may use the device again.
  const std::string device = "bmc-" + node_of(task.target.value);
  const std::string second = "psu-" + node_of(task.target.value);
  PowerClosed closing{op, task.target, Outcome::unknown, {{device, Power::unknown}}, {}, "silent"};
  if (task.kind == PowerOpKind::fence && prng_.chance(150)) {
    // Only one of two supplies could be switched off.
    closing.outcome = Outcome::done;
    closing.readings = {{device, Power::off}, {second, Power::on}};
    closing.level = {device, second};
  } else if (const auto reading = use_device(task)) {
    closing.outcome = Outcome::done;
    closing.readings = {{device, *reading}};
    if (*reading == Power::on) closing.readings[second] = Power::on;
    if (prng_.chance(900)) closing.level = {device};
    closing.detail = "";
  }
  if (!machine.powered) return;  // it was its own target
  machine.outbox.push_back(say(id, closing).message);
}

// ---- entries ---------------------------------------------------------------------------------

HonestWorld::Said HonestWorld::say(NodeId sender, Body body) {
  Message message;
  message.epoch = state_.position.epoch;
  if (message.epoch.value > 0 && prng_.chance(20)) --message.epoch.value;
  message.incarnation = incarnation(sender);
  message.stamp = state_.time + Duration(prng_.between(0, prng_.chance(100) ? 90000 : 500));
  message.body = std::move(body);
  return {sender, std::move(message)};
}

std::optional<HonestWorld::Said> HonestWorld::take_from_an_outbox() {
  const NodeId id = any_node();
  Machine& machine = machines_.at(id);
  const bool heard = machine.powered && machine.reachable && state_.view.members.contains(id);
  if (!heard || machine.outbox.empty()) return std::nullopt;
  Said said{id, machine.outbox.front()};
  machine.outbox.pop_front();
  return said;
}

// Who was read off twice has lost its power (R18), and who is condemned was proven dead; what is
// said of hosts that the cluster sees must be refused.
Body HonestWorld::word_of_a_death() {
  for (const auto& [id, node] : state_.nodes) {
    const std::vector<std::string> level{"bmc-" + node.name};
    if (node.loss && has_ended({id, node.loss->boot}) && prng_.chance(500)) {
      return FoundOff{{id, node.loss->boot}, level};
    }
    if (state_.view.members.contains(id) && prng_.chance(50)) return FoundOff{host(id), level};
    if (!node.dead.empty() && prng_.chance(100)) return Condemn{{id, node.dead.begin()->first}};
  }
  return Condemn{any_host()};
}

HonestWorld::Said HonestWorld::plan() {
  const NodeId sender = prng_.chance(900) ? any_synced() : any_node();
  const auto cause = RandomValue(prng_, 0).make<Cause>();
  const auto vm = any_vm();
  if (vm && prng_.chance(500)) {
    return say(sender, StartVm{*vm, any_generation(*vm), any_host(), cause});
  }
  if (vm && prng_.chance(400)) {
    const auto& holders = state_.vms.at(*vm).holders;
    const Host on = holders.empty() ? any_host() : any_of(prng_, holders)->first;
    return say(sender, StopVm{*vm, any_generation(*vm), on, cause});
  }
  if (prng_.chance(250)) return say(sender, word_of_a_death());
  OperatePower power{RandomValue(prng_, 0).make<PowerOpKind>(), any_host(), any_synced()};
  if (prng_.chance(300)) power.kind = PowerOpKind::read_power;
  for (const auto& [id, node] : state_.nodes) {
    if (state_.view.members.contains(id) && !node.power && prng_.chance(300)) {
      power = {PowerOpKind::read_power, host(id), any_synced()};
    }
    if (node.loss && !node.power && prng_.chance(500)) {
      power = {PowerOpKind::fence, {id, node.loss->boot}, any_synced()};
    }
    if (node.power_on_due && prng_.chance(500)) power.target = {id, *node.power_on_due};
  }
  return say(sender, power);
}

// An operator who says that a host is dead has looked; what he says of one that the cluster sees
// must be refused.
HonestWorld::Said HonestWorld::order() {
  const NodeId sender = any_synced();
  const auto vm = any_vm();
  if (vm && state_.accepted && prng_.chance(500)) {
    return say(sender, OrderVm{*vm, RandomValue(prng_, 0).make<VmOrderKind>(), 1});
  }
  if (prng_.chance(state_.armed ? 30 : 700)) {
    const auto order = state_.armed ? ClusterOrderKind::disarm : ClusterOrderKind::arm;
    return say(sender, OrderCluster{order, "work on the network", 1});
  }
  if (prng_.chance(state_.accepted ? 200 : 800)) return say(sender, AcceptState{any_synced(), 1});
  OrderNode order{any_host(), NodeOrderKind::fence, prng_.chance(300), 1};
  const bool seen = state_.view.members.contains(order.host.node) ||
                    state_.view.ring_only.contains(order.host.node);
  if ((has_ended(order.host) || seen) && prng_.chance(700)) {
    order.order = NodeOrderKind::confirm_dead;
  }
  return say(sender, order);
}

HonestWorld::Said HonestWorld::configure() {
  ChangeConfiguration change;
  change.base = state_.config.version;
  if (prng_.chance(150)) change.base = change.base.next();
  const std::uint64_t number = 1 + prng_.below(kVms);
  const std::string node = node_of(any_node().value);
  switch (prng_.below(6)) {
    case 0:
      change.delete_vms = {vm_of(number)};
      break;
    case 1:
      change.delete_nodes = {node};
      break;
    case 2:
      change.upsert.nodes[node].fencing = {{"bmc-" + node}};
      break;
    case 3:
      change.upsert.cluster.emplace();
      change.upsert.cluster->min_healthy_percent = static_cast<std::uint32_t>(prng_.below(101));
      change.upsert.cluster->after_fence = RandomValue(prng_, 0).make<AfterFence>();
      break;
    default:
      change.upsert.domain_xml[digest_of(kXml)] = kXml;
      change.upsert.vms[vm_of(number)] = declaration_of(prng_, number, machines_.size());
      break;
  }
  return say(any_synced(), change);
}

std::optional<HonestWorld::Said> HonestWorld::new_view() {
  Activate activate;
  std::optional<NodeId> sender;
  for (const auto& [id, machine] : machines_) {
    activate.votes[id] = 1;
    activate.names[id] = node_of(id.value);
    if (!machine.powered || !machine.reachable) continue;
    if (!machine.daemon) {
      activate.ring_only.insert(id);
      continue;
    }
    const auto before = state_.view.members.find(id);
    const bool follows = before != state_.view.members.end() &&
                         before->second.incarnation == incarnation(id) &&
                         before->second.phase == MemberPhase::synced;
    activate.members[id] =
        Member{host(id).boot, incarnation(id), MachineId{numbered_uuid(2, id.value)},
               follows ? MemberPhase::synced : MemberPhase::joining, false};
    if (follows && !sender) sender = id;
    if (!follows && prng_.chance(100)) activate.members[id] = Member{};  // silent so far
  }
  activate.cold = !sender;
  activate.trusted = sender ? state_.accepted : prng_.chance(700);
  if (!sender) {
    // All daemons are new: who has the newest state on his disk goes first, some have it too.
    for (auto& [id, member] : activate.members) {
      if (member.boot == BootId{} || (sender && prng_.chance(300))) continue;
      member.phase = MemberPhase::synced;
      if (!sender) sender = id;
    }
  }
  if (!sender) return std::nullopt;
  activate.epoch = state_.position.epoch.next();
  if (prng_.chance(100)) activate.epoch = activate.epoch.next();
  activate.wait_for_all = prng_.chance(700);
  activate.device_votes = prng_.chance(100) ? 1 : 0;
  activate.ring = state_.time;
  return say(*sender, activate);
}

HonestWorld::Said HonestWorld::membership() {
  if (state_.view.authority == Authority::entitled && prng_.chance(600)) {
    return say(any_synced(), Establish{});
  }
  const NodeId id = any_node();
  const auto member = state_.view.members.find(id);
  const bool known = member != state_.view.members.end();
  switch (prng_.below(8)) {
    case 0:
      return say(any_synced(),
                 Demote{id, known ? member->second.incarnation : Incarnation(1), "silent"});
    case 1:
      return say(id, Leave{host(id).boot, true});
    case 2:
      return say(any_synced(), Mark{prng_.next()});
    case 3:
      return say(any_synced(), Advance{});
    default:
      break;
  }
  for (const auto& [joiner, joins] : state_.view.members) {
    const bool comes = joins.phase == MemberPhase::joining && joins.boot == host(joiner).boot &&
                       joins.incarnation == incarnation(joiner) && machines_.at(joiner).powered;
    if (comes && machines_.at(joiner).daemon) return say(joiner, Synced{});
  }
  return say(id, Synced{});
}

HonestWorld::Said HonestWorld::nonsense() {
  Said said = say(any_node(), {});
  constexpr std::size_t kFirst = 4;  // an Activate is judged before apply (membership.h)
  const std::size_t kinds = std::variant_size_v<Body> - kFirst;
  RandomValue random(prng_, 0);  // what is not valid does not come as far as apply
  random.fill_alternative(said.message.body, kFirst + prng_.below(kinds));
  // Somebody else's word on an operation that is open.
  for (const auto& [id, vm] : state_.vms) {
    if (!vm.operation || vm.operation->executor.node == said.sender || !prng_.chance(200)) continue;
    said.message.body = VmClosed{vm.operation->id, id, Outcome::done, DomainState::absent, ""};
  }
  for (const auto& [id, node] : state_.nodes) {
    if (!node.power || node.power->executor.node == said.sender || !prng_.chance(200)) continue;
    const std::string device = "bmc-" + node_of(id.value);
    said.message.body =
        PowerClosed{node.power->id, id, Outcome::done, {{device, Power::off}}, {device}, "a liar"};
  }
  if (prng_.chance(300)) random.fill(said.message.incarnation);
  if (prng_.chance(300)) random.fill(said.message.stamp);
  return said;
}

// ---- names -----------------------------------------------------------------------------------

Host HonestWorld::host(NodeId id) const {
  return {id, boot_of(id, machines_.at(id).boots)};
}

Incarnation HonestWorld::incarnation(NodeId id) const {
  return Incarnation(id.value + 1000 * (machines_.at(id).daemons - 1));
}

NodeId HonestWorld::any_node() {
  return any_of(prng_, machines_)->first;
}

NodeId HonestWorld::any_synced() {
  std::vector<NodeId> synced;
  for (const auto& [id, member] : state_.view.members) {
    if (member.phase == MemberPhase::synced) synced.push_back(id);
  }
  return synced.empty() ? any_node() : synced[prng_.below(synced.size())];
}

std::optional<VmId> HonestWorld::any_vm() {
  if (state_.vms.empty()) return std::nullopt;
  return any_of(prng_, state_.vms)->first;
}

Host HonestWorld::any_host() {
  const NodeId id = any_node();
  const std::uint64_t boots = machines_.at(id).boots;
  return {id, boot_of(id, prng_.chance(900) ? boots : 1 + prng_.below(boots))};
}

Generation HonestWorld::any_generation(const VmId& vm) {
  Generation generation = state_.vms.at(vm).generation;
  if (generation.value > 0 && prng_.chance(100)) --generation.value;
  return prng_.chance(50) ? generation.next() : generation;
}

}  // namespace clusterd::test
