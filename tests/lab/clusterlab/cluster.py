"""The front door: a whole lab as one object, for scenarios, the demo and the command line.

    cluster = Cluster.up("demo", 4)
    cluster.wait_formed()
    cluster.node("n1").power_cut()
    cluster.ctl("n2", "status", "--json")
    cluster.down()

`Cluster.open(prefix)` finds a lab that another process brought up. Nothing lives in this object:
the truth is in the kernel and in the lab's folder.
"""

import concurrent.futures
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import time

from . import declarations, freezer, image, network, qemu, witness
from .arbiter import Arbiter
from .bmc import Bmc
from .metrics import Metrics
from .node import Node
from .system import CommandFailed, LabError, ProcessId, all_pids, namespace_inode, run
from .topology import DEFAULT_BIN, MAX_NODES, Topology, directory_of
from .wait import wait_until

READY_TIMEOUT = 30.0
MEMBERSHIP_INTERVAL = 0.25  # asking costs Corosync 18 ms of real-time CPU
METRICS_URL = "http://127.0.0.1:9465/metrics"


class Cluster:
    """A lab that is up."""

    def __init__(self, topology):
        self.topology = topology
        self.nodes = {plan.name: Node(topology, plan.name) for plan in topology.nodes}
        self.bmcs = {plan.name: Bmc(topology, plan) for plan in topology.nodes}
        self.arbiter = Arbiter(topology) if topology.arbiter else None

    # --- life --------------------------------------------------------------------------------

    @staticmethod
    def up(prefix="lab", node_count=4, *, guests=True, arbiter=False, token_ms=1000,
           bin_directory=DEFAULT_BIN, hold_clusterd=False):
        """Removes what is left of an earlier lab of this name, then builds and boots all nodes.

        Returns when every node's Corosync and libvirtd say they are ready; `wait_formed` waits for
        the ring. `guests` builds the guests' image too, at the first time (some seconds).
        `hold_clusterd` boots without clusterd; Node.release_service("clusterd") starts it.
        """
        if not 1 <= node_count <= MAX_NODES:
            raise LabError(f"a lab has 1 to {MAX_NODES} nodes, not {node_count}")
        down(prefix)
        topology = Topology(
            prefix=prefix, node_count=node_count, directory=directory_of(prefix),
            bin_directory=os.path.abspath(bin_directory), guests=guests, arbiter=arbiter,
            token_ms=token_ms, bmc_password=secrets.token_hex(6),
        )
        os.makedirs(topology.shared_directory)
        topology.save()
        cluster = Cluster(topology)
        network.build(topology)
        if cluster.arbiter:
            cluster.arbiter.start()
        for node in cluster.nodes.values():
            node.install()
            if guests:
                image.preload_capabilities(node)
            if hold_clusterd:
                node.hold_service("clusterd")
        cluster._each(lambda name: cluster.bmcs[name].start())
        cluster._each(lambda name: cluster.nodes[name].boot())
        cluster.wait_ready()
        if guests:
            image.guest_image()
            image.share_capabilities(cluster)
        return cluster

    @staticmethod
    def open(prefix="lab"):
        return Cluster(Topology.load(prefix))

    def down(self):
        """Ends and removes everything of this lab."""
        down(self.topology.prefix)

    # --- parts -------------------------------------------------------------------------------

    def node(self, name):
        return self.nodes[self.topology.plan(name).name]

    def bmc(self, name):
        return self.bmcs[self.topology.plan(name).name]

    def partition(self, *groups):
        """Cuts the network between groups of node names; everybody still reaches all BMCs."""
        network.partition(self.topology, groups)

    def heal(self):
        network.heal(self.topology)

    # --- waiting -----------------------------------------------------------------------------

    def wait_ready(self, names=None, deadline=READY_TIMEOUT):
        """Waits until Corosync and libvirtd of the nodes (default: all) run."""
        for name in names or self.nodes:
            node = self.node(name)
            wait_until(lambda n=node: _ready(n), deadline, f"services of {name} ready")

    def wait_formed(self, names=None, deadline=READY_TIMEOUT):
        """Waits until all the named nodes see exactly each other, quorate; returns the seconds."""
        names = list(names or self.nodes)
        begin = time.monotonic()
        for name in names:
            left = max(1.0, deadline - (time.monotonic() - begin))
            wait_until(lambda n=name: self.membership(n) == (set(names), True), left,
                       f"{name} sees {', '.join(names)}, quorate", MEMBERSHIP_INTERVAL)
        return time.monotonic() - begin

    def membership(self, name):
        """(names that Corosync on this node sees, quorate); (set(), False) if it does not answer"""
        with contextlib.suppress(LabError):
            said = self.node(name).run(["corosync-quorumtool", "-s"], check=False, timeout=5).stdout
            listed = said.partition("Membership information")[2]
            members = re.findall(r"^ *[1-9]\d* .* (n\d+)(?: \(local\))?$", listed, re.M)
            return set(members), bool(re.search(r"^Quorate:\s+Yes", said, re.M))
        return set(), False

    # --- the cluster's own word --------------------------------------------------------------

    def found(self, via="n1", **declaration):
        """Founds the cluster and declares VMs, as an operator would; see declarations.write."""
        folder = os.path.join(self.topology.directory, "declarations")
        declarations.write(self.topology, folder, **declaration)
        self.ctl(via, "init", self.topology.prefix)
        self.ctl(via, "apply", "-f", os.path.join(folder, "lab.yaml"))

    def ctl(self, name, *words, timeout=60.0):
        """Runs clusterctl on a node. With --json among the words: the parsed answer, else text.

        Raises CommandFailed (its `result` has exit code and stderr) on any exit code but 0.
        """
        result = self.ctl_result(name, *words, timeout=timeout)
        if result.returncode != 0:
            raise CommandFailed(["clusterctl", *words], result)
        return json.loads(result.stdout) if "--json" in words else result.stdout

    def ctl_result(self, name, *words, timeout=60.0):
        """The same for a caller that expects a refusal: returns the CompletedProcess."""
        return self.node(name).run(["clusterctl", *words], check=False, timeout=timeout)

    def metrics(self, name):
        """What clusterd on the node shows to Prometheus, now."""
        page = self.node(name).run(["busybox", "wget", "-q", "-O", "-", METRICS_URL], timeout=5)
        return Metrics(page.stdout)

    # --- what is really there ----------------------------------------------------------------

    def qemu_processes(self):
        """All QEMU processes of the lab's guests, straight from /proc; see qemu.QemuProcess."""
        return qemu.scan(qemu.node_map(self.topology))

    def qemu_pids(self):
        """vm uuid -> list of (node name, pid as the host counts)."""
        found = {}
        for process in self.qemu_processes():
            found.setdefault(process.uuid, []).append((process.node, process.pid))
        return found

    def agent_ping(self, name, vm, timeout=2.0):
        """Whether the guest agent of the VM, asked through the node's libvirt, answers."""
        command = ["virsh", "-k", "1", "-K", "3", "qemu-agent-command", "--timeout",
                   str(max(1, int(timeout))), vm, '{"execute":"guest-ping"}']
        with contextlib.suppress(LabError):
            answer = self.node(name).run(command, check=False, timeout=timeout + 2.0)
            return answer.returncode == 0 and '"return"' in answer.stdout
        return False

    def _each(self, action):
        """Runs action(node name) for all nodes in parallel; the first error is raised."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(action, self.nodes))


def down(prefix):
    """Ends every process of the lab `prefix` and removes what it made, however it was left."""
    directory = directory_of(prefix)
    with contextlib.suppress(LabError):
        cluster = Cluster.open(prefix)
        witness.end_all(cluster.topology)
        cluster._each(lambda name: cluster.nodes[name].power_cut())
        for bmc in cluster.bmcs.values():
            bmc.stop()
    _end_strays(prefix)
    for loop in run(["losetup", "-l", "-n", "-O", "NAME,BACK-FILE"]).stdout.splitlines():
        device, _, backing = loop.partition(" ")
        if backing.strip().startswith(directory + "/"):
            run(["losetup", "-d", device])
    network.remove(prefix)
    for name in freezer.groups_of(prefix):
        freezer.Freezer(name).remove()
    shutil.rmtree(directory, ignore_errors=True)


def leftovers(prefix):
    """What a `down` should have removed and did not, as sentences."""
    found = [f"network namespace {name}" for name in network.namespaces_of(prefix)]
    found += [f"control group of {name}" for name in freezer.groups_of(prefix)]
    directory = directory_of(prefix)
    if os.path.exists(directory):
        found.append(f"folder {directory}")
    for pid in all_pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if f"{directory}/".encode() in file.read() and pid != os.getpid():
                found.append(f"process {pid}")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        found += [f"mount {line.split()[4]}" for line in file if f" {directory}/" in line]
    return found


def _end_strays(prefix):
    """Kills what still lives in the lab's network namespaces: arbiter, shells, half-built nodes."""
    inodes = set()
    for name in network.namespaces_of(prefix):
        with contextlib.suppress(OSError):
            inodes.add(os.stat(os.path.join(network.NAMESPACE_ROOT, name)).st_ino)
    if not inodes:
        return
    strays = [ProcessId.of(pid) for pid in all_pids() if namespace_inode(pid, "net") in inodes]
    for stray in filter(None, strays):
        stray.signal(signal.SIGKILL)
    for stray in filter(None, strays):
        stray.wait_gone(10.0)


def _ready(node):
    services = node.services()
    return bool(services) and all(
        services[name]["state"] in ("running", "held") for name in ("corosync", "libvirtd"))

