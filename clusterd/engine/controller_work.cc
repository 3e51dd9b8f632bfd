// What this node does and sees: operations it executes, reports, inventory, and planning.
#include <algorithm>

#include "clusterd/engine/controller_impl.h"

namespace clusterd {
namespace {

constexpr Duration kListAgain{2000};
constexpr Duration kLookDelayMost{30000};
constexpr std::size_t kRemembered = 4096;  // operations that this daemon has carried out

}  // namespace

// ---- executing -------------------------------------------------------------------------------

// R1: an intent is carried out only when every synced member has applied it and has made durable
// what it rests on; epoch and quorum are checked at this very moment.
void Controller::Impl::dispatch() {
  if (!may_act()) return;
  for (const auto& [id, vm] : state.vms) dispatch_vm(id, vm);
  for (const auto& [id, node] : state.nodes) dispatch_power(id, node);
}

// False if this daemon has carried it out before: it then took over an older state, in which the
// operation is still open (S2).
bool Controller::Impl::first_time(const OpId& op) {
  if (!carried_out.insert(op).second) return false;
  if (carried_out.size() > kRemembered) carried_out.erase(carried_out.begin());
  return true;
}

void Controller::Impl::dispatch_vm(const VmId& id, const VmState& vm) {
  if (!vm.operation || vm.operation->executor != self_host()) return;
  const VmOperation& operation = *vm.operation;
  if (vm_operations.contains(operation.id)) return;
  if (!stable(operation.id.index) || !durable_everywhere(state.durable_floor)) return;
  // A majority that has never heard of it could wake beside a restricted view (R8, seed 1618). What
  // counted before a disarm is carried out (R28).
  if (operation.kind == VmOpKind::start && !view_brake(state).empty()) return;
  const bool for_health = operation.cause == Cause::unhealthy;
  const auto look = seen.find(id);
  if (for_health && look == seen.end()) return;  // a new daemon, which knows nothing of it yet
  LocalVmOperation& local = vm_operations[operation.id];
  local.vm = id;
  const bool first = first_time(operation.id);
  if (first && for_health && !unwell(id, look->second)) {
    local.ended = true;
    local.closing = VmClosed{operation.id, id, Outcome::failed_without_effect,
                             DomainState::running, "its guest is healthy again"};
    return;
  }
  if (first && operation.kind == VmOpKind::stop) {
    const Duration patience = shutdown_patience(state, vm, operation.cause);
    effects.push_back(DispatchStop{operation.id, id, patience, timers().destroy_timeout,
                                   operation.cause});
    return;
  }
  const VmDeclaration* declaration = vm_declaration(state, vm);
  const bool ours = operation.executor_incarnation == self.incarnation;
  const bool alone = std::all_of(vm.holders.begin(), vm.holders.end(), [&](const auto& holder) {
    return holder.first == self_host();
  });
  if (!first || !ours || !alone || declaration == nullptr) {
    // It may have begun earlier, or somebody has reported it since the intent: take the grant back
    // and find out (R4, R5, R23).
    if (!alone) local.closing.detail = "another host was found to hold it";
    local.look = next_look++;
    effects.push_back(RevokeAndLook{operation.id, id, local.look});
    return;
  }
  effects.push_back(DispatchStart{operation.id, id, vm.name, vm.generation,
                                  state.config.domain_xml.at(declaration->domain.xml),
                                  timers().start_timeout});
}

std::vector<std::vector<NamedDevice>> Controller::Impl::devices_of(NodeId node, bool flat) const {
  std::vector<std::vector<NamedDevice>> levels;
  const NodeDeclaration* declaration = node_declaration(state, node);
  if (declaration == nullptr) return levels;
  for (const auto& names : declaration->fencing) {
    if (!flat || levels.empty()) levels.emplace_back();
    for (const std::string& name : names) {
      const auto device = state.config.fence_devices.find(name);
      if (device != state.config.fence_devices.end()) {
        levels.back().push_back(NamedDevice{name, device->second});
      }
    }
  }
  return levels;
}

void Controller::Impl::dispatch_power(NodeId id, const NodeState& node) {
  if (!node.power || node.power->executor != self_host()) return;
  const PowerOperation& operation = *node.power;
  if (power_operations.contains(operation.id)) return;
  if (!stable(operation.id.index) || !durable_everywhere(state.durable_floor)) return;
  LocalPowerOperation& local = power_operations[operation.id];
  if (!first_time(operation.id)) {
    local.ended = true;
    local.closing = PowerClosed{operation.id, id, Outcome::unknown, {}, {},
                                "its executor carried it out and took an older state since"};
    return;
  }
  // Counted, but not begun: a disarm calls it off (R28). An order stands.
  const bool ordered = node.fence_ordered || (node.loss && node.loss->ordered);
  if (!state.armed && !ordered && operation.kind != PowerOpKind::read_power) {
    local.ended = true;
    local.closing = PowerClosed{operation.id, id, Outcome::failed_without_effect, {}, {},
                                disarm_text(state)};
    return;
  }
  // A living host is read on all its devices (calibration), a lost one level by level.
  const bool flat = operation.kind == PowerOpKind::read_power && in_view(state, operation.target);
  effects.push_back(DispatchPower{operation.id, operation.kind, id, node_name(state, id),
                                  devices_of(id, flat), timers().fence_retries});
}

// The state closed what we execute: a boot came back, or it was proven dead by other means.
void Controller::Impl::cancel_stale() {
  if (!activated || !member_synced) return;
  for (auto local = power_operations.begin(); local != power_operations.end();) {
    const bool open = std::any_of(state.nodes.begin(), state.nodes.end(), [&](const auto& node) {
      return node.second.power && node.second.power->id == local->first;
    });
    if (open) {
      ++local;
      continue;
    }
    if (!local->second.ended) effects.push_back(CancelPower{local->first});
    local = power_operations.erase(local);
  }
  std::erase_if(vm_operations, [&](const auto& local) {
    const auto vm = state.vms.find(local.second.vm);
    return vm == state.vms.end() || !vm->second.operation ||
           vm->second.operation->id != local.first;
  });
}

void Controller::Impl::on(const VmOperationEnded& event) {
  if (purge_stopped(event)) return;
  const auto found = vm_operations.find(event.op);
  if (found == vm_operations.end()) return;
  LocalVmOperation& local = found->second;
  if (local.ended) return;
  local.closing = VmClosed{event.op, event.vm, event.outcome, event.state, event.detail};
  if (event.outcome == Outcome::unknown) {
    // Told at once, then looked for until libvirt tells the truth.
    if (activated && member_synced) multicast(local.closing);
    local.look_again = now;
    return;
  }
  local.ended = true;
  look_anew(event.vm);
}

void Controller::Impl::look_after_unknown() {
  for (auto& [op, local] : vm_operations) {
    const bool unknown = !local.ended && local.closing.op == op;
    if (!unknown || local.look != 0) continue;
    if (now < local.look_again) {
      wake_at(local.look_again);
      continue;
    }
    local.look = next_look++;
    effects.push_back(RevokeAndLook{op, local.vm, local.look});
  }
}

void Controller::Impl::on(const PowerOperationEnded& event) {
  if (end_early(event)) return;
  const auto found = power_operations.find(event.op);
  if (found == power_operations.end() || found->second.ended) return;
  found->second.ended = true;
  found->second.closing =
      PowerClosed{event.op, event.target, event.outcome, event.readings, event.level, event.detail};
}

void Controller::Impl::close_operations() {
  if (!activated || !member_synced) return;
  for (const auto& [op, local] : vm_operations) {
    if (local.ended) multicast_once(local.closing);
  }
  for (const auto& [op, local] : power_operations) {
    if (local.ended) multicast_once(local.closing);
  }
}

// ---- seeing ----------------------------------------------------------------------------------

void Controller::Impl::on(const DomainChanged& event) {
  if (event.cause != StopCause::none) stop_causes[event.vm] = event.cause;
  look(event.vm);
}

void Controller::Impl::look(const VmId& vm) {
  const auto known = state.vms.find(vm);
  if (known == state.vms.end()) return;
  if (const auto pending = looks.find(vm); pending != looks.end()) {
    pending->second.again = true;
    return;
  }
  looks[vm] = PendingLook{next_look, known->second.generation, false};
  effects.push_back(LookUp{vm, next_look++});
}

// An operation ended: what was seen, or asked, while it was under way may be older than its effect.
void Controller::Impl::look_anew(const VmId& vm) {
  seen.erase(vm);
  looks.erase(vm);
  listing_generations.erase(vm);
  look(vm);
}

void Controller::Impl::on(const LookedUp& event) {
  if (purge_looked(event)) return;
  for (auto& [op, local] : vm_operations) {
    if (local.look == 0 || local.look != event.look) continue;
    local.look = 0;
    if (!event.found) {
      local.closing = VmClosed{op, local.vm, Outcome::unknown, DomainState::absent,
                               "libvirt does not tell whether it runs"};
      local.look_again = now + local.look_delay;
      local.look_delay = std::min(local.look_delay * 2, kLookDelayMost);
      return;
    }
    const DomainState found = event.found->state;
    const bool there = found != DomainState::absent;
    std::string detail = local.closing.detail;
    if (detail.empty()) detail = "it was begun earlier";
    const auto vm = state.vms.find(local.vm);
    const bool start = vm == state.vms.end() || !vm->second.operation ||
                       vm->second.operation->kind == VmOpKind::start;
    local.closing = VmClosed{op, local.vm,
                             there == start ? Outcome::done : Outcome::failed_without_effect, found,
                             detail};
    local.ended = true;
    look_anew(event.vm);
    return;
  }
  const auto pending = looks.find(event.vm);
  if (pending == looks.end() || pending->second.look != event.look) return;
  const PendingLook done = pending->second;
  looks.erase(pending);
  const auto vm = state.vms.find(event.vm);
  if (vm == state.vms.end()) return;
  if (event.found) {
    const StopCause cause = stop_causes.count(event.vm) != 0 ? stop_causes[event.vm]
                                                             : StopCause::none;
    const bool absent = event.found->state == DomainState::absent;
    if (!absent && !done.again) stop_causes.erase(event.vm);  // of an earlier run
    seen[event.vm] = Seen{event.found->state, event.found->agent,
                          absent ? cause : StopCause::none, done.generation};
    listing_generations.erase(event.vm);  // an inventory under way may have looked earlier
  }
  if (done.again || !event.found) look(event.vm);
}

void Controller::Impl::on(const HypervisorConnection& event) {
  hypervisor_up = event.up;
  hypervisor_problem = event.up ? "" : "libvirt is not reachable: " + event.problem;
  if (event.up) list_needed = true;
  facts.problem = hypervisor_problem;
}

// R10: before a member has told every domain it sees, nothing is planned on it.
void Controller::Impl::take_inventory() {
  if (!synced_here() || !hypervisor_up) return;
  if (!list_needed || listing) return;
  if (now < list_again) {
    wake_at(list_again);
    return;
  }
  list_needed = false;
  listing = next_look++;
  listing_generations.clear();
  ListDomains order;
  order.look = *listing;
  for (const auto& [id, vm] : state.vms) {
    listing_generations[id] = vm.generation;
    order.known.insert(id);
  }
  effects.push_back(std::move(order));
}

void Controller::Impl::on(const DomainsListed& event) {
  if (!listing || event.look != *listing) return;
  listing.reset();
  if (!event.ok) {
    list_needed = true;
    list_again = now + kListAgain;
    return;
  }
  for (const auto& [id, generation] : listing_generations) {
    seen[id] = Seen{DomainState::absent, false, StopCause::none, generation};
  }
  for (const DomainObservation& domain : event.domains) {
    const auto asked = listing_generations.find(domain.vm);
    if (asked == listing_generations.end()) continue;
    seen[domain.vm] = Seen{domain.state, domain.agent, StopCause::none, asked->second};
  }
  facts = event.facts;
  listed = true;
}

namespace {

// A reason alone makes no new report, as it may change with every check; but that nothing has ever
// answered is one.
Sighting sighting_of(const Report& word, const Sighting& known) {
  const bool constant = word.health == Health::none;
  return {word.state,  word.agent,
          known.at,    word.health,
          constant ? word.health_reason : known.health_reason, word.answered};
}

}  // namespace

// While an operation on it is under way a guest is not watched, and keeps the last verdict.
Report Controller::Impl::report_of(const VmId& id, const VmState& vm, const Seen& mine) const {
  Report word{id, mine.generation, mine.state, mine.cause, mine.agent, {}, {}, {}};
  if (mine.state == DomainState::absent) return word;
  const auto policy = mine.state == DomainState::crashed ? resolved(state, vm) : std::nullopt;
  if (policy && has_checks(policy->health) && !vm.operation) {
    word.health = Health::unhealthy;
    word.health_reason = pause_reason(mine.state);
    return word;
  }
  if (const auto watch = watches.find(id); watch != watches.end()) {
    word.health = watch->second.verdict.health;
    word.health_reason = watch->second.verdict.reason;
    word.answered = answered(watch->second);
    return word;
  }
  const auto known = vm.holders.find(self_host());
  if (known == vm.holders.end()) return word;
  if (!vm.operation) {
    // It stands still, or nobody may touch it: what has answered is asked again afterwards.
    const auto rules = known->second.answered.empty() ? std::nullopt : resolved(state, vm);
    if (rules && has_checks(rules->health)) word.answered = known->second.answered;
    return word;
  }
  word.health = known->second.health;
  word.health_reason = known->second.health_reason;
  word.answered = known->second.answered;
  return word;
}

// Level triggered (R7): says again what differs from what the state says about this host, until
// it does not differ any more.
void Controller::Impl::report() {
  if (!synced_here()) return;
  if (!news && (!report_due || now < *report_due)) {
    if (report_due) wake_at(*report_due);
    return;
  }
  news = false;
  report_due.reset();
  const Member* member = synced_member(state, self.node);
  std::erase_if(seen, [&](const auto& s) { return !state.vms.contains(s.first); });
  bool complete = !listing && !list_needed;
  for (const auto& [id, vm] : state.vms) {
    const auto found = seen.find(id);
    if (found == seen.end()) {
      if (complete && hypervisor_up) look(id);
      complete = false;
      continue;
    }
    const Seen& mine = found->second;
    const auto holder = vm.holders.find(self_host());
    const bool held = holder != vm.holders.end();
    const bool awaited = vm.awaiting.contains(self_host());
    const bool open = vm.operation && vm.operation->executor == self_host();
    const bool absent = mine.state == DomainState::absent;
    Report word = report_of(id, vm, mine);
    const bool differs = absent ? (held && !open) || awaited
                                : !held || sighting_of(word, holder->second) != holder->second;
    if (!differs) continue;
    if (absent && mine.generation != vm.generation) {
      if (hypervisor_up) look(id);
      complete = false;
      continue;
    }
    multicast_once(std::move(word));
    report_due = now + kSendPatience;
  }
  // Reports of this batch stand before it in the group's order.
  const bool first = !member->inventory_done && complete;
  const bool other_facts = member->inventory_done && state.nodes.at(self.node).facts != facts;
  if (!listed || (!first && !other_facts)) return;
  multicast_once(InventoryDone{facts});
  report_due = now + kSendPatience;
}

// ---- planning --------------------------------------------------------------------------------

// Plans follow from the state and the time alone: made anew when the state has changed, or time has
// come for what an earlier plan held back or sent in vain.
void Controller::Impl::plan() {
  static constexpr Duration kLatest{30000};
  if (!is_coordinator() || leaving) return;
  if (changed || now >= plan_due) {
    changed = false;
    const ClusterTime at = cluster_now();
    const VmPlan vms = plan_vms(state, at);
    const PowerPlan power = plan_power(state, at);
    for (const Body& intent : vms.intents) multicast_once(intent);
    for (const OperatePower& intent : power.intents) multicast_once(intent);
    const bool any = !vms.intents.empty() || !power.intents.empty();
    plan_due = now + (any ? kSendPatience : kLatest);
    for (const auto& next : {vms.next, power.next}) {
      if (next) plan_due = std::min(plan_due, now + std::max(*next - at, Duration(1)));
    }
  }
  wake_at(plan_due);
}

}  // namespace clusterd
