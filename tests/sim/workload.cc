#include "tests/sim/workload.h"

#include <utility>

namespace clusterd::sim {

using std::chrono::seconds;

Workload::Workload(SimCluster& cluster)
    : cluster_(cluster), prng_(cluster.env().prng), mean_(seconds(prng_.between(5, 90))) {}

void Workload::start(SimTime end) {
  end_ = end;
  schedule();
}

void Workload::schedule() {
  cluster_.env().queue.after(cluster_.env().between(SimTime(0), 2 * mean_), [this] {
    if (cluster_.now() >= end_) return;
    act();
    schedule();
  });
}

NodeId Workload::any_node() {
  return NodeId(static_cast<std::uint32_t>(prng_.below(cluster_.options().nodes) + 1));
}

void Workload::act() {
  if (prng_.chance(800)) {
    order_vm();
  } else {
    change_configuration();
  }
}

void Workload::order_vm() {
  static constexpr VmOrderKind kOrders[] = {VmOrderKind::start, VmOrderKind::start,
                                            VmOrderKind::stop, VmOrderKind::restart};
  const auto vm = static_cast<std::uint32_t>(prng_.below(cluster_.options().vms) + 1);
  cluster_.send(any_node(), VmCommand{name_of(vm_id(vm)), kOrders[prng_.below(4)], true});
}

void Workload::change_configuration() {
  const NodeId id = any_node();
  if (!cluster_.node(id).running()) return;
  const Configuration& config = cluster_.node(id).state().config;
  if (config.vms.empty()) return;
  ApplyConfiguration apply;
  apply.base = config.version;
  auto chosen = config.vms.begin();
  std::advance(chosen, static_cast<std::ptrdiff_t>(prng_.below(config.vms.size())));
  VmDeclaration vm = chosen->second;
  vm.policy.priority = static_cast<std::uint32_t>(prng_.below(1000));
  apply.upsert.vms[chosen->first] = vm;
  cluster_.send(id, apply);
}

void Workload::help() {
  const SimNode* best = cluster_.authority();
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    SimNode& node = cluster_.node(number);
    if (node.responsive() && node.local().coordinator && !node.state().accepted) {
      cluster_.send(node.id(), RecoverCluster{name_of(node.id())});
    }
    if (node.host().powered) continue;
    // Looks at the machine, sees that it is dark, says so, and switches it on again. Needed when
    // its device never said "on" while this boot was a member: then its "off" proves nothing.
    if (best != nullptr && best->state().nodes.at(node.id()).loss) {
      cluster_.ask(best->id(), NodeCommand{name_of(node.id()), NodeOrderKind::confirm_dead, false});
    }
    node.power_on();
  }
}

}  // namespace clusterd::sim
