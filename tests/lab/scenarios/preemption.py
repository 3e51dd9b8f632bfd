#!/usr/bin/python3
"""The backup node is full of dev/test VMs when a host with production VMs loses its power.

The three VMs of n1 must run on n3 again, which has room for four: two of the three preemptible VMs
there shut down to make it, no more, and the most important one runs on untouched. When n1 is back
they start again, there. The witness sees that nothing ran twice.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    events, found_and_wait, last_event, status, vms, wait_agents, wait_online, wait_vms)
from clusterlab.wait import wait_until  # noqa: E402

PRODUCTION = {"vm1": "n1", "vm2": "n1", "vm3": "n1"}
TESTS = {"vm4": "n3", "vm5": "n3", "vm6": "n3"}
RECOVERED = {name: "n3" for name in PRODUCTION}
PHASES = ("activated", "fenced", "planned", "first_active", "last_active", "agents")


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        scenario.step("three VMs on n1; n3, the backup node, is full of preemptible ones")
        # The lab's VMs have equal sizes and priorities: the order of their ids decides.
        found_and_wait(cluster, PRODUCTION | TESTS, workers=["n1", "n3"], backup="n3",
                       preemptible=set(TESTS), room={"n1": 3, "n2": 0, "n3": 4})
        expect(reserve(cluster)["ok"], f"the loss of any host can be borne: {reserve(cluster)}")
        makes_room(scenario, cluster)
        comes_back(scenario, cluster)
    scenario.saw_no_vm_twice(witness)


def makes_room(scenario, cluster):
    scenario.step("power cut of n1")
    foreseen = cluster.ctl("n2", "what-if", "--down", "n1", "--json")
    leaving = {action["vm"] for action in foreseen["actions"] if action["action"] == "preempt"}
    expect(foreseen["feasible"] and len(leaving) == 2 and leaving < set(TESTS),
           f"what-if foresees two who leave: {foreseen['actions']}")
    staying = (set(TESTS) - leaving).pop()
    before = process_of(cluster, staying)
    seen = last_event(cluster, "n2")
    cluster.node("n1").power_cut()
    scenario.measured("its VMs run on n3 after", wait_vms(cluster, "n2", RECOVERED))
    scenario.measured("and their agents answer after", wait_agents(cluster, RECOVERED))
    wait_until(lambda: record(cluster)["phases_ms"]["agents"] is not None, 30.0,
               "the record has the agents' phase")
    stopped = {event["vm"] for event in events(cluster, "n2", seen)
               if event["kind"] == "vm_stopped"}
    expect(stopped == leaving, f"exactly those left: {stopped}")
    expect(process_of(cluster, staying) == before, f"{staying} runs on untouched")
    shown = vms(cluster, "n2")
    for name in leaving:
        expect(shown[name]["state"] == "preempted" and "memory" in shown[name]["reason"],
               f"{name} says why it waits: {shown[name]}")
    ring = record(cluster)["phases_ms"]
    scenario.step("    from the new ring: "
                  + ", ".join(f"{phase} {ring[phase]} ms" for phase in PHASES))


def comes_back(scenario, cluster):
    scenario.step("n1 gets its power back, and the others start there")
    cluster.node("n1").boot()
    wait_online(cluster)
    left = {name: "n1" for name, vm in vms(cluster, "n2").items() if vm["node"] != "n3"}
    expect(len(left) == 2, f"two were away: {left}")
    scenario.measured("they run after", wait_vms(cluster, "n2", left))
    wait_vms(cluster, "n2", RECOVERED)


def reserve(cluster):
    return status(cluster, "n2")["cluster"]["reserve"]


def process_of(cluster, name):
    return [(process.node, process.pid) for process in cluster.qemu_processes()
            if process.name == name]


def record(cluster):
    return cluster.ctl("n2", "failover", "list", "--json")["failovers"][-1]


if __name__ == "__main__":
    run(body, node_count=3)
