// VM entries: what hosts report, what is started and stopped, how operations end.
#include <algorithm>
#include <utility>

#include "clusterd/engine/apply_detail.h"
#include "clusterd/engine/guest_stalls.h"
#include "clusterd/engine/placement.h"

namespace clusterd::apply_detail {
namespace {

// The host that speaks, if its present daemon is a member of the active view.
std::optional<Host> speaker(const Entry& entry) {
  const Member* member = member_of(entry.state, entry.sender);
  if (member == nullptr || member->incarnation != entry.message.incarnation) return std::nullopt;
  return Host{entry.sender, member->boot};
}

VmRecovery* recovery_of(ClusterState& state, VmId id, const VmState& vm) {
  const auto record = state.failovers.find(vm.failover);
  if (record == state.failovers.end()) return nullptr;
  const auto found = record->second.vms.find(id);
  return found == record->second.vms.end() ? nullptr : &found->second;
}

void note_running(ClusterState& state, VmId id, VmState& vm, const Host& host) {
  vm.last_host = host;
  vm.guest_off = false;
  vm.failures.given_up = false;
  vm.next_cause = Cause::desired;
  record(state, EventKind::vm_running, host.node, id,
         vm.name + " runs on " + node_name(state, host.node));
  VmRecovery* recovery = recovery_of(state, id, vm);
  if (recovery != nullptr && !recovery->active) recovery->active = state.time;
}

void note_agent(ClusterState& state, VmId id, VmState& vm, const Host& host) {
  record(state, EventKind::agent_answers, host.node, id,
         "the guest agent of " + vm.name + " answers");
  VmRecovery* recovery = recovery_of(state, id, vm);
  if (recovery != nullptr && !recovery->agent) recovery->agent = state.time;
}

// Somebody else holds it too: never resolved by killing one (trace 7.5), always shouted about.
void note_unexpected(ClusterState& state, VmId id, const VmState& vm, const Host& host) {
  const auto elsewhere = active_on(vm);
  if (elsewhere && *elsewhere != host) {
    record(state, EventKind::vm_duplicate, host.node, id,
           vm.name + " is active on " + node_name(state, host.node) + " and on " +
               node_name(state, elsewhere->node) + ": stop one of them by hand");
    return;
  }
  record(state, EventKind::vm_unexpected, host.node, id,
         vm.name + " was found on " + node_name(state, host.node) + " and is adopted");
}

// The change of a verdict, for the history; a suspicion that passes is not worth a line.
void note_health(ClusterState& state, VmId id, VmState& vm, const Host& host,
                 const Sighting& before, const Sighting& after) {
  const std::string why = after.health_reason.empty() ? "" : ": " + after.health_reason;
  if (after.health == Health::unhealthy) {
    record(state, EventKind::vm_unhealthy, host.node, id, vm.name + " is unhealthy" + why);
  } else if (before.health == Health::unhealthy && after.health == Health::healthy) {
    record(state, EventKind::vm_healthy, host.node, id, vm.name + " is healthy again");
  } else if (!before.answered.empty() && after.answered.empty() &&
             after.health == Health::booting) {
    record(state, EventKind::vm_rebooted, host.node, id,
           "the guest of " + vm.name + " reboots" + why);
  }
  if (!note_stalls(state, id, host, Moment::after_a_change)) return;
  record(state, EventKind::alarm, host.node, id,
         health_brake(state, id, host, state.time).reason);
}

// `now`: what is seen; its time is that of the entry.
void see(ClusterState& state, VmId id, VmState& vm, const Host& host, Sighting now) {
  now.at = state.time;
  const bool held = vm.holders.contains(host);
  if (!held) {
    note_unexpected(state, id, vm, host);
    demand_durable(state);
  }
  Sighting& sighting = vm.holders[host];
  const bool other_health = sighting.health != now.health;
  if (other_health) note_stalls(state, id, host, Moment::before_a_change);
  const Sighting before = std::exchange(sighting, std::move(now));
  const bool was_running = before.state == DomainState::running;
  const std::string paused = before.state == sighting.state ? "" : pause_reason(sighting.state);
  if (sighting.state == DomainState::running && !was_running) note_running(state, id, vm, host);
  if (!paused.empty()) {
    record(state, EventKind::alarm, host.node, id,
           vm.name + " stands still on " + node_name(state, host.node) + ": " + paused);
  }
  if (sighting.agent && !before.agent) note_agent(state, id, vm, host);
  if (other_health) note_health(state, id, vm, host, before, sighting);
}

std::string stop_reason(StopCause cause) {
  switch (cause) {
    case StopCause::none:
      return "it was found stopped";
    case StopCause::guest_shutdown:
      return "its guest shut down";
    case StopCause::destroyed:
      return "it was destroyed by somebody else";
    case StopCause::crashed:
      return "its guest crashed";
    case StopCause::failed:
      return "its QEMU process died";
    case StopCause::migrated:
      return "it migrated away";
  }
  return {};
}

std::string gone(Entry& entry, const Host& host, const Report& body, VmState& vm) {
  ClusterState& state = entry.state;
  vm.awaiting.erase(host);
  if (!vm.holders.contains(host)) return {};
  // R7: only a look that began after the last intent may remove a holder.
  if (body.generation != vm.generation) return "stale: an intent came after this look began";
  if (vm.operation && vm.operation->executor == host) return "an operation is open there";
  const std::string name = vm.name;
  const bool wanted = should_run(vm);
  vm.last_host = host;
  if (wanted && body.cause == StopCause::guest_shutdown) {
    vm.guest_off = true;
    record(state, EventKind::vm_guest_off, host.node, body.vm,
           name + " was shut down from inside; `clusterctl vm start " + name + "` starts it");
  } else if (wanted) {
    count_failure(state, body.vm, vm, host.node, stop_reason(body.cause));
  } else {
    record(state, EventKind::vm_stopped, host.node, body.vm, name + " is stopped");
  }
  release(state, body.vm, host);
  return {};
}

// Its VMs have more memory together than overcommit.memory allows.
bool overfull(const ClusterState& state, NodeId node) {
  const NodeCapacity room = capacity_of(state, node);
  return room.memory_used > room.memory;
}

std::string check_start(const Entry& entry, const StartVm& body) {
  const ClusterState& state = entry.state;
  if (synced_member(state, entry.sender) == nullptr) return "its planner is not synced";
  if (const std::string brake = start_brake(state); !brake.empty()) return brake;
  const auto found = state.vms.find(body.vm);
  if (found == state.vms.end()) return "no such VM";
  const VmState& vm = found->second;
  if (vm.generation != body.generation) return "planned on an earlier generation";
  if (vm.operation) return "another operation is open";
  if (!should_run(vm)) return "it is not wanted running";
  const Member* member = synced_member(state, body.on.node);
  if (member == nullptr || member->boot != body.on.boot) return "the host is no synced member";
  if (!member->inventory_done) return "the host has not told its inventory yet";
  if (!holders_reported(state, vm)) return "a member has not yet said whether it runs it";
  // The start guard (R5): nobody else may be running it.
  for (const auto& [host, sighting] : vm.holders) {
    if (host != body.on) return node_name(state, host.node) + " may still run it";
  }
  if (active_on(vm)) return "it is active already";
  // S4: hard constraints hold at every start, whatever the planner believed.
  if (const auto no = refuses(state, body.vm, body.on.node, state.time)) return sentence(*no);
  return {};
}

}  // namespace

std::string on(Entry& entry, const Report& body) {
  ClusterState& state = entry.state;
  const auto host = speaker(entry);
  if (!host) return "an earlier daemon said this";
  if (is_dead(state, *host)) return "this boot is condemned";
  const auto found = state.vms.find(body.vm);
  if (found == state.vms.end()) return "no such VM";
  VmState& vm = found->second;
  if (body.state == DomainState::absent) return gone(entry, *host, body, vm);
  vm.awaiting.erase(*host);
  see(state, body.vm, vm, *host,
      Sighting{body.state, body.agent, {}, body.health, body.health_reason, body.answered});
  return {};
}

std::string on(Entry& entry, const InventoryDone& body) {
  ClusterState& state = entry.state;
  if (!speaker(entry)) return "an earlier daemon said this";
  Member& member = state.view.members.at(entry.sender);
  if (member.phase != MemberPhase::synced) return "is not synced";
  member.inventory_done = true;
  NodeState& node = state.nodes[entry.sender];
  if (node.facts.problem != body.facts.problem && !body.facts.problem.empty()) {
    record(state, EventKind::alarm, entry.sender, std::nullopt,
           node_name(state, entry.sender) + ": " + body.facts.problem);
  }
  node.facts = body.facts;
  return {};
}

std::string on(Entry& entry, const StartVm& body) {
  ClusterState& state = entry.state;
  if (std::string no = check_start(entry, body); !no.empty()) return no;
  VmState& vm = state.vms.at(body.vm);
  const Timers& timers = state.config.cluster.timers;
  vm.generation = vm.generation.next();
  vm.holders[body.on] = Sighting{};
  VmOperation operation;
  operation.id = entry.id;
  operation.kind = VmOpKind::start;
  operation.executor = body.on;
  operation.executor_incarnation = state.view.members.at(body.on.node).incarnation;
  operation.cause = body.cause;
  operation.since = state.time;
  operation.deadline = state.time + timers.start_timeout * 2;
  vm.operation = operation;
  vm.restart_ordered = false;
  record(state, EventKind::vm_starting, body.on.node, body.vm,
         vm.name + " starts on " + node_name(state, body.on.node) +
             (overfull(state, body.on.node) ? ", in degraded mode" : ""))
      .cause = body.cause;
  if (VmRecovery* recovery = recovery_of(state, body.vm, vm)) {
    if (!recovery->planned) recovery->planned = state.time;
    recovery->to = body.on.node;
  }
  demand_durable(state);  // a holder must outlive a crash of all others (docs/decisions/0005)
  return {};
}

namespace {

std::string check_unhealthy(const ClusterState& state, const StopVm& body) {
  const VmState& vm = state.vms.at(body.vm);
  if (vm.holders.at(body.on).health != Health::unhealthy) return "its guest is not unhealthy";
  if (desired(vm) != DesiredState::running) return "it is not wanted running";
  if (!heals(state, vm)) return "nothing is to be done about its health";
  return health_brake(state, body.vm, body.on, state.time).reason;
}

}  // namespace

std::string on(Entry& entry, const StopVm& body) {
  ClusterState& state = entry.state;
  if (synced_member(state, entry.sender) == nullptr) return "its planner is not synced";
  if (!state.armed) return disarm_text(state);
  const auto found = state.vms.find(body.vm);
  if (found == state.vms.end()) return "no such VM";
  VmState& vm = found->second;
  if (vm.generation != body.generation) return "planned on an earlier generation";
  if (vm.operation) return "another operation is open";
  if (!vm.holders.contains(body.on)) return "that host does not hold it";
  const Member* member = synced_member(state, body.on.node);
  if (member == nullptr || member->boot != body.on.boot) return "the host is no synced member";
  if (body.cause == Cause::unhealthy) {
    if (std::string no = check_unhealthy(state, body); !no.empty()) return no;
  }
  const bool makes_room = body.cause == Cause::preempted;
  if (makes_room && !is_preemptible(state, Relations(state.config), body.vm)) {
    return "it is not preemptible";
  }
  const Duration patience = shutdown_patience(state, vm, body.cause);
  vm.generation = vm.generation.next();
  VmOperation operation;
  operation.id = entry.id;
  operation.kind = VmOpKind::stop;
  operation.executor = body.on;
  operation.executor_incarnation = member->incarnation;
  operation.cause = body.cause;
  operation.since = state.time;
  operation.deadline = state.time + patience + state.config.cluster.timers.destroy_timeout * 2;
  vm.operation = operation;
  record(state, EventKind::vm_stopping, body.on.node, body.vm,
         vm.name + " is being stopped on " + node_name(state, body.on.node) +
             (makes_room ? " to make room" : "") +
             (body.cause == Cause::unhealthy ? ", as its guest is unhealthy" : ""));
  return {};
}

namespace {

void close_start(Entry& entry, const VmClosed& body, VmState& vm, const Host& host) {
  ClusterState& state = entry.state;
  const bool alive = body.state != DomainState::absent;
  if (alive) {
    Sighting now = vm.holders[host];
    now.state = body.state;
    see(state, body.vm, vm, host, std::move(now));
    if (VmRecovery* recovery = recovery_of(state, body.vm, vm)) {
      if (!recovery->create_returned) recovery->create_returned = state.time;
    }
    return;
  }
  count_failure(state, body.vm, vm, host.node,
                "its start failed" + (body.detail.empty() ? "" : ": " + body.detail));
  release(state, body.vm, host);
}

// It is there still. Ordered again at once, it would only fill the history.
void fail_stop(ClusterState& state, const VmClosed& body, VmState& vm, const Host& host) {
  const Timers& timers = state.config.cluster.timers;
  const Duration wait =
      backoff(timers.destroy_timeout, timers.restart_backoff_max, ++vm.stops_failed);
  vm.next_stop = state.time + wait;
  vm.failures.reason = "its stop failed" + (body.detail.empty() ? "" : ": " + body.detail);
  record(state, EventKind::alarm, host.node, body.vm,
         vm.name + " could not be stopped on " + node_name(state, host.node) + ": " + body.detail +
             "; the next try follows in " + std::to_string(wait.count() / 1000) +
             " s, or at once by `clusterctl vm stop " + vm.name + "`");
}

void close_stop(Entry& entry, const VmClosed& body, VmState& vm, const Host& host, Cause cause) {
  ClusterState& state = entry.state;
  if (body.state != DomainState::absent) {
    Sighting now = vm.holders[host];
    now.state = body.state;
    see(state, body.vm, vm, host, std::move(now));
    const bool well = vm.holders.at(host).health != Health::unhealthy;
    if (cause == Cause::unhealthy && body.outcome == Outcome::failed_without_effect && well) {
      record(state, EventKind::vm_healthy, host.node, body.vm,
             vm.name + " is not stopped: " + body.detail);
      return;
    }
    fail_stop(state, body, vm, host);
    return;
  }
  vm.last_host = host;
  if (cause == Cause::preempted) vm.next_cause = Cause::preempted;
  if (vm.restart_ordered) vm.next_cause = Cause::restart_order;
  if (cause == Cause::unhealthy && !vm.restart_ordered && should_run(vm)) {
    const auto policy = resolved(state, vm);
    const bool away = policy && policy->health.on_unhealthy == OnUnhealthy::relocate;
    count_failure(state, body.vm, vm, host.node,
                  "its guest was unhealthy: " + vm.holders[host].health_reason, away);
  } else {
    record(state, EventKind::vm_stopped, host.node, body.vm, vm.name + " is stopped");
  }
  vm.restart_ordered = false;
  note_stalls(state, body.vm, host, Moment::before_a_change);  // without this one it may look over
  release(state, body.vm, host);
}

}  // namespace

std::string on(Entry& entry, const VmClosed& body) {
  ClusterState& state = entry.state;
  const auto host = speaker(entry);
  if (!host) return "an earlier daemon said this";
  const auto found = state.vms.find(body.vm);
  if (found == state.vms.end()) return "no such VM";
  VmState& vm = found->second;
  if (!vm.operation || vm.operation->id != body.op) return "that operation is closed";
  if (vm.operation->executor != *host) return "another host executes it";
  if (body.outcome == Outcome::unknown) {
    vm.operation->unknown = true;
    vm.operation->detail = body.detail;
    return {};
  }
  const VmOpKind kind = vm.operation->kind;
  const Cause cause = vm.operation->cause;
  vm.operation.reset();
  vm.awaiting.erase(*host);
  if (kind == VmOpKind::start) close_start(entry, body, vm, *host);
  if (kind == VmOpKind::stop) close_stop(entry, body, vm, *host, cause);
  return {};
}

void release(ClusterState& state, VmId id, const Host& host) {
  const auto found = state.vms.find(id);
  if (found == state.vms.end()) return;
  found->second.holders.erase(host);
  found->second.eligible_since = state.time;
  found->second.stops_failed = 0;
  found->second.next_stop = ClusterTime{};
  if (found->second.tombstone && found->second.holders.empty()) state.vms.erase(found);
}

void count_failure(ClusterState& state, VmId id, VmState& vm, NodeId node, std::string reason,
                   bool away) {
  const Timers& timers = state.config.cluster.timers;
  const auto policy = resolved(state, vm);
  const RestartPolicy restart = policy ? policy->restart : RestartPolicy{};
  FailureRecord& failures = vm.failures;
  const auto expired = [&](ClusterTime at) { return state.time - at > restart.window; };
  std::erase_if(failures.recent, expired);
  std::erase_if(failures.avoid_until,
                [&](const auto& avoid) { return avoid.second <= state.time; });
  if (failures.recent.empty() && failures.avoid_until.empty()) {
    failures.relocations = 0;
    failures.backoff = 0;
  }
  failures.recent.push_back(state.time);
  failures.reason = reason;

  std::string next;
  if (failures.recent.size() <= restart.attempts && !away) {
    // The first restart comes at once; later ones wait, twice as long each time.
    Duration delay{0};
    for (std::uint32_t i = 0; i < failures.backoff; ++i) {
      delay = std::min(delay.count() == 0 ? timers.restart_backoff : delay * 2,
                       timers.restart_backoff_max);
    }
    ++failures.backoff;
    failures.next_try = state.time + delay;
    vm.next_cause = Cause::restart_in_place;
    next = "it is restarted";
  } else if (failures.relocations < restart.relocations) {
    ++failures.relocations;
    failures.recent.clear();
    failures.avoid_until[node] = state.time + restart.window;
    failures.next_try = state.time;
    vm.next_cause = Cause::relocation;
    next = "it is tried on another node";
  } else {
    failures.given_up = true;
    failures.next_try = state.time + timers.failed_retry;
    vm.next_cause = Cause::desired;
    next = "it has failed too often and is tried again slowly; `clusterctl vm start " + vm.name +
           "` tries at once";
  }
  record(state, EventKind::vm_failed, node, id,
         vm.name + " failed on " + node_name(state, node) + ": " + reason + "; " + next);
}

}  // namespace clusterd::apply_detail
