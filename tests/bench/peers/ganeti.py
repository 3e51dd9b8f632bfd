"""The cluster as htools' text backend reads it, and hcheck's N+1 verdict.

The VMs have the disk template `ext` (storage that every node reaches), without which hcheck looks
for mirrors on other nodes instead of asking where the VMs could go. One MiB is added to every node:
htools wants some memory left over (new_mem <= 0 fails in Node.hs), we and arithmetic do not, and
all sizes here are whole MiB.
"""

import re

from peers.clusters import OVERCOMMIT
from peers.measure import PeerError

GROUP = "00000000-0000-4000-8000-000000000001"
DISK = 1024
NODE_DISK = 10**9  # never what binds
ISPECS = "1024,1,1024,1,1,1|1,1,1,1,0,1;1048576,1024,1048576,16,8,12"
FAILING = re.compile(r"Cluster statistics initially\n(?:    .*\n)*?"
                     r"    Nodes not directly evacuateable: (\d+)\n")


def write_text(cluster, path, apart=True):
    used = {node.name: 0 for node in cluster.nodes}
    for vm in cluster.vms:
        used[vm.node] += vm.memory
    lines = [f"default|{GROUP}|preferred||", ""]
    for node in cluster.nodes:
        lines.append(f"{node.name}|{node.memory + 1}|0|{node.memory + 1 - used[node.name]}"
                     f"|{NODE_DISK}|{NODE_DISK}|{node.vcpus}|N|{GROUP}|1||N|0|0|1.0")
    lines.append("")
    tags = {}
    for number, (one, other) in enumerate(cluster.pairs() if apart else [], 1):
        for name in (one, other):
            tags.setdefault(name, []).append(f"apart:{number}")
    for vm in cluster.vms:
        lines.append(f"{vm.name}|{vm.memory}|{DISK}|{vm.vcpus}|running|Y|{vm.node}||ext"
                     f"|{','.join(tags.get(vm.name, []))}|1|0")
    lines += ["", "htools:iextags:apart", ""]
    lines += [f"{owner}|{ISPECS}|ext|{OVERCOMMIT}.0|1000.0" for owner in ("", "default")]
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


def command(path):
    """Not --machine-readable: that makes hcheck compute everything a second time."""
    return ["hcheck", "--no-simulation", "-t", path]


def failing_nodes(output):
    """How many hosts' loss could not be borne."""
    found = FAILING.search(output)
    if found is None:
        raise PeerError(f"hcheck gave no verdict:\n{output}")
    return int(found[1])


def verdict(output):
    failing = failing_nodes(output)
    return f"no: {failing} hosts" if failing else "yes"
