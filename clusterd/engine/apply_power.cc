// Power entries: fencing, readings, power-on, and what a death proof does.
#include <algorithm>

#include "clusterd/engine/apply_detail.h"

namespace clusterd::apply_detail {

Duration backoff(Duration first, Duration most, std::uint32_t attempts) {
  Duration delay = first;
  for (std::uint32_t i = 1; i < attempts && delay < most; ++i) delay *= 2;
  return std::min(delay, most);
}

namespace {

std::string check_target(const ClusterState& state, const OperatePower& body) {
  const NodeState& node = state.nodes.at(body.target.node);
  switch (body.kind) {
    case PowerOpKind::fence:
      if (node.fence_ordered == body.target.boot && !node.loss) {
        const bool there = in_view(state, body.target) ||
                           state.view.ring_only.contains(body.target.node);
        return there ? "" : "the target is gone already";
      }
      if (!node.loss || node.loss->boot != body.target.boot) return "the target is not lost";
      if (node.loss->ordered) return {};
      if (node.loss->held) return "an operator called its fence off";
      if (!state.armed) return disarm_text(state);
      return fence_brake(state, state.time);
    case PowerOpKind::read_power:
      if (node.boot != body.target.boot) return "the target has another boot";
      return {};
    case PowerOpKind::power_on:
      if (node.power_on_due != body.target.boot) return "nothing is to be switched on";
      return disarm_text(state);
  }
  return {};
}

// An "off" counts only from a device that read "on" while this boot was a member (R17): a device
// that is wired to another machine would otherwise prove a living host dead.
std::string uncalibrated(const NodeState& node, const std::vector<std::string>& level,
                         BootId boot) {
  for (const std::string& device : level) {
    if (!is_calibrated(node, device, boot)) {
      return device + " says off, but never said on while this boot was a member: no proof";
    }
  }
  return {};
}

// What each device of a fence did, for the history and the metrics: done only if its "off" counts.
std::map<std::string, Outcome> answers(const NodeState& node, const PowerClosed& body,
                                       BootId boot) {
  std::map<std::string, Outcome> answers;
  for (const auto& [device, reading] : body.readings) {
    Outcome& outcome = answers[device];
    switch (reading) {
      case Power::on:
        outcome = Outcome::failed_without_effect;
        break;
      case Power::off:
        outcome = is_calibrated(node, device, boot) ? Outcome::done : Outcome::unknown;
        break;
      case Power::unknown:
        outcome = body.outcome == Outcome::failed_without_effect ? Outcome::failed_without_effect
                                                                 : Outcome::unknown;
        break;
    }
  }
  return answers;
}

bool all_off(const PowerClosed& body) {
  return !body.level.empty() &&
         std::all_of(body.level.begin(), body.level.end(), [&](const std::string& device) {
           const auto reading = body.readings.find(device);
           return reading != body.readings.end() && reading->second == Power::off;
         });
}

std::string text(const std::vector<std::string>& devices) {
  std::string joined;
  for (const std::string& device : devices) joined += (joined.empty() ? "" : " + ") + device;
  return joined;
}

// A living host was to be switched off: the order is over. What its devices say proves nothing yet,
// as the boot is in the view (R16). When it falls out of the ring it is fenced as any lost host,
// which is done in a moment; a goodbye that it said counts no more.
void close_ordered(Entry& entry, const PowerClosed& body, NodeState& node, NodeId id) {
  ClusterState& state = entry.state;
  node.fence_ordered.reset();
  if (body.outcome == Outcome::done && all_off(body)) {
    if (node.departure) node.departure->deadline = state.time;
    record(state, EventKind::fence_device, id, std::nullopt,
           text(body.level) + " says off, as ordered: " + node_name(state, id) +
               " should leave the ring now");
    return;
  }
  record(state, EventKind::fence_failed, id, std::nullopt,
         "fencing " + node_name(state, id) + " failed: " +
             (body.detail.empty() ? "its fence devices did not confirm that it is off"
                                  : body.detail) +
             "; it is alive, and the order is over");
}

void close_fence(Entry& entry, const PowerClosed& body, NodeState& node, const Host& target) {
  ClusterState& state = entry.state;
  if (node.fence_ordered == target.boot && !node.loss) {
    close_ordered(entry, body, node, target.node);
    return;
  }
  if (!node.loss || node.loss->boot != target.boot) return;
  const Timers& timers = state.config.cluster.timers;
  std::string problem;
  if (body.outcome != Outcome::done || !all_off(body)) {
    problem =
        body.detail.empty() ? "its fence devices did not confirm that it is off" : body.detail;
  } else {
    problem = uncalibrated(node, body.level, target.boot);
  }
  if (problem.empty()) {
    prove_dead(state, target, DeathCause::fenced,
               text(body.level) + " says off, asked by " + node_name(state, entry.sender),
               answers(node, body, target.boot));
    return;
  }
  Loss& loss = *node.loss;
  ++loss.attempts;
  const bool says_on = std::any_of(body.readings.begin(), body.readings.end(),
                                   [](const auto& told) { return told.second == Power::on; });
  loss.last_reading = says_on ? Power::on : Power::unknown;  // R26 asks for it
  loss.last_failure = problem;
  loss.next_attempt =
      state.time + backoff(timers.fence_backoff, timers.fence_backoff_max, loss.attempts);
  node.settle_until = state.time + timers.fence_settle;
  record(state, EventKind::fence_failed, target.node, std::nullopt,
         "fencing " + node_name(state, target.node) + " failed: " + problem +
             "; its VMs stay unknown, the next attempt follows")
      .devices = answers(node, body, target.boot);
}

void close_reading(Entry& entry, const PowerClosed& body, NodeState& node, const Host& target) {
  ClusterState& state = entry.state;
  if (in_view(state, target)) {
    for (const auto& [device, reading] : body.readings) {
      Calibration& calibration = node.calibration[device];
      const bool odd = reading != Power::on &&
                       (calibration.reading != reading || calibration.boot != target.boot);
      if (odd) {
        record(state, EventKind::fence_device, target.node, std::nullopt,
               device + (reading == Power::off
                             ? " says off although " + node_name(state, target.node) + " is alive"
                             : " does not answer") +
                   ": " + node_name(state, target.node) + " could not be fenced by it");
      }
      calibration = Calibration{target.boot, reading, state.time, body.detail};
    }
    return;
  }
  if (!node.loss || node.loss->boot != target.boot) return;
  Loss& loss = *node.loss;
  ++loss.readings;
  const bool answered = body.outcome == Outcome::done;
  loss.last_reading = !answered ? Power::unknown : all_off(body) ? Power::off : Power::on;
  if (loss.last_reading == Power::unknown) loss.last_failure = body.detail;
  // Off: it is fenced at once, which costs nothing; on or unknown: look again in a while.
  loss.next_attempt =
      loss.last_reading == Power::off ? state.time : state.time + Duration(5000);
}

void close_power_on(Entry& entry, const PowerClosed& body, NodeState& node, const Host& target) {
  static constexpr std::uint32_t kAttempts = 5;
  ClusterState& state = entry.state;
  if (node.power_on_due != target.boot) return;
  const Timers& timers = state.config.cluster.timers;
  if (body.outcome == Outcome::done) {
    node.power_on_due.reset();
    record(state, EventKind::power_on, target.node, std::nullopt,
           node_name(state, target.node) + " is switched on again");
    return;
  }
  ++node.power_on_attempts;
  node.settle_until =
      state.time + backoff(timers.fence_backoff, timers.fence_backoff_max, node.power_on_attempts);
  if (node.power_on_attempts < kAttempts) return;
  node.power_on_due.reset();
  record(state, EventKind::alarm, target.node, std::nullopt,
         node_name(state, target.node) + " could not be switched on again: " + body.detail);
}

}  // namespace

std::string on(Entry& entry, const OperatePower& body) {
  ClusterState& state = entry.state;
  if (synced_member(state, entry.sender) == nullptr) return "its planner is not synced";
  const auto found = state.nodes.find(body.target.node);
  if (found == state.nodes.end()) return "no such node";
  NodeState& node = found->second;
  if (node.power) return "another power operation is open";
  if (!state.accepted) return start_brake(state);
  const Member* executor = synced_member(state, body.executor);
  if (executor == nullptr) return "the executor is no synced member";
  // Only a reading of a member may be taken by itself; nobody fences himself (R17).
  if (body.kind != PowerOpKind::read_power) {
    const bool ordered =
        body.kind == PowerOpKind::fence && node.fence_ordered == body.target.boot;
    if (in_view(state, body.target) && !ordered) return "the target is a member";
    if (body.executor == body.target.node) return "executor and target are the same";
  }
  if (std::string no = check_target(state, body); !no.empty()) return no;
  PowerOperation operation;
  operation.id = entry.id;
  operation.kind = body.kind;
  operation.target = body.target;
  operation.executor = Host{body.executor, executor->boot};
  operation.executor_incarnation = executor->incarnation;
  operation.since = state.time;
  node.power = operation;
  if (body.kind == PowerOpKind::fence) {
    record(state, EventKind::fence_started, body.target.node, std::nullopt,
           node_name(state, body.executor) + " fences " + node_name(state, body.target.node));
  }
  return {};
}

std::string on(Entry& entry, const PowerClosed& body) {
  ClusterState& state = entry.state;
  const auto found = state.nodes.find(body.target);
  if (found == state.nodes.end()) return "no such node";
  NodeState& node = found->second;
  if (!node.power || node.power->id != body.op) return "that operation is closed";
  const Member* member = member_of(state, entry.sender);
  const bool executor = member != nullptr && member->incarnation == entry.message.incarnation &&
                        node.power->executor == Host{entry.sender, member->boot};
  if (!executor) return "another host executes it";
  const PowerOperation operation = *node.power;
  node.power.reset();
  switch (operation.kind) {
    case PowerOpKind::fence:
      close_fence(entry, body, node, operation.target);
      break;
    case PowerOpKind::read_power:
      close_reading(entry, body, node, operation.target);
      break;
    case PowerOpKind::power_on:
      close_power_on(entry, body, node, operation.target);
      break;
  }
  return {};
}

// R18: no action was taken, so nothing but the readings speaks for the death: they count only of
// calibrated devices, of a host that cannot sleep, and in a view that has lost it.
std::string on(Entry& entry, const FoundOff& body) {
  ClusterState& state = entry.state;
  if (synced_member(state, entry.sender) == nullptr) return "only a synced member may say this";
  if (!state.accepted) return start_brake(state);
  const auto found = state.nodes.find(body.target.node);
  if (found == state.nodes.end()) return "no such node";
  const NodeState& node = found->second;
  if (in_view(state, body.target) || state.view.ring_only.contains(body.target.node)) {
    return "the target is alive in the ring";
  }
  if (!node.loss || node.loss->boot != body.target.boot) return "the target is not lost";
  if (!node.facts.never_sleeps) return "it may sleep: off is no proof";
  if (body.level.empty()) return "no device says so";
  const NodeDeclaration* declaration = node_declaration(state, body.target.node);
  if (declaration == nullptr || std::find(declaration->fencing.begin(), declaration->fencing.end(),
                                          body.level) == declaration->fencing.end()) {
    return "these are not the devices of one of its levels";
  }
  if (std::string no = uncalibrated(node, body.level, body.target.boot); !no.empty()) return no;
  std::map<std::string, Outcome> devices;
  for (const std::string& device : body.level) devices[device] = Outcome::done;
  prove_dead(state, body.target, DeathCause::found_off,
             text(body.level) + " said off twice before the ring knew, asked by " +
                 node_name(state, entry.sender) + ": no fence was waited for",
             std::move(devices));
  return {};
}

namespace {

void note_death_in_failover(ClusterState& state, const NodeState& node, NodeId id,
                            const std::string& detail) {
  if (!node.loss) return;
  const auto found = state.failovers.find(node.loss->failover);
  if (found == state.failovers.end()) return;
  found->second.fenced[id] = state.time;
  found->second.proof[id] = detail;
}

void release_all(ClusterState& state, const Host& host) {
  std::vector<VmId> held;
  for (auto& [id, vm] : state.vms) {
    vm.awaiting.erase(host);
    if (vm.holders.contains(host)) held.push_back(id);
  }
  for (const VmId& id : held) {
    VmState& vm = state.vms.at(id);
    if (vm.operation && vm.operation->executor == host) vm.operation.reset();
    vm.last_host = host;
    vm.next_cause = Cause::host_lost;
    // What failed on the dead host is no reason to wait now.
    vm.failures.next_try = std::min(vm.failures.next_try, state.time);
    release(state, id, host);
  }
}

// The newest are kept for `status` and history; older boots stand in no holders any more.
void forget_old_boots(NodeState& node) {
  static constexpr std::size_t kKept = 32;
  while (node.dead.size() > kKept) {
    const auto oldest =
        std::min_element(node.dead.begin(), node.dead.end(), [](const auto& a, const auto& b) {
          return a.second.at < b.second.at;
        });
    node.dead.erase(oldest);
  }
}

}  // namespace

void prove_dead(ClusterState& state, const Host& host, DeathCause cause, std::string detail,
                std::map<std::string, Outcome> devices) {
  NodeState& node = state.nodes[host.node];
  node.dead.emplace(host.boot, Death{cause, state.time, detail});
  forget_old_boots(node);
  record(state, EventKind::node_dead, host.node, std::nullopt,
         node_name(state, host.node) + " is proven dead: " + detail)
      .devices = std::move(devices);
  note_death_in_failover(state, node, host.node, detail);
  if (node.loss && node.loss->boot == host.boot) node.loss.reset();
  if (node.fence_ordered == host.boot) node.fence_ordered.reset();
  if (node.power && node.power->target == host && node.power->kind != PowerOpKind::power_on) {
    node.power.reset();
  }
  const bool we_switched_it_off = cause == DeathCause::fenced || cause == DeathCause::found_off;
  if (we_switched_it_off && state.config.cluster.after_fence == AfterFence::power_on) {
    node.power_on_due = host.boot;
    node.power_on_attempts = 0;
  }
  release_all(state, host);
  update_authority(state);
  demand_durable(state);
}

void open_failover(ClusterState& state, const std::set<NodeId>& lost, ClusterTime ring,
                   NodeId planner) {
  FailoverRecord failover;
  failover.id = state.position.epoch.value;
  while (state.failovers.contains(failover.id)) ++failover.id;
  failover.epoch = state.position.epoch;
  failover.ring = ring;
  failover.activated = state.time;
  failover.coordinator = planner;
  for (const NodeId& id : lost) {
    const NodeState& node = state.nodes.at(id);
    for (auto& [vm_id, vm] : state.vms) {
      const Host host{id, node.boot};
      if (!vm.holders.contains(host) || !should_run(vm)) continue;
      VmRecovery recovery;
      recovery.from = host;
      failover.vms.emplace(vm_id, recovery);
      failover.names.emplace(vm_id, vm.name);
      failover.fenced[id] = std::nullopt;
    }
  }
  if (failover.vms.empty()) return;
  for (const auto& [id, when] : failover.fenced) state.nodes.at(id).loss->failover = failover.id;
  for (const auto& [vm_id, recovery] : failover.vms) state.vms.at(vm_id).failover = failover.id;
  state.failovers.emplace(failover.id, std::move(failover));
  while (state.failovers.size() > kFailoverLimit) state.failovers.erase(state.failovers.begin());
}

namespace {

bool active_in_view(const ClusterState& state, const VmState& vm) {
  return std::any_of(vm.holders.begin(), vm.holders.end(), [&](const auto& holder) {
    return is_active(holder.second.state) && in_view(state, holder.first);
  });
}

}  // namespace

void settle_failovers(ClusterState& state) {
  for (auto& [id, failover] : state.failovers) {
    if (failover.done) continue;
    const bool waiting =
        std::any_of(failover.vms.begin(), failover.vms.end(), [&](const auto& entry) {
          const auto vm = state.vms.find(entry.first);
          if (vm == state.vms.end() || vm->second.failover != failover.id) return false;
          return should_run(vm->second) && !active_in_view(state, vm->second);
        });
    // A host that came back before its proof ends the failover too: nothing was moved.
    if (waiting) continue;
    failover.done = true;
    record(state, EventKind::failover_done, std::nullopt, std::nullopt,
           "failover " + std::to_string(failover.id) + " is over");
  }
}

}  // namespace clusterd::apply_detail
