#!/usr/bin/python3
"""The network is cut in halves, a host freezes and wakes up, a host is cut off alone.

Without quorum nobody may start or fence anything. A frozen host whose BMC does not answer keeps
its VMs: on its return the running fence agent is killed, and a BMC that works again must not fire
late. A host that is cut off alone is fenced, its VMs move, and it comes back empty-handed.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    agents_running, events, found_and_wait, kinds, last_event, node_state,
    status, vms, vms_on, wait_agents, wait_online, wait_vms)
from clusterlab.wait import holds_for, wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n2", "vm3": "n3"}
DEADLINE = 30.0
FROZEN = 9.0
LATE = 12.0  # a fence that fires late would do so within the agent's timeout


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1", "n2", "n3"], backup="n4", vms_per_node=1)
        halves_do_nothing(scenario, cluster)
        frozen_host_keeps_its_vm(scenario, cluster)
        minority_of_one_is_fenced(scenario, cluster)
    witness.require_ok()


def halves_do_nothing(scenario, cluster):
    scenario.step("2|2: no half starts or fences anything")
    before, seen = cluster.qemu_pids(), last_event(cluster, "n1")
    cluster.partition(["n1", "n2"], ["n3", "n4"])
    for name in ("n1", "n4"):
        wait_until(lambda n=name: status(cluster, n)["cluster"]["quorate"] is False, DEADLINE,
                   f"{name} is not quorate")
    refused = cluster.ctl_result("n1", "vm", "stop", "vm1")
    expect(refused.returncode == 3, f"a change without quorum: exit code {refused.returncode}")
    holds_for(lambda: cluster.qemu_pids() == before, 10.0, "nothing is started or ended", 0.2)
    expect(all(cluster.node(name).powered for name in cluster.nodes), "nobody lost its power")
    cluster.heal()
    wait_online(cluster)
    wait_vms(cluster, "n4", HOMES)
    expect(cluster.qemu_pids() == before, "everything runs as before")
    told = set(kinds(cluster, "n4", seen))
    expect(not told & {"fence_started", "vm_starting", "node_dead"}, f"nothing was tried: {told}")


def frozen_host_keeps_its_vm(scenario, cluster):
    scenario.step(f"n2 freezes for {FROZEN:g} s while its BMC does not answer")
    before, seen = cluster.qemu_pids(), last_event(cluster, "n1")
    cluster.bmc("n2").stop()
    cluster.node("n2").freeze()
    wait_until(lambda: "fence_started" in kinds(cluster, "n1", seen), FROZEN, "a fence begins")
    holds_for(lambda: vms(cluster, "n1")["vm2"]["state"] == "unknown", 3.0, "vm2 is unknown", 0.5)
    # The rest of the freeze: the fence agent is at work when the host wakes up.
    holds_for(lambda: cluster.qemu_pids() == before, FROZEN - 5.0, "nothing is started", 0.2)
    cluster.node("n2").thaw()
    wait_online(cluster)
    scenario.step("it is back; its BMC answers again, and must not fire")
    cluster.bmc("n2").start()
    holds_for(lambda: cluster.node("n2").powered and cluster.qemu_pids() == before, LATE,
              "n2 and all VMs live", 0.2)
    wait_vms(cluster, "n1", HOMES)
    wait_agents(cluster, HOMES)
    expect(not agents_running(cluster), "no fence agent is left")
    told = kinds(cluster, "n1", seen)
    expect("vm_starting" not in told and "node_dead" not in told, f"no VM was moved: {told}")


def minority_of_one_is_fenced(scenario, cluster):
    scenario.step("n1 is cut off alone: it is fenced, its VM moves to n4")
    seen = last_event(cluster, "n2")
    cluster.partition(["n1"], ["n2", "n3", "n4"])
    scenario.measured("vm1 runs on n4 after", wait_vms(cluster, "n2", {"vm1": "n4"}))
    expect(not cluster.node("n1").powered, "n1 has lost its power")
    wait_agents(cluster, {"vm1": "n4"})
    deaths = [event["node"] for event in events(cluster, "n2", seen)
              if event["kind"] == "node_dead"]
    expect(deaths == ["n1"], f"only n1 was fenced: {deaths}")
    scenario.step("its power returns, then the network: it joins clean and starts nothing")
    cluster.node("n1").boot()
    cluster.heal()
    wait_until(lambda: node_state(cluster, "n2", "n1") == "online", DEADLINE, "n1 is online")
    wait_online(cluster)
    holds_for(lambda: not vms_on(cluster, "n2", "n1"), 5.0, "n1 runs none of its old VMs", 0.5)
    wait_vms(cluster, "n1", {"vm1": "n4", "vm2": "n2", "vm3": "n3"})



if __name__ == "__main__":
    run(body)
