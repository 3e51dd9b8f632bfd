"""The lab's cables: one namespace per node, one for the switch with a bridge per link, and cuts.

Faults act in the switch, never in a node: packets vanish without a trace, as they do on a broken
network. The BMCs' addresses belong to the switch itself, so a cut between nodes does not cut
anybody off from the BMCs.
"""

import itertools
import json
import os
import re

from .system import LabError, run
from .topology import ARBITER_ADDRESS, LINKS

NAMESPACE_ROOT = "/run/netns"
GUEST_BRIDGE = "vmbr0"  # in every node: guests' taps and the node's own link c
FAULT_TABLE = "clusterlab"


def enter(namespace):
    """Command words that run what follows in a network namespace and in the host's file systems.

    `ip netns exec` would also change the mount namespace and hide the control groups.
    """
    return ["nsenter", f"--net={NAMESPACE_ROOT}/{namespace}"]


def namespaces_of(prefix):
    """The network namespaces that carry `prefix`, of a running lab or left by a dead one."""
    try:
        names = os.listdir(NAMESPACE_ROOT)
    except FileNotFoundError:
        return []
    # The exact shape: lab "a" must not touch what belongs to a lab "a-b".
    return sorted(name for name in names if re.fullmatch(rf"{prefix}-(sw|n\d+)", name))


def build(topology):
    """Makes all namespaces, bridges and cables; every cable of a node is still unplugged."""
    switch = topology.switch_namespace
    node_namespaces = [topology.namespace(node.name) for node in topology.nodes]
    for namespace in [switch, *node_namespaces]:
        run(["ip", "netns", "add", namespace])
        # No IPv6: its address detection would talk on links that are meant to be silent.
        run([*enter(namespace), "sh", "-c",
             "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done"
             " 2>/dev/null; ip link set lo up"])
    _batch(switch, _switch_lines())
    _batch(switch, itertools.chain.from_iterable(_cable_lines(topology, n) for n in topology.nodes))
    for node in topology.nodes:
        _batch(topology.namespace(node.name), _node_lines(node))


def remove(prefix):
    """Removes all namespaces of the lab; with them go the cables. Processes must be gone."""
    for namespace in namespaces_of(prefix):
        run(["ip", "netns", "delete", namespace])


def plug(topology, node):
    """Connects all cables of a node, at the switch and in the node."""
    _batch(topology.switch_namespace, [f"link set {node.port(link)} up" for link in LINKS])
    inside = [f"link set {node.interface(link)} up" for link in LINKS]
    _batch(topology.namespace(node.name), [*inside, "neigh flush all"])


def unplug(topology, node):
    """Cuts all cables of a node at the switch: from now on nobody hears it, not even a RST."""
    _batch(topology.switch_namespace, [f"link set {node.port(link)} down" for link in LINKS])


def partition(topology, groups, links=LINKS):
    """Drops everything between nodes of different groups, on `links`; replaces earlier cuts.

    `groups` are lists of node names; nodes that are in no group keep all their connections.
    """
    seen = list(itertools.chain.from_iterable(groups))
    if len(seen) != len(set(seen)):
        raise LabError("partition: a node is in two groups")
    pairs = set()
    for one, other in itertools.combinations(groups, 2):
        for first, second in itertools.product(one, other):
            pairs.add((first, second))
            pairs.add((second, first))
    cut(topology, sorted(pairs), links)


def cut(topology, pairs, links=LINKS):
    """Drops what travels from `first` to `second` for each pair (one way each), on `links`."""
    rules = []
    for first, second in pairs:
        for link in links:
            source, target = topology.plan(first).port(link), topology.plan(second).port(link)
            rules.append(f'  iifname "{source}" oifname "{target}" drop')
    table = [
        f"table bridge {FAULT_TABLE}", f"delete table bridge {FAULT_TABLE}",
        f"table bridge {FAULT_TABLE} {{",
        " chain cuts { type filter hook forward priority 0; policy accept;",
        *rules, " }", "}", "",
    ]
    _nft(topology, ["-f", "-"], "\n".join(table))


def heal(topology):
    """Takes all cuts away."""
    lines = [f"table bridge {FAULT_TABLE}", f"delete table bridge {FAULT_TABLE}", ""]
    _nft(topology, ["-f", "-"], "\n".join(lines))


def cuts(topology):
    """The cut directions in force, as sorted (from port, to port) pairs."""
    listed = json.loads(_nft(topology, ["-j", "list", "ruleset"]).stdout)["nftables"]
    found = []
    for rule in (entry["rule"] for entry in listed if "rule" in entry):
        ends = [part["match"]["right"] for part in rule["expr"] if "match" in part]
        found.append(tuple(ends))
    return sorted(found)


def set_switch_address(topology, address, present):
    """Gives the switch an address on link c or takes it away: without it, silence."""
    verb = "replace" if present else "delete"
    run(["ip", "-n", topology.switch_namespace, "address", verb, f"{address}/24", "dev", "brc"],
        check=present)


def _switch_lines():
    for link in LINKS:
        yield f"link add br{link} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
        yield f"link set br{link} up"
    yield f"address add {ARBITER_ADDRESS}/24 dev brc"


def _cable_lines(topology, node):
    for link in LINKS:
        peer = f"peer name {node.interface(link)} netns {topology.namespace(node.name)}"
        yield f"link add {node.port(link)} type veth {peer}"
        yield f"link set {node.port(link)} master br{link}"


def _node_lines(node):
    for link in ("a", "b"):
        yield f"address add {node.address(link)}/24 dev {node.interface(link)}"
    # A fixed MAC, or the bridge would take a new one whenever a guest's tap appears.
    yield f"link add {GUEST_BRIDGE} address 52:54:00:99:00:{node.index:02x} type bridge"
    yield f"link set {node.interface('c')} master {GUEST_BRIDGE}"
    yield f"address add {node.address('c')}/24 dev {GUEST_BRIDGE}"
    yield f"link set {GUEST_BRIDGE} up"


def _batch(namespace, lines):
    run(["ip", "-n", namespace, "-batch", "-"], stdin_text="\n".join(lines) + "\n")


def _nft(topology, arguments, text=None):
    return run([*enter(topology.switch_namespace), "nft", *arguments], stdin_text=text)
