#include "clusterd/engine/forecast.h"

#include <algorithm>
#include <map>

#include "clusterd/base/assert.h"
#include "clusterd/engine/apply_detail.h"
#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"
#include "clusterd/engine/report.h"

namespace clusterd {
namespace {

bool is_preemption(const StopVm& stop) {
  return stop.cause == Cause::preempted;
}

// A copy of the state in which things go on as planned.
class Course {
 public:
  Course(const ClusterState& state, ClusterTime now) : state_(state), now_(now) {
    for (const auto& [id, vm] : state.vms) {
      if (const auto node = was_on(vm)) origin_.emplace(id, *node);
    }
  }

  void lose(const std::set<NodeId>& nodes) {
    for (const NodeId& id : nodes) {
      const auto found = state_.nodes.find(id);
      if (found == state_.nodes.end()) continue;
      // Another machine may stand under the name of the one that was known: both are meant.
      std::set<BootId> boots{found->second.boot};
      if (const Member* member = member_of(state_, id)) boots.insert(member->boot);
      state_.view.members.erase(id);
      state_.view.ring_only.erase(id);
      found->second.departure.reset();
      for (const BootId& boot : boots) {
        if (boot == BootId{} || is_dead(state_, {id, boot})) continue;
        apply_detail::prove_dead(state_, {id, boot}, DeathCause::operator_word, "supposed");
      }
    }
  }

  // Until the planner has nothing to do any more. It starts and stops nobody for ever; the limit
  // is for a planner with a fault, which must not hold the daemon.
  void run() {
    remove_brakes();
    close_operations();
    const std::size_t most = 2 * state_.vms.size() + 2;
    for (std::size_t round = 0; round < most; ++round) {
      plan_ = plan_vms(state_, now_);
      if (!carry_out() && !pass_time()) return;
    }
  }

  Forecast result() && {
    Forecast result;
    result.actions = std::move(actions_);
    tell_unplaced(result);
    const Capacity capacity(state_);
    for (const auto& [id, node] : state_.nodes) {
      const NodeCapacity room = capacity.of(id);
      if (room.memory_used > room.memory && member_of(state_, id) != nullptr) {
        result.degraded.push_back(id);
      }
    }
    result.reserve = reserve_of(state_, now_);
    result.after = std::move(state_);
    return result;
  }

 private:
  // Where it runs or may run, else the host whose loss made it homeless.
  static std::optional<NodeId> was_on(const VmState& vm) {
    if (const auto host = active_on(vm)) return host->node;
    if (!vm.holders.empty()) return vm.holders.begin()->first.node;
    if (vm.next_cause != Cause::desired && vm.last_host) return vm.last_host->node;
    return std::nullopt;
  }

  // The planner tells no intents before this; where everything would go does not depend on it.
  void remove_brakes() {
    state_.accepted = true;
    state_.armed = true;
    state_.view.authority = Authority::established;
    for (auto& [id, vm] : state_.vms) {
      vm.awaiting.clear();
      vm.next_stop = ClusterTime{};
    }
  }

  void hear(NodeId sender, Incarnation incarnation, Body body) {
    apply(state_,
          LogEntry{sender, Message{state_.position.epoch, incarnation, now_, std::move(body)}, {}});
  }

  // By the daemon that is there now. Not there: its host is lost, and the VM with it.
  void close(const VmId& id, const VmOperation& operation) {
    const Member* executor = member_of(state_, operation.executor.node);
    if (executor == nullptr) return;
    VmClosed closed;
    closed.op = operation.id;
    closed.vm = id;
    closed.outcome = Outcome::done;
    closed.state = operation.kind == VmOpKind::start ? DomainState::running : DomainState::absent;
    hear(operation.executor.node, executor->incarnation, closed);
  }

  void close_operations() {
    std::map<VmId, VmOperation> open;
    for (const auto& [id, vm] : state_.vms) {
      if (vm.operation) open.emplace(id, *vm.operation);
    }
    for (const auto& [id, operation] : open) close(id, operation);
  }

  // False if there was nothing to do.
  bool carry_out() {
    bool done = false;
    for (const Body& intent : plan_.intents) {
      const auto* stop = std::get_if<StopVm>(&intent);
      if (stop != nullptr && carry_out(*stop)) done = true;
    }
    for (const Placement& placement : plan_.placements) {
      if (const auto* chosen = std::get_if<Chosen>(&placement.result)) {
        start(placement.vm, chosen->node);
        done = true;
      } else if (const auto* waits = std::get_if<Waits>(&placement.result)) {
        start(placement.vm, waits->node);
        done = true;
      }
    }
    return done;
  }

  // As apply would, but for the guard: the planner has just found that it holds, and to ask again
  // would cost a look at the whole state for every VM.
  void start(const VmId& id, NodeId node) {
    VmState& vm = state_.vms.at(id);
    const Host host{node, state_.view.members.at(node).boot};
    vm.generation = vm.generation.next();
    vm.holders = {{host, Sighting{DomainState::running, false, state_.time}}};
    vm.last_host = host;
    vm.next_cause = Cause::desired;
    vm.restart_ordered = false;
    note(id, ActionKind::start, node);
  }

  bool carry_out(const StopVm& stop) {
    const auto planner = coordinator(state_);
    if (!planner) return false;
    const ActionKind kind = is_preemption(stop) ? ActionKind::preempt : ActionKind::stop;
    hear(*planner, state_.view.members.at(*planner).incarnation, stop);
    const auto& operation = state_.vms.at(stop.vm).operation;
    if (!operation) return false;
    close(stop.vm, VmOperation(*operation));
    note(stop.vm, kind, std::nullopt);
    return true;
  }

  // Once nothing else is left to do: fences of hosts that are back end, and hosts that settle
  // after one take VMs again.
  bool pass_time() {
    ClusterTime settled = now_;
    bool fenced = false;
    for (auto& [id, node] : state_.nodes) {
      settled = std::max(settled, node.settle_until);
      const bool fence = node.power && node.power->kind == PowerOpKind::fence;
      if (!fence || member_of(state_, id) == nullptr) continue;
      node.power.reset();
      fenced = true;
    }
    if (settled == now_ && !fenced) return false;
    now_ = settled;
    return true;
  }

  void tell_unplaced(Forecast& result) {
    const Relations relations(state_.config);
    for (Placement& placement : plan_.placements) {
      auto* none = std::get_if<NoCandidate>(&placement.result);
      if (none == nullptr) continue;
      const bool guaranteed = !is_preemptible(state_, relations, placement.vm);
      if (guaranteed) result.feasible = false;
      result.unplaced.push_back({placement.vm, guaranteed, std::move(*none)});
    }
  }

  void note(const VmId& vm, ActionKind kind, std::optional<NodeId> to) {
    const auto from = origin_.find(vm);
    actions_.push_back(
        {vm, kind, from == origin_.end() ? std::nullopt : std::optional(from->second), to});
  }

  ClusterState state_;
  ClusterTime now_;
  VmPlan plan_;
  std::map<VmId, NodeId> origin_;
  std::vector<PlannedAction> actions_;
};

const char* name_of(ActionKind kind) {
  switch (kind) {
    case ActionKind::start:
      return "start";
    case ActionKind::preempt:
      return "preempt";
    case ActionKind::stop:
      return "stop";
  }
  return "";
}

std::string vm_name(const ClusterState& state, const VmId& id) {
  const auto vm = state.vms.find(id);
  return vm == state.vms.end() ? id.str() : vm->second.name;
}

}  // namespace

Forecast forecast(const ClusterState& state, const std::set<NodeId>& down, ClusterTime now) {
  Course course(state, now);
  course.lose(down);
  course.run();
  return std::move(course).result();
}

std::variant<std::set<NodeId>, std::string> nodes_named(const ClusterState& state,
                                                        const std::set<std::string>& names) {
  std::set<NodeId> found;
  std::string unknown;
  for (const std::string& name : names) {
    if (const auto id = node_by_name(state, name)) {
      found.insert(*id);
    } else {
      unknown += (unknown.empty() ? "" : ", ") + name;
    }
  }
  if (unknown.empty()) return found;
  std::string known;
  for (const auto& [id, node] : state.nodes) {
    known += (known.empty() ? "" : ", ") + node_name(state, id);
  }
  return "there is no node " + unknown + "; known are " + (known.empty() ? "none" : known);
}

ForecastReport report_forecast(const ClusterState& state, const Forecast& forecast) {
  const auto node = [&](const std::optional<NodeId>& id) {
    return id ? node_name(state, *id) : std::string();
  };
  ForecastReport report;
  report.feasible = forecast.feasible;
  for (const PlannedAction& action : forecast.actions) {
    report.actions.push_back(
        {vm_name(state, action.vm), name_of(action.kind), node(action.from), node(action.to)});
  }
  for (const Unplaced& unplaced : forecast.unplaced) {
    ForecastReport::Unplaced told{
        vm_name(state, unplaced.vm), unplaced.guaranteed, unplaced.why.reason, {}};
    for (const Exclusion& exclusion : unplaced.why.excluded) {
      told.reasons.push_back({node_name(state, exclusion.node), sentence(exclusion)});
    }
    report.unplaced.push_back(std::move(told));
  }
  report.reserve = report_reserve(state, forecast.reserve);
  for (const NodeId& id : forecast.degraded) report.degraded.push_back(node_name(state, id));
  return report;
}

}  // namespace clusterd
