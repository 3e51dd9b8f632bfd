"""The cluster's own word, as clusterctl on one node tells it, and waiting for it."""

import json

from .wait import wait_until

DEADLINE = 60.0
BLANK = {"cluster": {"name": "", "founded": None, "coordinator": None, "quorate": None,
                     "epoch": None, "members": [], "active": False},
         "nodes": [], "vms": [], "operations": [], "alarms": []}


def status(cluster, asked):
    """What `status --json` on a node says; blank while its daemon does not answer."""
    result = cluster.ctl_result(asked, "status", "--json")
    return json.loads(result.stdout) if result.returncode == 0 else BLANK


def node_state(cluster, asked, name):
    states = {node["name"]: node["state"] for node in status(cluster, asked)["nodes"]}
    return states.get(name)


def vms(cluster, asked):
    """name -> what `status` says of each VM."""
    return {vm["name"]: vm for vm in status(cluster, asked)["vms"]}


def vms_on(cluster, asked, node):
    """The names of the VMs that run on a node."""
    return {name for name, vm in vms(cluster, asked).items()
            if vm["node"] == node and vm["state"] == "running"}


def events(cluster, asked, after=0):
    """The history after an event's number, oldest first."""
    return cluster.ctl(asked, "history", "--after", str(after), "--json")["events"]


def last_event(cluster, asked):
    told = events(cluster, asked)
    return told[-1]["sequence"] if told else 0


def kinds(cluster, asked, after=0):
    return [event["kind"] for event in events(cluster, asked, after)]


def wait_online(cluster, names=None, deadline=DEADLINE):
    """Waits until each of these nodes (default: all) follows the group and sees all of them online.

    A node without quorum shows the last it knew, so that alone says nothing.
    """
    names = set(names or cluster.nodes)

    def online(asked):
        told = status(cluster, asked)
        ring = told["cluster"]
        return (ring["quorate"] and ring["active"] and names <= set(ring["members"]) and names
                <= {node["name"] for node in told["nodes"] if node["state"] == "online"})
    for name in sorted(names):
        wait_until(lambda n=name: online(n), deadline, f"{name} sees {sorted(names)} online")


def wait_vms(cluster, asked, expected, deadline=DEADLINE):
    """Waits until the VMs of `expected` (name -> node) run there; returns the seconds."""
    def there():
        seen = vms(cluster, asked)
        return all(seen.get(name, {}).get("state") == "running" and seen[name]["node"] == node
                   for name, node in expected.items())
    return wait_until(there, deadline, f"{expected} on {asked}'s word", 0.1)


def wait_agents(cluster, expected, deadline=DEADLINE):
    """Waits until the guest agents of these VMs (name -> node) answer; returns the seconds."""
    left = dict(expected)

    def answered():
        for name, node in list(left.items()):
            if cluster.agent_ping(node, name):
                del left[name]
        return not left
    return wait_until(answered, deadline, f"agents of {sorted(left)}", 0.2)


def found_and_wait(cluster, homes, **declaration):
    """Founds and declares the cluster; waits until the VMs run at home and their agents answer."""
    cluster.found(**declaration)
    wait_online(cluster)
    wait_vms(cluster, min(cluster.nodes), homes)
    wait_agents(cluster, homes)


def agents_running(cluster):
    """Whether a fence agent runs anywhere in the lab."""
    search = ["pgrep", "-f", "[f]ence_ipmilan"]
    return any(cluster.node(name).run(search, check=False).returncode == 0
               for name in cluster.nodes if cluster.node(name).powered)
