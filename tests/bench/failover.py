#!/usr/bin/python3
"""How fast is a failover, and what does watching cost? Real hosts of the lab, real guests.

  sudo tests/bench/failover.py [--vms 3,9] [--pairs 5] [--bin DIR]

For each number of VMs a host that runs them all loses its power, in pairs: once it is the
coordinator (n1), once it is not (n2). Printed are the phases of the cluster's own record, from the
new ring on, and `active` as a witness outside the cluster samples it from libvirt, for which the
clock of both is the same machine's. Then the same number of guests is created by as many parallel
`virsh create` on the host that has just taken over, in the same minute: the ratio says what is lost
between libvirt and us. At last the steady state is measured: processor time of the daemon with its
children, and its resident memory.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))

from clusterlab import capabilities  # noqa: E402
from clusterlab.cluster import Cluster, down  # noqa: E402
from clusterlab.guests import Guest  # noqa: E402
from clusterlab.system import complete_path, write_file  # noqa: E402
from clusterlab.topology import DEFAULT_BIN  # noqa: E402
from clusterlab.view import vms, wait_agents, wait_online, wait_vms  # noqa: E402
from clusterlab.wait import wait_until  # noqa: E402
from clusterlab.witness_process import WitnessProcess  # noqa: E402

NAME = "bench"
PHASES = ("activated", "fenced", "planned", "first_active", "last_active", "create_returned",
          "agents")
IDLE_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


def main():
    options = arguments()
    complete_path()
    capabilities.require()
    for count in options.vms:
        runs = {"n1": [], "n2": []}
        for pair in range(options.pairs):
            for lost in ("n1", "n2") if pair % 2 == 0 else ("n2", "n1"):
                runs[lost].append(measured(options, count, lost, idle=pair == 0 and lost == "n1"))
        report(count, runs)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vms", type=lambda text: [int(n) for n in text.split(",")],
                        default=[3, 9])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--bin", default=DEFAULT_BIN)
    return parser.parse_args()


def measured(options, count, lost, idle):
    """One failover in a fresh lab: its phases in ms, and what stands beside them."""
    cluster = Cluster.up(NAME, 4, bin_directory=os.path.abspath(options.bin))
    try:
        cluster.wait_formed()
        cluster.found(workers=[lost], backup="n4", vms_per_node=count)
        wait_online(cluster)
        homes = {f"vm{number + 1}": lost for number in range(count)}
        wait_vms(cluster, "n3", homes, 120.0)
        wait_agents(cluster, homes, 180.0)
        if idle:
            steady_state(cluster, lost, count)
        run = fail_over(cluster, lost, homes)
        run["raw_create"] = raw_create(cluster, count)
        return run
    finally:
        down(NAME)


def fail_over(cluster, lost, homes):
    path = os.path.join(cluster.topology.directory, "witness.jsonl")
    with WitnessProcess(cluster, path, activity=True) as witness:
        cut = time.clock_gettime(time.CLOCK_BOOTTIME)
        cluster.node(lost).power_cut()
        moved = {name: "n4" for name in homes}
        wait_vms(cluster, "n3", moved, 120.0)
        wait_agents(cluster, moved, 180.0)

        def record():
            return cluster.ctl("n3", "failover", "list", "--json")["failovers"][-1]
        wait_until(lambda: record()["phases_ms"]["agents"] is not None, 60.0, "agents' phase")
        run = dict(record()["phases_ms"])
        uuids = {vm["uuid"] for vm in vms(cluster, "n3").values()}
        active = [event["t"] - cut for event in witness.events("active", node="n4")
                  if event["uuid"] in uuids]
    witness.require_ok()
    run["witness_first"], run["witness_last"] = min(active) * 1000, max(active) * 1000
    return run


def raw_create(cluster, count):
    """ms until as many parallel `virsh create` on n4 have returned, with nothing else running."""
    for name in vms(cluster, "n3"):
        cluster.ctl("n3", "vm", "disable", name)
    node = cluster.node("n4")
    for name in node.run(["virsh", "-q", "list", "--name"]).stdout.split():
        node.run(["virsh", "destroy", name])
    files = []
    for number in range(count):
        guest = Guest(f"raw{number + 1}", 50 + number, cluster.topology.shared_directory)
        guest.make_disk()
        files.append(os.path.join(cluster.topology.directory, f"{guest.name}.xml"))
        write_file(files[-1], guest.domain_xml())
    begin = time.monotonic()
    creates = [node.popen(["virsh", "-q", "create", file], stdout=subprocess.DEVNULL)
               for file in files]
    if any(create.wait() != 0 for create in creates):
        raise RuntimeError("virsh create failed")
    return (time.monotonic() - begin) * 1000


def steady_state(cluster, busy, count):
    """Prints what each daemon costs while nothing happens."""
    before = {name: cost(cluster, name) for name in cluster.nodes}
    calls = {name: libvirt_calls(cluster, name) for name in cluster.nodes}
    time.sleep(IDLE_SECONDS)
    print(f"steady state, {count} VMs on {busy}, {IDLE_SECONDS:g} s:")
    for name in cluster.nodes:
        seconds = cost(cluster, name) - before[name]
        made = libvirt_calls(cluster, name) - calls[name]
        print(f"  {name}: {100 * seconds / IDLE_SECONDS:.2f} % of a core,"
              f" {resident(cluster, name) / 2**20:.1f} MiB resident, {made:g} libvirt calls")
    print(flush=True)


def cost(cluster, name):
    """Processor seconds of the daemon and of its children that ended."""
    fields = of_daemon(cluster, name, "stat").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def resident(cluster, name):
    return int(of_daemon(cluster, name, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def of_daemon(cluster, name, what):
    pid = cluster.node(name).service_pid("clusterd")
    with open(f"/proc/{pid}/{what}", encoding="ascii") as file:
        return file.read()


def libvirt_calls(cluster, name):
    return cluster.metrics(name).value("clusterd_libvirt_calls_total") or 0


def report(count, runs):
    print(f"{count} VMs, medians in ms of {len(runs['n1'])} paired runs, from the new ring"
          " (witness: from the power cut):")
    print(f"  {'':16} {'coordinator':>12} {'other host':>12} {'ratio':>7}")
    for phase in (*PHASES, "witness_first", "witness_last", "raw_create"):
        values = [statistics.median(run[phase] for run in runs[lost]) for lost in ("n1", "n2")]
        ratio = f"{values[0] / values[1]:7.2f}" if values[1] else "      -"
        print(f"  {phase:16} {values[0]:12.0f} {values[1]:12.0f} {ratio}")
    both = runs["n1"] + runs["n2"]
    ratios = [(run["create_returned"] - run["planned"]) / run["raw_create"] for run in both]
    print(f"  all creates, from the plan to the last return, against raw virsh create:"
          f" median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}\n", flush=True)


if __name__ == "__main__":
    main()
