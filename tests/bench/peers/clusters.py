"""A cluster as all peers can be told it: nodes, VMs that run on them, pairs that stay apart.

Memory is in MiB, vCPUs are counted; one vCPU of a host carries OVERCOMMIT of its guests' (the
default of clusterd and of Ganeti). Everything follows from the seed.
"""

import dataclasses
import random

OVERCOMMIT = 4
GIB = 1024
VM_SIZES = (1, 2, 2, 2, 4, 4, 4, 8, 8, 12, 16, 32)  # GiB; drawn evenly
NODE_WEIGHTS = (2, 3, 3, 4)  # hosts of different generations
FULL = 0.75  # of all memory
FULL_AFTER_LOSS = 0.93  # at most this much of what is left without the biggest host
PAIRS = 0.05  # so many of the VMs keep away from another one


@dataclasses.dataclass
class Node:
    name: str
    memory: int
    vcpus: int


@dataclasses.dataclass
class Vm:
    name: str
    memory: int
    vcpus: int
    priority: int
    node: str
    away_from: list = dataclasses.field(default_factory=list)  # names; said by both of a pair


@dataclasses.dataclass
class Cluster:
    nodes: list
    vms: list

    def on(self, name):
        return [vm for vm in self.vms if vm.node == name]

    def pairs(self):
        return [(vm.name, other) for vm in self.vms for other in vm.away_from if vm.name < other]


def generate(node_count, vm_count, seed):
    """A big one: mixed hosts and guests, spread as operators spread them, about 75 % full."""
    draw = random.Random(f"{seed} {node_count} {vm_count}")
    vms = [new_vm(draw, number) for number in range(1, vm_count + 1)]
    weights = [NODE_WEIGHTS[number % len(NODE_WEIGHTS)] for number in range(node_count)]
    draw.shuffle(weights)
    left = 1 - max(weights) / sum(weights)
    capacity = sum(vm.memory for vm in vms) / min(FULL, FULL_AFTER_LOSS * left)
    cores = sum(vm.vcpus for vm in vms) / OVERCOMMIT * 2
    nodes = [Node(f"n{number}", GIB * max(32, round(capacity * weight / sum(weights) / GIB)),
                  max(8, round(cores * weight / sum(weights))))
             for number, weight in enumerate(weights, 1)]
    keep_pairs_apart(draw, vms, int(vm_count * PAIRS))
    spread(draw, nodes, vms)
    return Cluster(nodes, vms)


def new_vm(draw, number):
    size = draw.choice(VM_SIZES)
    return Vm(f"vm{number}", size * GIB, max(1, size // 4), 100 * draw.randrange(1, 8), "")


def keep_pairs_apart(draw, vms, count):
    chosen = draw.sample(vms, 2 * count)
    for one, other in zip(chosen[::2], chosen[1::2]):
        one.away_from.append(other.name)
        other.away_from.append(one.name)


def spread(draw, nodes, vms):
    """The bigger VMs first, each on the relatively emptiest of three random hosts that take it."""
    used = {node.name: 0 for node in nodes}
    cores = {node.name: 0 for node in nodes}
    homes = {}
    for vm in sorted(vms, key=lambda vm: -vm.memory):
        barred = {homes.get(other) for other in vm.away_from}
        fit = [node for node in nodes if node.name not in barred
               and used[node.name] + vm.memory <= node.memory
               and cores[node.name] + vm.vcpus <= node.vcpus * OVERCOMMIT]
        if not fit:
            raise RuntimeError(f"{vm.name} fits nowhere: the cluster is too full to generate")
        node = min(draw.sample(fit, min(3, len(fit))),
                   key=lambda node: used[node.name] / node.memory)
        used[node.name] += vm.memory
        cores[node.name] += vm.vcpus
        vm.node = homes[vm.name] = node.name


def generate_small(draw, pairs):
    """A few hosts that are about as full as one of them may be lost: yes and no are both likely.

    vCPUs are no matter here: Ganeti does not look at them when it evacuates a host.
    """
    node_count = draw.randint(4, 8)
    nodes = [Node(f"n{number}", draw.randint(8, 16) * GIB, 64)
             for number in range(1, node_count + 1)]
    free = {node.name: node.memory for node in nodes}
    room = sum(free.values()) - max(free.values())
    vms = []
    target = room * draw.uniform(0.55, 1.0)
    while sum(vm.memory for vm in vms) < target and len(vms) < 4 * node_count:
        size = draw.randint(1, 6) * GIB
        fit = [name for name in free if free[name] >= size]
        if not fit:
            break
        home = max(draw.sample(fit, min(2, len(fit))), key=lambda name: free[name])
        free[home] -= size
        vms.append(Vm(f"vm{len(vms) + 1}", size, 1, 500, home))
    if pairs:
        for one, other in zip(*[iter(draw.sample(vms, len(vms) // 4 * 2))] * 2):
            if one.node != other.node:
                one.away_from.append(other.name)
                other.away_from.append(one.name)
    return Cluster(nodes, vms)


@dataclasses.dataclass
class Plan:
    """Somebody's answer to the loss of a host: where VMs start, and which are stopped for good."""
    moves: dict  # name -> node
    stopped: set

    def placed(self, cluster, lost):
        return sum(1 for vm in cluster.on(lost) if vm.name in self.moves)

    def disturbed(self, cluster, lost):
        """VMs of other hosts that it moves or stops."""
        touched = set(self.moves) | self.stopped
        return sum(1 for vm in cluster.vms if vm.node != lost and vm.name in touched)


def errors_of_plan(cluster, lost, plan):
    """What is wrong with the places that a plan gives, by size of the hosts and pairs alone."""
    homes = {vm.name: vm.node for vm in cluster.vms if vm.node != lost}
    homes = {name: home for name, home in homes.items() if name not in plan.stopped} | plan.moves
    known = {node.name for node in cluster.nodes} - {lost}
    wrong = [f"{name} goes to {home}" for name, home in homes.items() if home not in known]
    here = {name: [] for name in known}
    for vm in cluster.vms:
        here.get(homes.get(vm.name), []).append(vm)
    for node in cluster.nodes:
        guests = here.get(node.name, [])
        if sum(vm.memory for vm in guests) > node.memory:
            wrong.append(f"{node.name} has too little memory")
        if sum(vm.vcpus for vm in guests) > node.vcpus * OVERCOMMIT:
            wrong.append(f"{node.name} has too few vCPUs")
    wrong += [f"{one} and {other} meet" for one, other in cluster.pairs()
              if homes.get(one) is not None and homes.get(one) == homes.get(other)]
    return wrong
