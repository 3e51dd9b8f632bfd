// What operators change: declarations, orders, their word about the dead and about old states.
#include <algorithm>

#include "clusterd/engine/admission.h"
#include "clusterd/engine/apply_detail.h"
#include "clusterd/engine/review.h"
#include "clusterd/model/check.h"
#include "clusterd/model/merge.h"

namespace clusterd::apply_detail {
namespace {

std::string refuse_vm_delete(const ClusterState& state, const std::string& name) {
  const auto declared = state.config.vms.find(name);
  if (declared == state.config.vms.end()) return "there is no VM " + name;
  const auto vm = state.vms.find(declared->second.domain.uuid);
  if (vm == state.vms.end()) return {};
  if (vm->second.operation) return name + " has an operation under way: wait for it";
  for (const auto& [host, sighting] : vm->second.holders) {
    if (in_view(state, host)) {
      return name + " is on " + node_name(state, host.node) + ": `clusterctl vm stop " + name +
             "` first, or `clusterctl vm disable " + name + "` to leave it alone";
    }
  }
  return {};
}

// R25: configuration never removes evidence.
std::string refuse_node_delete(const ClusterState& state, const std::string& name) {
  if (!state.config.nodes.contains(name)) return "there is no node " + name;
  const auto id = node_by_name(state, name);
  if (!id) return {};
  if (member_of(state, *id) != nullptr || state.view.ring_only.contains(*id)) {
    return name + " is in the cluster: stop its daemon and Corosync first";
  }
  const NodeState& node = state.nodes.at(*id);
  const bool dead = node.boot == BootId{} || node.dead.contains(node.boot);
  if (!dead) return name + " is not proven dead: `clusterctl node confirm-dead " + name + "`";
  return {};
}

Configuration with_deletions(Configuration config, const ChangeConfiguration& body) {
  for (const auto& name : body.delete_vms) config.vms.erase(name);
  for (const auto& name : body.delete_nodes) config.nodes.erase(name);
  for (const auto& name : body.delete_fence_devices) config.fence_devices.erase(name);
  std::set<Digest> used;
  for (const auto& [name, vm] : config.vms) used.insert(vm.domain.xml);
  std::erase_if(config.domain_xml, [&](const auto& xml) { return !used.contains(xml.first); });
  return config;
}

void adopt_declaration(ClusterState& state, const std::string& name,
                       const VmDeclaration& declaration) {
  const VmId id = declaration.domain.uuid;
  const bool is_new = !state.vms.contains(id);
  VmState& vm = state.vms[id];
  const ResolvedVm policy = resolve(state.config, declaration);
  vm.name = name;
  vm.size = policy.size;
  vm.tombstone = false;
  if (is_new) {
    vm.declared = policy.state;
    vm.eligible_since = state.time;
    for (const auto& [node, member] : state.view.members) vm.awaiting.insert({node, member.boot});
    return;
  }
  // Three-way: an order stands until the file's own word changes.
  if (policy.state != vm.declared) {
    vm.declared = policy.state;
    vm.ordered.reset();
    vm.guest_off = false;
  }
}

// Every VM of the state that no declaration names any more becomes a tombstone, or goes.
void bury_undeclared(ClusterState& state) {
  std::set<VmId> declared;
  for (const auto& [name, vm] : state.config.vms) declared.insert(vm.domain.uuid);
  for (auto vm = state.vms.begin(); vm != state.vms.end();) {
    const bool gone = !declared.contains(vm->first);
    if (gone) vm->second.tombstone = true;
    vm = gone && vm->second.holders.empty() ? state.vms.erase(vm) : std::next(vm);
  }
}

// What the cluster's own knowledge says against it, beyond the configuration itself.
std::vector<Finding> against(const ClusterState& state, const ChangeConfiguration& body) {
  std::vector<Finding> findings;
  const auto add = [&](const std::string& path, const std::string& message) {
    if (!message.empty()) findings.push_back({path, message, Severity::error});
  };
  for (const auto& name : body.delete_vms) add("vms." + name, refuse_vm_delete(state, name));
  for (const auto& name : body.delete_nodes) add("nodes." + name, refuse_node_delete(state, name));
  for (const auto& name : body.delete_fence_devices) {
    if (!state.config.fence_devices.contains(name)) {
      add("fence_devices." + name, "there is no fence device " + name);
    }
  }
  for (const auto& [digest, xml] : body.upsert.domain_xml) {
    if (digest_of(xml) != digest) add("vms", "a domain's XML does not match its digest");
  }
  if (body.upsert.cluster && !body.upsert.cluster->name.empty() &&
      body.upsert.cluster->name != state.name) {
    add("cluster.name", "this cluster was founded as " + state.name + "; names do not change");
  }
  std::string known;
  for (const auto& [id, node] : state.nodes) known += (known.empty() ? "" : ", ") + node.name;
  for (const auto& [name, node] : body.upsert.nodes) {
    if (node_by_name(state, name)) continue;
    add("nodes." + name, "no such node in corosync.conf; it has " + known);
  }
  return findings;
}

void adopt(ClusterState& state, Configuration config) {
  state.config = std::move(config);
  for (const auto& [name, vm] : state.config.vms) adopt_declaration(state, name, vm);
  bury_undeclared(state);
}

bool hinders(const Finding& finding) {
  return finding.severity == Severity::error;
}

// What the reserve says against it.
void ask_admission(const ClusterState& state, Judged& judged) {
  const auto concern = concerns_reserve(state.config, judged.next);
  if (!concern) return;
  const auto objection = objection_to(state, adopted(state, judged.next), state.time);
  if (!objection) return;
  const Severity severity = objection->hinders ? Severity::error : Severity::warning;
  judged.findings.push_back({*concern, objection->text, severity});
  if (!objection->hinders) judged.alarm = *concern + ": " + objection->text;
}

}  // namespace

}  // namespace clusterd::apply_detail

namespace clusterd {

ClusterState adopted(const ClusterState& state, const Configuration& config) {
  ClusterState after = state;
  apply_detail::adopt(after, config);
  for (auto& [id, vm] : after.vms) {
    if (!state.vms.contains(id)) vm.awaiting.clear();
  }
  return after;
}

Judged judge(const ClusterState& state, const ChangeConfiguration& body) {
  Judged judged{apply_detail::against(state, body),
                apply_detail::with_deletions(merge(state.config, body.upsert), body)};
  if (state.cluster == ClusterId{}) {
    judged.findings = {{"", "no cluster is founded: `clusterctl init NAME`", Severity::error}};
    return judged;
  }
  judged.next.cluster.name = state.name;
  judged.next.version = state.config.version.next();
  for (Finding& finding : check(judged.next)) judged.findings.push_back(std::move(finding));
  const auto& findings = judged.findings;
  if (std::any_of(findings.begin(), findings.end(), apply_detail::hinders)) return judged;
  apply_detail::ask_admission(state, judged);
  return judged;
}

}  // namespace clusterd

namespace clusterd::apply_detail {

std::string on(Entry& entry, const ChangeConfiguration& body) {
  ClusterState& state = entry.state;
  if (state.cluster != ClusterId{} && body.base != state.config.version) {
    return "the stored configuration changed meanwhile (version " +
           std::to_string(state.config.version.value) + ", this change was made for " +
           std::to_string(body.base.value) + "): apply again";
  }
  Judged judged = judge(state, body);
  for (const Finding& finding : judged.findings) {
    if (!hinders(finding)) continue;
    return (finding.path.empty() ? "" : finding.path + ": ") + finding.message;
  }
  adopt(state, std::move(judged.next));
  record(state, EventKind::configuration, entry.sender, std::nullopt,
         "configuration version " + std::to_string(state.config.version.value));
  if (!judged.alarm.empty()) {
    record(state, EventKind::alarm, std::nullopt, std::nullopt, judged.alarm);
  }
  demand_durable(state);
  return {};
}

namespace {

std::string_view name_of(VmOrderKind order) {
  switch (order) {
    case VmOrderKind::start:
      return "start";
    case VmOrderKind::stop:
      return "stop";
    case VmOrderKind::restart:
      return "restart";
    case VmOrderKind::enable:
      return "enable";
    case VmOrderKind::disable:
      return "disable";
  }
  return {};
}

void obey(VmState& vm, VmOrderKind order, ClusterTime now) {
  switch (order) {
    case VmOrderKind::start:
      vm.ordered = DesiredState::running;
      break;
    case VmOrderKind::stop:
      vm.ordered = DesiredState::stopped;
      break;
    case VmOrderKind::restart:
      vm.restart_ordered = active_on(vm).has_value();
      break;
    case VmOrderKind::enable:
      vm.ordered.reset();
      if (vm.declared == DesiredState::ignored) vm.ordered = DesiredState::running;
      break;
    case VmOrderKind::disable:
      vm.ordered = DesiredState::ignored;
      break;
  }
  vm.guest_off = false;
  vm.failures = FailureRecord{};
  vm.stops_failed = 0;
  vm.next_stop = ClusterTime{};
  vm.eligible_since = now;
}

// Only an order that makes it a VM to run is new demand; whoever repeats one asks for nothing new.
std::optional<Objection> objection_to_order(const ClusterState& state, const OrderVm& body) {
  if (should_run(state.vms.at(body.vm))) return std::nullopt;
  VmState wanted = state.vms.at(body.vm);
  obey(wanted, body.order, state.time);
  if (!should_run(wanted)) return std::nullopt;
  ClusterState after = state;
  after.vms.at(body.vm) = std::move(wanted);
  return objection_to(state, after, state.time);
}

}  // namespace

std::string on(Entry& entry, const OrderVm& body) {
  ClusterState& state = entry.state;
  const auto found = state.vms.find(body.vm);
  if (found == state.vms.end() || found->second.tombstone) return "no such VM";
  VmState& vm = found->second;
  if (body.order == VmOrderKind::restart && desired(vm) != DesiredState::running) {
    return vm.name + " is not wanted running";
  }
  const auto objection = objection_to_order(state, body);
  if (objection && objection->hinders) return vm.name + ": " + objection->text;
  obey(vm, body.order, state.time);
  record(state, EventKind::order, std::nullopt, body.vm,
         "order: " + std::string(name_of(body.order)) + " " + vm.name);
  if (objection) {
    entry.note = vm.name + ": " + objection->text;
    record(state, EventKind::alarm, std::nullopt, body.vm, entry.note);
  }
  demand_durable(state);
  return {};
}

namespace {

// How many VMs run on this host, as far as anybody knows.
std::size_t active_vms(const ClusterState& state, const Host& host) {
  return static_cast<std::size_t>(
      std::count_if(state.vms.begin(), state.vms.end(), [&](const auto& entry) {
        const auto holder = entry.second.holders.find(host);
        return holder != entry.second.holders.end() && is_active(holder->second.state);
      }));
}

// A host that is alive is only switched off by somebody who says that he knows it.
std::string order_fence_alive(ClusterState& state, NodeState& node, const OrderNode& body) {
  const std::string name = node_name(state, body.host.node);
  const std::size_t vms = active_vms(state, body.host);
  if (!body.force) {
    return name + " is alive in the ring, and " + std::to_string(vms) +
           (vms == 1 ? " VM runs" : " VMs run") +
           " there: with --force it is switched off all the same";
  }
  if (node.boot != body.host.boot) return name + " has another boot now: look again";
  const NodeDeclaration* declaration = node_declaration(state, body.host.node);
  if (declaration == nullptr || declaration->fencing.empty()) return name + " has no fence device";
  const bool somebody = std::any_of(
      state.view.members.begin(), state.view.members.end(), [&](const auto& member) {
        return member.first != body.host.node && member.second.phase == MemberPhase::synced;
      });
  if (!somebody) return "no other node could fence " + name + ": nobody fences himself";
  node.fence_ordered = body.host.boot;
  record(state, EventKind::order, body.host.node, std::nullopt,
         "order: fence " + name + ", although it is alive");
  demand_durable(state);
  return {};
}

std::string order_fence(ClusterState& state, NodeState& node, const OrderNode& body) {
  const std::string name = node_name(state, body.host.node);
  if (in_view(state, body.host) || state.view.ring_only.contains(body.host.node)) {
    return order_fence_alive(state, node, body);
  }
  if (!node.loss || node.loss->boot != body.host.boot) return name + " is not lost";
  node.loss->ordered = true;
  node.loss->held = false;
  node.loss->next_attempt = state.time;
  record(state, EventKind::order, body.host.node, std::nullopt, "order: fence " + name);
  demand_durable(state);
  return {};
}

// The agent that runs is killed by its executor; what it has done meanwhile proves nothing, as its
// operation is closed.
std::string order_cancel_fence(ClusterState& state, NodeState& node, const OrderNode& body) {
  const std::string name = node_name(state, body.host.node);
  const bool alive = node.fence_ordered == body.host.boot;
  if (!alive && (!node.loss || node.loss->boot != body.host.boot)) return name + " is not lost";
  node.fence_ordered.reset();
  if (node.loss) {
    node.loss->ordered = false;
    node.loss->held = true;
  }
  if (node.power && node.power->kind == PowerOpKind::fence) {
    node.power.reset();
    node.settle_until = state.time + state.config.cluster.timers.fence_settle;
  }
  record(state, EventKind::order, body.host.node, std::nullopt, "order: no fence of " + name);
  demand_durable(state);
  return {};
}

// R26: the operator's word is refused against contrary evidence.
std::string order_confirm(ClusterState& state, NodeState& node, const OrderNode& body) {
  const std::string name = node_name(state, body.host.node);
  const Member* member = member_of(state, body.host.node);
  // One that has not said Hello yet may be this very boot.
  const bool silent = member != nullptr && member->boot == BootId{};
  if (silent || in_view(state, body.host) || state.view.ring_only.contains(body.host.node)) {
    return name + " is alive in the ring";
  }
  if (node.dead.contains(body.host.boot)) return name + " is proven dead already";
  if (node.boot != body.host.boot) return name + " has another boot now: look again";
  if (node.loss && node.loss->last_reading == Power::on && !body.force) {
    return "the fence device of " + name +
           " says that it is on: switch it off, or repeat with "
           "--force if you stand in front of it and it is off";
  }
  prove_dead(state, body.host, DeathCause::operator_word, "an operator confirmed it");
  if (member != nullptr && member->boot != BootId{} && member->machine != node.machine) {
    // Another machine waits under its name: now it may come in.
    node.machine = member->machine;
    node.boot = member->boot;
    update_authority(state);
  }
  return {};
}

}  // namespace

std::string on(Entry& entry, const OrderNode& body) {
  ClusterState& state = entry.state;
  const auto found = state.nodes.find(body.host.node);
  if (found == state.nodes.end()) return "no such node";
  if (synced_member(state, entry.sender) == nullptr) return "the asked node is not synced";
  switch (body.order) {
    case NodeOrderKind::fence:
      return order_fence(state, found->second, body);
    case NodeOrderKind::confirm_dead:
      return order_confirm(state, found->second, body);
    case NodeOrderKind::cancel_fence:
      return order_cancel_fence(state, found->second, body);
  }
  return {};
}

namespace {

// R28: nothing new begins. A fence that nobody has begun yet is called off; one that has ends as it
// may, and its proof counts, but starts wait.
void disarm(ClusterState& state, const OrderCluster& body) {
  state.armed = false;
  state.disarm = Disarm{state.time, state.position.index, body.reason};
  record(state, EventKind::order, std::nullopt, std::nullopt,
         "order: disarm" + (body.reason.empty() ? "" : ": " + body.reason));
}

// Absences are judged from now on: whoever is still missing may be on the way back, so it is looked
// at first and fenced after startup_wait, as at a cold start (R19).
void arm(ClusterState& state) {
  state.armed = true;
  for (auto& [id, node] : state.nodes) {
    if (!node.loss || node.loss->ordered) continue;
    node.loss->since = state.time;
    node.loss->look_first = true;
    node.loss->last_reading = Power::unknown;
    node.loss->next_attempt = state.time;
  }
  record(state, EventKind::order, std::nullopt, std::nullopt, "order: arm");
}

}  // namespace

std::string on(Entry& entry, const OrderCluster& body) {
  ClusterState& state = entry.state;
  if (synced_member(state, entry.sender) == nullptr) return "the asked node is not synced";
  switch (body.order) {
    case ClusterOrderKind::disarm:
      if (!state.armed) return disarm_text(state);
      disarm(state, body);
      break;
    case ClusterOrderKind::arm:
      if (state.armed) return "the cluster is armed";
      arm(state);
      break;
  }
  demand_durable(state);
  return {};
}

std::string on(Entry& entry, const AcceptState& body) {
  ClusterState& state = entry.state;
  if (state.accepted) return "this state needs no word: it is trusted";
  if (synced_member(state, body.node) == nullptr) {
    return node_name(state, body.node) + " is not synced: its state is not the one in force";
  }
  for (const auto& [id, votes] : state.view.votes) {
    const NodeState& node = state.nodes[id];
    const bool dead = node.boot != BootId{} && node.dead.contains(node.boot);
    if (synced_member(state, id) == nullptr && !dead) {
      return node_name(state, id) +
             " is neither present nor proven dead: bring it back, or "
             "`clusterctl node confirm-dead " +
             node_name(state, id) + "`";
    }
  }
  state.accepted = true;
  update_authority(state);
  record(state, EventKind::order, body.node, std::nullopt,
         "an operator accepted the state of " + node_name(state, body.node));
  demand_durable(state);
  return {};
}

}  // namespace clusterd::apply_detail
