#include "tests/sim/workload.h"

#include <utility>

namespace clusterd::sim {

using std::chrono::seconds;

void Workload::plan(Schedule& schedule, SimTime begin, SimTime end) {
  struct Habit {
    const char* name;
    std::uint32_t weight;
    Act act;
  };
  static constexpr Habit kHabits[] = {
      {"order_vm", 57, &Workload::order_vm},
      {"change_priority", 15, &Workload::change_priority},
      {"delete_vm", 6, &Workload::delete_vm},
      {"declare_all", 9, &Workload::declare_all},
      {"fence_node", 4, &Workload::fence_node},
      {"disarm", 1, &Workload::disarm},
      {"arm", 2, &Workload::arm},
      {"confirm_dead", 6, &Workload::confirm_dead},
  };
  Prng prng(seed_);
  const SimTime mean = seconds(prng.between(5, 90));
  for (SimTime at = begin; (at += SimTime(prng.between(0, 2 * mean.count()))) < end;) {
    std::uint64_t ticket = prng.below(100);
    const Habit* habit = kHabits;
    while (ticket >= habit->weight) ticket -= (habit++)->weight;
    schedule.add(at, habit->name, prng.next(), [this, act = habit->act](Prng& own) {
      if (!quiet_) (this->*act)(own);
    });
  }
}

NodeId Workload::any_node(Prng& prng) const {
  return NodeId(static_cast<std::uint32_t>(prng.below(cluster_.options().nodes) + 1));
}

void Workload::order_vm(Prng& prng) {
  static constexpr VmOrderKind kOrders[] = {VmOrderKind::start,   VmOrderKind::start,
                                            VmOrderKind::start,   VmOrderKind::stop,
                                            VmOrderKind::restart, VmOrderKind::disable,
                                            VmOrderKind::enable,  VmOrderKind::enable};
  const auto vm = static_cast<std::uint32_t>(prng.below(cluster_.options().vms) + 1);
  const VmOrderKind order = kOrders[prng.below(std::size(kOrders))];
  cluster_.send(any_node(prng), VmCommand{name_of(vm_id(vm)), order, prng.chance(500)});
}

// Sometimes on a configuration that another one has changed meanwhile.
void Workload::apply(NodeId to, ApplyConfiguration what) {
  if (!cluster_.node(to).running()) return;
  what.base = cluster_.node(to).state().config.version;
  cluster_.send(to, std::move(what));
}

void Workload::change_priority(Prng& prng) {
  const NodeId id = any_node(prng);
  const auto number = static_cast<std::uint32_t>(prng.below(cluster_.options().vms) + 1);
  if (!cluster_.node(id).running()) return;
  const auto& vms = cluster_.node(id).state().config.vms;
  const auto chosen = vms.find(name_of(vm_id(number)));
  if (chosen == vms.end()) return;
  ApplyConfiguration change;
  change.upsert.vms[chosen->first] = chosen->second;
  change.upsert.vms[chosen->first].policy.priority = static_cast<std::uint32_t>(prng.below(1000));
  apply(id, std::move(change));
}

void Workload::delete_vm(Prng& prng) {
  ApplyConfiguration change;
  const NodeId id = any_node(prng);
  change.delete_vms.insert(name_of(vm_id(
      static_cast<std::uint32_t>(prng.below(cluster_.options().vms) + 1))));
  apply(id, std::move(change));
}

void Workload::declare_all(Prng& prng) {
  ApplyConfiguration change;
  change.upsert = cluster_.declarations();
  apply(any_node(prng), std::move(change));
}

void Workload::fence_node(Prng& prng) {
  const NodeId target = any_node(prng);
  const auto kind = prng.chance(300) ? NodeOrderKind::cancel_fence : NodeOrderKind::fence;
  cluster_.send(any_node(prng), NodeCommand{name_of(target), kind, prng.chance(300)});
}

void Workload::disarm(Prng& prng) {
  cluster_.send(any_node(prng), ClusterCommand{ClusterOrderKind::disarm, "work on the switches"});
}

void Workload::arm(Prng& prng) {
  cluster_.send(any_node(prng), ClusterCommand{ClusterOrderKind::arm, ""});
}

// An operator who looks first: only of a machine that is dark, and keeps it dark for a while.
void Workload::confirm_dead(Prng& prng) {
  const NodeId target = any_node(prng);
  const NodeId to = any_node(prng);
  if (cluster_.node(target).host().powered) return;
  cluster_.send(to, NodeCommand{name_of(target), NodeOrderKind::confirm_dead, false});
}

void Workload::quiet() { quiet_ = true; }

// Who called a fence off orders it in the end.
void Workload::order_held_fences(const SimNode& node) {
  for (const auto& [id, other] : node.state().nodes) {
    if (!other.loss || !other.loss->held) continue;
    cluster_.send(node.id(), NodeCommand{name_of(id), NodeOrderKind::fence, false});
  }
}

void Workload::help() {
  const SimNode* best = cluster_.authority();
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    SimNode& node = cluster_.node(number);
    if (node.responsive() && node.local().coordinator && !node.state().accepted) {
      cluster_.send(node.id(), RecoverCluster{name_of(node.id())});
    }
    if (node.responsive() && node.local().coordinator && !node.state().armed) {
      cluster_.send(node.id(), ClusterCommand{ClusterOrderKind::arm, ""});
    }
    if (node.responsive() && node.local().coordinator) order_held_fences(node);
    if (node.host().powered) continue;
    // Looks at the machine, sees that it is dark, says so, and switches it on again. Needed when
    // its device never said "on" while this boot was a member: then its "off" proves nothing.
    if (best != nullptr && best->state().nodes.at(node.id()).loss) {
      cluster_.ask(best->id(), NodeCommand{name_of(node.id()), NodeOrderKind::confirm_dead, false});
    }
    cluster_.power_back(number);
  }
}

}  // namespace clusterd::sim
