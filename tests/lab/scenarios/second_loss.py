#!/usr/bin/python3
"""A second host dies while the first failover is under way: both are recovered, side by side.

Five nodes, so that three that are left still have the quorum. The first host's BMC takes its time:
the second one dies before the first proof.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    events, found_and_wait, kinds, last_event, vms, wait_agents, wait_vms)
from clusterlab.wait import wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n2", "vm3": "n3"}
SLOW = 2.0


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1", "n2", "n3"], backup="n5", vms_per_node=1)
        two_die(scenario, cluster)
    witness.require_ok()


def two_die(scenario, cluster):
    scenario.step(f"n1 dies, its BMC needs {SLOW:g} s; n2 dies meanwhile")
    seen = last_event(cluster, "n4")
    before = {(p.node, p.pid) for p in cluster.qemu_processes() if p.node == "n3"}
    cluster.bmc("n1").set_delay(SLOW)
    cluster.node("n1").power_cut()
    wait_until(lambda: "fence_started" in kinds(cluster, "n4", seen), 10.0, "a fence begins")
    expect(vms(cluster, "n4")["vm1"]["state"] == "unknown", "vm1 waits for the proof")
    cluster.node("n2").power_cut()
    homes = {"vm1": "n5", "vm2": "n5", "vm3": "n3"}
    scenario.measured("both VMs run on n5 after", wait_vms(cluster, "n4", homes))
    wait_agents(cluster, homes)
    told = events(cluster, "n4", seen)
    deaths = {event["node"]: event["at_ms"] for event in told if event["kind"] == "node_dead"}
    fences = [event for event in told if event["kind"] == "fence_started"]
    expect(set(deaths) == {"n1", "n2"}, f"two deaths, both proven: {deaths}")
    for event in told:
        if event["kind"] in ("fence_started", "node_dead"):
            scenario.step(f"    {event['at']}  {event['text']}")
    # Its fence begins, or what was read before the ring broke tells that none is needed.
    second = [event["at_ms"] for event in fences if event["node"] == "n2"] + [deaths["n2"]]
    expect(min(second) < deaths["n1"], "the second proof did not wait for the first")
    started = sorted(event["vm"] for event in told if event["kind"] == "vm_starting")
    expect(started == ["vm1", "vm2"], f"each was started once: {started}")
    after = {(p.node, p.pid) for p in cluster.qemu_processes() if p.node == "n3"}
    expect(before == after, "vm3 was not touched")


if __name__ == "__main__":
    run(body, node_count=5)
