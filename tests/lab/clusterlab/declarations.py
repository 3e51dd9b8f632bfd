"""Writing the declarations of a lab: what an operator would put in YAML, and the domain XML.

Three workers with some VMs each and one backup node that can hold all of them is the main case.
The result is a folder that `clusterctl apply -f` takes: lab.yaml and domains/NAME.xml.
"""

import os

from .configs import BMC_USER, SECRET_FILE
from .guests import MEMORY_MIB, Guest
from .system import write_file

STARTUP_WAIT = "20s"
HOST_RESERVED_MIB = 64


def plan_guests(topology, workers, vms_per_node):
    """[(node name, Guest)]: VMs vm1, vm2, ... spread over the workers in blocks."""
    placed = []
    for worker in workers:
        for _ in range(vms_per_node):
            number = len(placed)
            guest = Guest(f"vm{number + 1}", number, topology.shared_directory)
            placed.append((topology.plan(worker).name, guest))
    return placed


def write(topology, directory, *, workers, backup=None, vms_per_node=3, after_fence="stay_off",
          fence_timeout="20s", preemptible=(), room=None, health=None):
    """Writes lab.yaml, the domains and the (empty) disks; returns the path of lab.yaml.

    `preemptible` names VMs that may be stopped to make room; `room` (node -> VMs) says for how many
    VMs a node has memory, where that is not what _memory() says. `health` (VM -> YAML of that
    section, in one line) says how a guest is asked; the others are not asked.

    All nodes of the lab are declared. `after_fence` is stay_off by default, so that a node comes
    back only when the test says so. `fence_timeout` is that of one call of a fence agent.
    """
    placed = plan_guests(topology, workers, vms_per_node)
    for _, guest in placed:
        guest.make_disk()
        write_file(os.path.join(directory, "domains", f"{guest.name}.xml"), guest.domain_xml())
    path = os.path.join(directory, "lab.yaml")
    memory = {node.name: _memory(node, placed, backup) for node in topology.nodes}
    for name, count in (room or {}).items():
        memory[name] = HOST_RESERVED_MIB + count * MEMORY_MIB + MEMORY_MIB // 2
    write_file(path,
               _yaml(topology, placed, backup, after_fence, fence_timeout, memory, preemptible,
                     health or {}))
    return path


def _yaml(topology, placed, backup, after_fence, fence_timeout, memory, preemptible, health):
    lines = [
        "cluster:",
        f"  name: {topology.prefix}",
        f"  fencing: {{ startup_wait: {STARTUP_WAIT}, after_fence: {after_fence} }}",
        "",
        "fence_devices:",
    ]
    for node in topology.nodes:
        # Cipher 17, the default, is refused by ipmi_sim. The agent's default power_wait is 2 s of
        # sleep after the order; this BMC has switched off when it answers.
        options = (f"ip: {node.bmc_address}, username: {BMC_USER}, lanplus: 1, cipher: 3,"
                   " power_wait: 0")
        lines += [
            f"  bmc-{node.name}:",
            "    agent: fence_ipmilan",
            f"    options: {{ {options} }}",
            f"    secrets: {{ password: {SECRET_FILE} }}",
            f"    timeout: {fence_timeout}",
        ]
    lines += ["", "nodes:"]
    for node in topology.nodes:
        lines.append(f"  {node.name}:")
        if node.name == backup:
            lines.append("    role: backup")
        lines += [
            f"    host_reserved: {{ memory: {HOST_RESERVED_MIB}MiB, vcpus: 1 }}",
            f"    capacity: {{ memory: {memory[node.name]}MiB, vcpus: 16 }}",
            f"    fencing: [ [bmc-{node.name}] ]",
        ]
    lines += ["", "vms:"]
    for node_name, guest in placed:
        lines += [
            f"  {guest.name}:",
            f"    domain: domains/{guest.name}.xml",
            f"    placement: {{ prefer: [{node_name}] }}",
        ]
        if guest.name in preemptible:
            lines.append("    preemptible: true")
        if guest.name in health:
            lines.append(f"    health: {health[guest.name]}")
    return "\n".join(lines) + "\n"


def _memory(node, placed, backup):
    """MiB a node offers: the backup node holds all VMs, a worker its own and as many again."""
    per_node = [name for name, _ in placed]
    most = max(map(per_node.count, per_node), default=0)
    vms = len(placed) if node.name == backup else 2 * max(most, 1)
    return HOST_RESERVED_MIB + vms * MEMORY_MIB * 3 // 2
