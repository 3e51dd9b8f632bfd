#!/usr/bin/python3
"""The main job: three hosts with three VMs each and one backup host; hosts lose their power.

First n2, then n1, which coordinates. Each time the survivors must notice, prove the death through
IPMI, and start exactly the three VMs of the lost host on n4, whose agents must answer; a QEMU
process that was not concerned must not have changed. The witness sees that nothing ran twice.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    events, kinds, last_event, node_state, status, vms, wait_agents, wait_online, wait_vms)
from clusterlab.wait import wait_until  # noqa: E402

HOMES = {f"vm{number}": f"n{(number + 2) // 3}" for number in range(1, 10)}
PHASES = ("fenced", "planned", "first_active", "last_active", "agents")


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        scenario.step("nine VMs are declared and start where they are preferred")
        cluster.found(workers=["n1", "n2", "n3"], backup="n4")
        wait_online(cluster)
        scenario.measured("all nine run after", wait_vms(cluster, "n1", HOMES))
        scenario.measured("all nine agents answer after", wait_agents(cluster, HOMES))
        loses_power(scenario, cluster, lost="n2", asked="n3", others={"n1", "n3"})
        returns_clean(scenario, cluster, "n2")
        expect(status(cluster, "n3")["cluster"]["coordinator"] == "n1", "n1 coordinates")
        loses_power(scenario, cluster, lost="n1", asked="n3", others={"n3", "n4"})
        returns_clean(scenario, cluster, "n1")
    scenario.saw_no_vm_twice(witness)


def loses_power(scenario, cluster, *, lost, asked, others):
    scenario.step(f"power cut of {lost}")
    victims = {name for name, vm in vms(cluster, asked).items() if vm["node"] == lost}
    before = processes(cluster)
    seen = last_event(cluster, asked)
    expect(len(victims) == 3, f"{lost} has three VMs: {victims}")
    homes = {name: "n4" for name in victims}
    foreseen = cluster.ctl(asked, "what-if", "--down", lost, "--json")
    expect({action["vm"]: action["to"] for action in foreseen["actions"]} == homes,
           f"what-if foresees it: {foreseen['actions']}")
    cluster.node(lost).power_cut()
    scenario.measured("its VMs run on n4 after", wait_vms(cluster, asked, homes))
    scenario.measured("and their agents answer after", wait_agents(cluster, homes))
    wait_until(lambda: failover(cluster, asked)["phases_ms"]["agents"] is not None, 30.0,
               "the record has the agents' phase")
    told = events(cluster, asked, seen)
    proofs = [event for event in told if event["kind"] == "node_dead"]
    expect([event["node"] for event in proofs] == [lost], f"one death, proven once: {proofs}")
    expect(f"bmc-{lost} sa" in proofs[0]["text"], "proven through its BMC")
    scenario.step(f"    {proofs[0]['text']}")
    started = sorted(event["vm"] for event in told if event["kind"] == "vm_starting")
    expect(started == sorted(victims), f"exactly its VMs were started: {started}")
    after = processes(cluster)
    untouched = {key for key in before if key[0] != lost}
    expect(untouched <= after, "no other QEMU process changed")
    expect(others <= {node for node, _, _ in after}, "the others still run VMs")
    record = failover(cluster, asked)
    scenario.step("    from the new ring: " + ", ".join(
        f"{phase} {record['phases_ms'][phase]} ms" for phase in PHASES))


def returns_clean(scenario, cluster, name):
    scenario.step(f"{name} gets its power back and joins without starting anything")
    seen = last_event(cluster, "n3")
    cluster.node(name).boot()
    wait_until(lambda: node_state(cluster, "n3", name) == "online", 30.0, f"{name} is online")
    wait_online(cluster)
    expect("vm_starting" not in kinds(cluster, "n3", seen), "nothing was started")
    expect(not [key for key in processes(cluster) if key[0] == name], "no VM runs there")


def processes(cluster):
    return {(process.node, process.name, process.pid) for process in cluster.qemu_processes()}


def failover(cluster, asked):
    return cluster.ctl(asked, "failover", "list", "--json")["failovers"][-1]


if __name__ == "__main__":
    run(body)
