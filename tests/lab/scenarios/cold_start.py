#!/usr/bin/python3
"""All hosts lose their power at once, and not all return, or not with their memory.

A missing host whose BMC reads off is dead at once, by what its BMC said while it lived. One whose
BMC reads on may still be booting: it is fenced after startup_wait (20 s here), and only then its VM
starts elsewhere. Without a majority of intact states nothing starts until an operator says so.
"""

import os
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    events, found_and_wait, last_event, node_state, status, wait_agents, wait_online, wait_vms)
from clusterlab.wait import holds_for, wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n2", "vm3": "n3"}
WITHOUT_N1 = {"vm1": "n4", "vm2": "n2", "vm3": "n3"}
ALL = ("n1", "n2", "n3", "n4")
STARTUP_WAIT = 20.0
DEADLINE = 60.0


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1", "n2", "n3"], backup="n4", vms_per_node=1)
        missing_host_reads_off(scenario, cluster)
        missing_host_reads_on(scenario, cluster)
        wiped_and_missing(scenario, cluster)
        majority_is_wiped(scenario, cluster)
    witness.require_ok()


def missing_host_reads_off(scenario, cluster):
    scenario.step("all lose power; n1 stays off: its BMC reads off, that proves its death")
    seen = last_event(cluster, "n2")
    all_off(cluster)
    boot(cluster, "n2", "n3", "n4")
    took = wait_vms(cluster, "n2", WITHOUT_N1)
    scenario.measured("all VMs run after", took, STARTUP_WAIT)
    proof = death_of(cluster, "n1", seen)
    scenario.step(f"    {proof['text']}, {waited(cluster, proof, seen):.1f} s after the new ring")
    expect(waited(cluster, proof, seen) < STARTUP_WAIT / 2, "nobody waited for startup_wait")
    wait_agents(cluster, WITHOUT_N1)
    boot(cluster, "n1")
    wait_online(cluster)


def missing_host_reads_on(scenario, cluster):
    scenario.step("n1 gets vm1 back; then all lose power, and n1 boots without Corosync")
    cluster.ctl("n1", "vm", "stop", "vm1")
    cluster.ctl("n1", "vm", "start", "vm1")
    wait_vms(cluster, "n1", HOMES)
    seen = last_event(cluster, "n2")
    cluster.node("n1").hold_service("corosync")  # at once, before anybody has noticed:
    all_off(cluster)
    boot(cluster, *ALL)
    wait_until(lambda: node_state(cluster, "n2", "n1") in ("lost", "fencing"), DEADLINE,
               "n1 counts as lost")
    wait_vms(cluster, "n2", {"vm2": "n2", "vm3": "n3"})
    scenario.measured("vm1 runs on n4 after", wait_vms(cluster, "n2", WITHOUT_N1))
    expect(not cluster.node("n1").powered, "n1 has lost its power")
    told = events(cluster, "n2", seen)
    proof = death_of(cluster, "n1", seen)
    expect(waited(cluster, proof, seen) >= STARTUP_WAIT, "it was fenced only after startup_wait")
    started = [event for event in told if event["kind"] == "vm_starting" and event["vm"] == "vm1"]
    expect([event["at_ms"] >= proof["at_ms"] for event in started] == [True],
           "and vm1 started once, after that")
    scenario.step(f"    {proof['text']}, {waited(cluster, proof, seen):.1f} s after the new ring")
    cluster.node("n1").release_service("corosync")
    boot(cluster, "n1")
    wait_online(cluster)


def wiped_and_missing(scenario, cluster):
    scenario.step("all lose power; n4 stays away, n3 has lost its disk: two intact states of four")
    all_off(cluster)
    wipe(cluster, "n3")
    boot(cluster, "n1", "n2", "n3")
    nothing_starts(scenario, cluster)
    refused = cluster.ctl_result("n1", "recover", "--accept-state", "n1")
    expect(refused.returncode == 1 and "n4" in refused.stderr,
           f"not while n4 may know more: {refused.stderr.strip()}")
    boot(cluster, "n4")
    operator_accepts(scenario, cluster)


def majority_is_wiped(scenario, cluster):
    scenario.step("all lose power, and three of four their disks")
    all_off(cluster)
    wipe(cluster, "n2", "n3", "n4")
    boot(cluster, *ALL)
    nothing_starts(scenario, cluster)
    operator_accepts(scenario, cluster)


def nothing_starts(scenario, cluster):
    wait_until(lambda: "--accept-state" in status(cluster, "n1")["cluster"].get("waiting", ""),
               DEADLINE, "status says what to do")
    scenario.step(f"    {status(cluster, 'n1')['cluster']['waiting']}")
    holds_for(lambda: not cluster.qemu_pids(), 10.0, "nothing starts", 0.2)


def operator_accepts(scenario, cluster):
    wait_until(lambda: set(status(cluster, "n1")["cluster"]["members"]) == set(ALL), DEADLINE,
               "all are members")
    wait_until(lambda: cluster.ctl_result("n1", "recover", "--accept-state", "n1").returncode == 0,
               DEADLINE, "an operator accepts n1's state", 0.5)
    wait_online(cluster)
    took = wait_vms(cluster, "n2", WITHOUT_N1)
    scenario.measured("all VMs run where they ran, after the operator's word", took)


def all_off(cluster):
    cluster._each(lambda name: cluster.node(name).power_cut())


def boot(cluster, *names):
    for name in names:
        cluster.node(name).boot()


def wipe(cluster, *names):
    for name in names:
        folder = cluster.node(name).disk("/var/lib/clusterd")
        shutil.rmtree(folder)
        os.mkdir(folder, 0o700)


def death_of(cluster, name, seen):
    deaths = [event for event in events(cluster, "n2", seen)
              if event["kind"] == "node_dead" and event["node"] == name]
    expect(len(deaths) == 1, f"{name} died once: {deaths}")
    return deaths[0]


def waited(cluster, event, seen):
    """Seconds from the first Activate after `seen` to an event."""
    first = next(other for other in events(cluster, "n2", seen) if other["kind"] == "activated")
    return (event["at_ms"] - first["at_ms"]) / 1000


if __name__ == "__main__":
    run(body)
