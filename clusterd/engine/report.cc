#include "clusterd/engine/report.h"

#include <algorithm>

#include "clusterd/base/overloaded.h"
#include "clusterd/engine/cpu_pools.h"
#include "clusterd/engine/eligible_hosts.h"
#include "clusterd/engine/guest_stalls.h"
#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

std::string name_of(Cause cause, VmOpKind kind) {
  switch (cause) {
    case Cause::desired:
      return "it is wanted";
    case Cause::restart_in_place:
      return "it failed here";
    case Cause::relocation:
      return "it kept failing elsewhere";
    case Cause::host_lost:
      return "its host is proven dead";
    case Cause::restart_order:
      return "an operator restarts it";
    case Cause::undeclared:
      return "it is no longer declared";
    case Cause::preempted:
      return kind == VmOpKind::start ? "there is room for it again"
                                     : "it makes room for a VM that is not preemptible";
    case Cause::unhealthy:
      return "its guest is unhealthy";
  }
  return {};
}

struct Word {
  std::string state;
  std::string reason;
};

// Empty: it is in none.
std::string quarantine_text(const NodeState& node, ClusterTime now) {
  const auto until = quarantined_until(node, now);
  if (!until) return {};
  const auto minutes = ((*until - now).count() + 59999) / 60000;
  return "in quarantine for another " + std::to_string(minutes) +
         (minutes == 1 ? " minute" : " minutes") + ": it went without a goodbye " +
         std::to_string(kUncleanExits) +
         " times within an hour, and gets VMs only when no other node has room";
}

Word node_word(const ClusterState& state, NodeId id, ClusterTime now) {
  const NodeState& node = state.nodes.at(id);
  const Member* member = member_of(state, id);
  if (member != nullptr) {
    if (node.dead.contains(member->boot)) {
      return {"condemned",
              "it was proven dead and is alive: it destroys its VMs, and comes back as a new boot"};
    }
    if (member->boot == BootId{}) return {"joining", "its daemon has said nothing yet"};
    if (node.machine != member->machine) {
      return {"condemned",
              "it is another machine now, and the old one is not proven dead: when that is off, "
              "`clusterctl node confirm-dead NODE`"};
    }
    if (member->phase == MemberPhase::joining) return {"joining", "it receives the state"};
    if (member->phase == MemberPhase::demoted) {
      return {"unmanaged", "its daemon does not acknowledge; its VMs run on unwatched"};
    }
    if (node.departure) return {"left", "its daemon is leaving, its VMs run on"};
    if (!member->inventory_done) {
      return {"joining", node.facts.problem.empty() ? "its VMs are being counted"
                                                    : node.facts.problem};
    }
    if (node.maintenance) return {"maintenance", ""};
    if (node.facts.problem.empty()) return {"online", quarantine_text(node, now)};
    return {"online", node.facts.problem};
  }
  if (state.view.ring_only.contains(id)) {
    if (node.departure) return {"left", "its daemon was stopped, its VMs run on unwatched"};
    return {"unmanaged", "its daemon is gone, its host is alive: its VMs run on unwatched"};
  }
  if (node.loss) {
    const bool fencing = node.power && node.power->kind == PowerOpKind::fence;
    return {fencing ? "fencing" : "lost", fence_wait(state, id, now)};
  }
  if (node.departure) return {"left", "it was stopped cleanly"};
  const auto death = node.dead.find(node.boot);
  if (death != node.dead.end()) {
    return {"dead", death->second.detail +
                        (node.power_on_due ? "; it is being switched on again" : "")};
  }
  return {"lost", "it was never seen"};
}

NodeReport report_node(const ClusterState& state, NodeId id, const Capacity& capacity,
                       ClusterTime now) {
  const NodeState& node = state.nodes.at(id);
  const NodeDeclaration* declaration = node_declaration(state, id);
  const Word word = node_word(state, id, now);
  const NodeCapacity room = capacity.of(id);
  NodeReport report;
  report.id = id;
  report.name = node_name(state, id);
  report.capacity = node.facts.total;
  report.state = word.state;
  report.reason = word.reason;
  report.memory_total = room.memory;
  report.memory_used = room.memory_used;
  report.vcpus_total = room.vcpus;
  report.vcpus_used = room.vcpus_used;
  report.degraded = member_of(state, id) != nullptr && room.memory_used > room.memory;
  for (const auto& [vm_id, vm] : state.vms) {
    report.vms += static_cast<std::size_t>(
        std::any_of(vm.holders.begin(), vm.holders.end(), [&](const auto& holder) {
          return holder.first.node == id && is_active(holder.second.state);
        }));
  }
  report.cpu_vendor = node.facts.cpu_vendor;
  report.cpu_model = node.facts.cpu_model;
  if (declaration == nullptr) return report;
  report.declared = true;
  report.role = declaration->role;
  for (const auto& level : declaration->fencing) {
    for (const std::string& device : level) {
      NodeReport::Device shown{device, Power::unknown, false};
      const auto found = node.calibration.find(device);
      if (found != node.calibration.end()) {
        shown.reading = found->second.reading;
        shown.calibrated = found->second.reading == Power::on && found->second.boot == node.boot;
      }
      report.fence_devices.push_back(shown);
    }
  }
  return report;
}

std::string excluded_text(const ClusterState& state, const NoCandidate& none) {
  std::string text = none.reason.empty() ? "no node can take it" : none.reason;
  std::string each;
  for (const Exclusion& exclusion : none.excluded) {
    each += (each.empty() ? " (" : "; ") + node_name(state, exclusion.node) + ": " +
            sentence(exclusion);
  }
  return each.empty() ? text : text + each + ")";
}

std::string placement_text(const ClusterState& state, const Placement& placement) {
  return std::visit(
      overloaded{[&](const Chosen& chosen) {
                   return "it is about to start on " + node_name(state, chosen.node);
                 },
                 [&](const Waits& waits) {
                   return waits.reason + "; " + node_name(state, waits.node) +
                          " is reserved for it";
                 },
                 [&](const NoCandidate& none) { return excluded_text(state, none); }},
      placement.result);
}

const Placement* placement_of(const VmPlan& plan, const VmId& id) {
  const auto found = std::find_if(plan.placements.begin(), plan.placements.end(),
                                  [&](const Placement& p) { return p.vm == id; });
  return found == plan.placements.end() ? nullptr : &*found;
}

Word operation_word(const ClusterState& state, const VmOperation& operation, ClusterTime now) {
  const bool start = operation.kind == VmOpKind::start;
  const std::string where = node_name(state, operation.executor.node);
  if (operation.unknown || now > operation.deadline) {
    return {"stuck", "libvirt on " + where + " does not let go of operation " +
                         operation.id.str() +
                         (operation.detail.empty() ? "" : ": " + operation.detail)};
  }
  return {start ? "starting" : "stopping", name_of(operation.cause, operation.kind)};
}

// Precondition: the host is in the view, or in the ring without a daemon.
Word active_word(const ClusterState& state, const VmState& vm, const Host& host) {
  const bool alive = in_view(state, host);
  switch (vm.holders.at(host).state) {
    case DomainState::running:
      return {"running", alive ? "" : "the daemon there is gone: this is the last that is known"};
    case DomainState::paused:
    case DomainState::paused_io_error:
    case DomainState::crashed:
      return {"paused", pause_reason(vm.holders.at(host).state)};
    case DomainState::shutting_down:
      return {"stopping", "its guest is shutting down"};
    case DomainState::absent:
    case DomainState::paused_incoming:
      return {"migrating", ""};
  }
  return {};
}

Word vm_word(const ClusterState& state, const VmId& id, const VmState& vm, const VmPlan& plan,
             ClusterTime now) {
  const auto active = std::count_if(vm.holders.begin(), vm.holders.end(), [](const auto& holder) {
    return is_active(holder.second.state);
  });
  if (active > 1) return {"duplicate", "it is active on several hosts: stop all but one by hand"};
  for (const auto& [host, sighting] : vm.holders) {
    const bool unreachable = !in_view(state, host) && !state.view.ring_only.contains(host.node);
    if (!unreachable) continue;
    const NodeState& node = state.nodes.at(host.node);
    std::string reason = node_name(state, host.node) + " is lost and not proven dead";
    if (node.loss) reason += ": " + fence_wait(state, host.node, now);
    if (const Placement* planned = placement_of(plan, id)) {
      if (const auto* waits = std::get_if<Waits>(&planned->result)) {
        reason += "; " + node_name(state, waits->node) + " is reserved for it";
      }
    }
    return {"unknown", reason};
  }
  if (const auto host = active_on(vm); host && vm.stops_failed > 0) {
    return {"stuck", "on " + node_name(state, host->node) + ": " + vm.failures.reason};
  }
  if (vm.operation) return operation_word(state, *vm.operation, now);
  if (const auto host = active_on(vm)) return active_word(state, vm, *host);
  if (!vm.holders.empty()) return {"unknown", "its host has not yet said whether it runs"};
  if (desired(vm) != DesiredState::running) return {"stopped", ""};
  if (vm.guest_off) return {"stopped", "its guest shut it down"};
  if (const std::string brake = start_brake(state); !brake.empty()) return {"waiting", brake};
  if (!holders_reported(state, vm)) {
    return {"waiting", "a member has not yet said whether it runs it"};
  }
  const Placement* planned = placement_of(plan, id);
  const std::string reason = planned == nullptr ? "" : placement_text(state, *planned);
  if (vm.failures.given_up) return {"failed", reason};
  return {vm.next_cause == Cause::preempted ? "preempted" : "waiting", reason};
}

// Contract.md section 3. Without checks the agent's first answer is all that is known.
std::string health_word(const VmState& vm, const std::optional<Host>& active, bool unknown) {
  static constexpr const char* kNames[] = {"none",     "booting", "healthy",
                                           "degraded", "suspect", "unhealthy"};
  if (!active) return "none";
  if (unknown) return "unknown";
  const Sighting& sighting = vm.holders.at(*active);
  if (sighting.health == Health::none && sighting.agent) return "healthy";
  return kNames[static_cast<std::size_t>(sighting.health)];
}

// What is wrong with the guest, and what will be done about it.
std::string health_reason(const ClusterState& state, const VmId& id, const VmState& vm,
                          const Host& host, ClusterTime now) {
  const Sighting& sighting = vm.holders.at(host);
  if (sighting.health != Health::unhealthy) return sighting.health_reason;
  if (!heals(state, vm)) {
    return sighting.health_reason + "; nothing is done about it (on_unhealthy: alert)";
  }
  const std::string brake = health_brake(state, id, host, now).reason;
  return sighting.health_reason + (brake.empty() ? "" : "; " + brake);
}

VmReport report_vm(const ClusterState& state, const VmId& id, const VmState& vm,
                   const VmPlan& plan, ClusterTime now) {
  const Word word = vm_word(state, id, vm, plan, now);
  VmReport report;
  report.name = vm.name;
  report.uuid = id.str();
  report.desired = desired(vm);
  report.declared = vm.declared;
  report.size = vm.size;
  report.state = word.state;
  report.reason = word.reason;
  report.health = health_word(vm, active_on(vm), word.state == "unknown");
  if (const auto policy = resolved(state, vm)) {
    report.priority = policy->priority;
    report.preemptible = policy->preemptible;
  }
  const auto active = active_on(vm);
  if (active) {
    report.node = node_name(state, active->node);
    if (report.state == "running" && report.reason.empty()) {
      report.reason = health_reason(state, id, vm, *active, now);
    }
  } else if (!vm.holders.empty()) {
    report.node = node_name(state, vm.holders.begin()->first.node);
  }
  return report;
}

// Precondition: the nodes are told, all of them and in the order of their ids.
void report_cpu_pools(const ClusterState& state, StatusReport& report) {
  for (const CpuPool& pool : cpu_pools(state)) {
    for (const NodeId id : pool.nodes) {
      const auto place = std::distance(state.nodes.begin(), state.nodes.find(id));
      report.nodes.at(static_cast<std::size_t>(place)).cpu_pool = pool.name;
    }
  }
}

void report_operations(const ClusterState& state, StatusReport& report) {
  for (const auto& [id, vm] : state.vms) {
    if (!vm.operation) continue;
    const std::string executor = node_name(state, vm.operation->executor.node);
    report.operations.push_back({vm.operation->id.str(),
                                 vm.operation->kind == VmOpKind::start ? "start" : "stop", vm.name,
                                 executor, executor, vm.operation->since, vm.operation->unknown});
  }
  for (const auto& [id, node] : state.nodes) {
    if (!node.power) continue;
    static constexpr const char* kKinds[] = {"fence", "read_power", "power_on"};
    report.operations.push_back({node.power->id.str(),
                                 kKinds[static_cast<std::size_t>(node.power->kind)], "",
                                 node_name(state, id), node_name(state, node.power->executor.node),
                                 node.power->since, false});
  }
}

// Guests that reboot by themselves more often than people do it, and how often.
std::map<VmId, std::size_t> reboots_of_late(const ClusterState& state, ClusterTime now) {
  static constexpr Duration kHour{3600000};
  std::map<VmId, std::size_t> times;
  for (auto event = state.history.rbegin(); event != state.history.rend(); ++event) {
    if (event->second.at + kHour <= now) break;
    const bool reboot = event->second.kind == EventKind::vm_rebooted;
    if (reboot && event->second.vm && state.vms.contains(*event->second.vm)) {
      ++times[*event->second.vm];
    }
  }
  std::erase_if(times, [](const auto& counted) { return counted.second < 3; });
  return times;
}

void report_alarms(const ClusterState& state, ClusterTime now, StatusReport& report) {
  const auto shout = [&](const std::string& text) { report.alarms.push_back(text); };
  for (const VmReport& vm : report.vms) {
    if (vm.state == "duplicate") shout("VM " + vm.name + ": " + vm.reason);
  }
  if (!state.armed) {
    shout("nothing is started, stopped or fenced: " + disarm_text(state));
  }
  for (const NodeReport& node : report.nodes) {
    const bool bad = node.state == "condemned" || node.state == "unmanaged" ||
                     node.state == "lost" || node.state == "fencing";
    if (bad) shout("node " + node.name + " is " + node.state + ": " + node.reason);
    if (const std::string why = quarantine_text(state.nodes.at(node.id), now); !why.empty()) {
      shout("node " + node.name + " is " + why);
    }
    if (node.degraded) {
      shout("node " + node.name +
            " is in degraded mode: its VMs have more memory together than overcommit.memory "
            "allows");
    }
    if (node.declared && node.fence_devices.empty()) {
      shout("node " + node.name + " has no fence device: its VMs cannot be recovered without you");
    }
  }
  for (const VmReport& vm : report.vms) {
    // Paused: by an I/O error, by its guest's panic, or by somebody who forgot it.
    if (vm.state == "stuck" || vm.state == "failed" || vm.state == "paused") {
      shout("VM " + vm.name + " is " + vm.state + ": " + vm.reason);
    }
    const bool unwell = vm.state == "running" && vm.health == "unhealthy";
    if (unwell) shout("VM " + vm.name + " is unhealthy: " + vm.reason);
  }
  for (const auto& [vm, times] : reboots_of_late(state, now)) {
    shout("VM " + state.vms.at(vm).name + ": its guest has rebooted " + std::to_string(times) +
          " times within an hour");
  }
  if (!state.config.cluster.name.empty() && state.config.nodes.empty()) return;
  for (const auto& [id, node] : state.nodes) {
    const bool present = member_of(state, id) != nullptr;
    if (present && !node.facts.problem.empty()) {
      shout("node " + node.name + " can start nothing: " + node.facts.problem);
    }
    for (const auto& [device, calibration] : node.calibration) {
      if (!present || calibration.reading == Power::on) continue;
      shout("fence device " + device + " of " + node.name + " " +
            (calibration.reading == Power::off ? "says off although the host is alive"
                                               : "does not answer: " + calibration.detail));
    }
  }
}

}  // namespace

StatusReport report_status(const ClusterState& state, const LocalView& local, ClusterTime now) {
  StatusReport report;
  report.name = state.name;
  report.uuid = state.cluster.str();
  report.founded = state.cluster != ClusterId{};
  report.quorate = local.quorate;
  report.active = local.active;
  report.epoch = state.position.epoch.value;
  report.armed = state.armed;
  report.waiting = local.waiting;
  report.config_version = state.config.version.value;
  report.time = now;
  if (report.waiting.empty() && report.founded) report.waiting = start_brake(state);
  if (const auto id = coordinator(state); id && local.active) {
    report.coordinator = node_name(state, *id);
  }
  for (const auto& [id, member] : state.view.members) {
    report.members.push_back(node_name(state, id));
  }
  const Capacity capacity(state);
  for (const auto& [id, node] : state.nodes) {
    report.nodes.push_back(report_node(state, id, capacity, now));
  }
  report_cpu_pools(state, report);
  const VmPlan plan = plan_vms(state, now);
  for (const auto& [id, vm] : state.vms) {
    report.vms.push_back(report_vm(state, id, vm, plan, now));
  }
  std::sort(report.vms.begin(), report.vms.end(),
            [](const VmReport& a, const VmReport& b) { return a.name < b.name; });
  report_operations(state, report);
  report_alarms(state, now, report);
  return report;
}

ReserveReport report_reserve(const ClusterState& state, const Reserve& reserve) {
  ReserveReport report;
  report.required = reserve.required;
  report.tolerated = reserve.tolerated;
  report.at_least = reserve.at_least;
  report.ok = reserve.ok;
  report.proof = name_of(reserve.proof);
  for (const Blocking& blocking : reserve.blocking) {
    ReserveReport::Blocking told;
    for (const NodeId& id : blocking.down) told.down.push_back(node_name(state, id));
    const auto vm = blocking.vm ? state.vms.find(*blocking.vm) : state.vms.end();
    if (vm != state.vms.end()) told.vm = vm->second.name;
    report.blocking.push_back(std::move(told));
  }
  if (reserve.remedy) report.remedy = reserve.remedy->text;
  return report;
}

std::optional<ExplainReport> explain_vm(const ClusterState& state, const LocalView& local,
                                        const std::string& name, ClusterTime now) {
  static constexpr std::size_t kEvents = 20;
  const auto found = std::find_if(state.vms.begin(), state.vms.end(),
                                  [&](const auto& vm) { return vm.second.name == name; });
  if (found == state.vms.end()) return std::nullopt;
  const auto& [id, vm] = *found;
  const VmPlan plan = plan_vms(state, now);
  ExplainReport report;
  report.vm = report_vm(state, id, vm, plan, now);
  if (!local.active) {
    report.why.push_back("this node does not follow the cluster now (" + local.waiting +
                         "): what stands here is the last it knew");
  }
  if (!report.vm.reason.empty()) report.why.push_back(report.vm.reason);
  if (!vm.failures.reason.empty()) report.why.push_back("last failure: " + vm.failures.reason);
  if (std::string few = few_hosts(state, Relations(state.config), id); !few.empty()) {
    report.why.push_back(std::move(few));
  }
  for (const auto& [node_id, node] : state.nodes) {
    const auto no = refuses(state, id, node_id, now);
    const bool here = active_on(vm) && active_on(vm)->node == node_id;
    report.nodes.push_back({node_name(state, node_id),
                            here ? "it is here" : no ? sentence(*no) : ""});
  }
  for (auto event = state.history.rbegin(); event != state.history.rend(); ++event) {
    if (event->second.vm != id) continue;
    report.history.push_back(event->second);
    if (report.history.size() == kEvents) break;
  }
  std::reverse(report.history.begin(), report.history.end());
  return report;
}

}  // namespace clusterd
