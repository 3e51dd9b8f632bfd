"""Who is right: exhaustive search, for a few hosts and VMs. Naive on purpose, and nobody's code."""


def recoverable(cluster, lost):
    """Can every VM of the lost host be placed while all others stay where they are?"""
    homes = {vm.name: vm.node for vm in cluster.vms if vm.node != lost}
    free = {node.name: node.memory for node in cluster.nodes if node.name != lost}
    for vm in cluster.vms:
        if vm.node != lost:
            free[vm.node] -= vm.memory
    displaced = sorted(cluster.on(lost), key=lambda vm: -vm.memory)
    return search(displaced, free, homes, set())


def search(displaced, free, homes, hopeless):
    """`hopeless` remembers what was tried: so many VMs left, so much room, these neighbours."""
    if not displaced:
        return True
    vm, rest = displaced[0], displaced[1:]
    known = (len(rest), tuple(free.values()),
             tuple(homes.get(name) for left in displaced for name in left.away_from))
    if known in hopeless:
        return False
    for node in free:
        if free[node] < vm.memory or any(homes.get(name) == node for name in vm.away_from):
            continue
        free[node] -= vm.memory
        homes[vm.name] = node
        found = search(rest, free, homes, hopeless)
        del homes[vm.name]
        free[node] += vm.memory
        if found:
            return True
    hopeless.add(known)
    return False


def tolerates_any_loss(cluster):
    return all(recoverable(cluster, node.name) for node in cluster.nodes)
