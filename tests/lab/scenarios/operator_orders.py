#!/usr/bin/python3
"""What operators do around a failure: disarm before work on the network, call a fence off, fence a
host that lives, and give a wrong word.

While the cluster is disarmed a dead host costs nobody a start. A fence that was called off begins
again only by order. A living host is switched off only by force, and its VM is recovered. A host
that was confirmed dead and is only frozen finds that out when it wakes up: it destroys its copy of
the VM at once and comes back as a new boot.
"""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    agents_running, events, found_and_wait, kinds, last_event, node_state, status, vms,
    wait_agents, wait_online, wait_vms)
from clusterlab.wait import holds_for, wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n2", "vm3": "n3"}
DEADLINE = 60.0
DISARMED = 8.0  # several times what a failover takes


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1", "n2", "n3"], backup="n4", vms_per_node=1)
        disarmed_cluster_does_nothing(scenario, cluster)
        living_host_is_fenced_by_force(scenario, cluster)
        fence_is_called_off(scenario, cluster)
    witness.require_ok()
    condemned_host_purges_itself(scenario, cluster)


def disarmed_cluster_does_nothing(scenario, cluster):
    scenario.step("disarmed: n1 loses its power, and nothing follows")
    seen = last_event(cluster, "n2")
    cluster.ctl("n2", "disarm", "--reason", "the switch is replaced")
    cluster.node("n1").power_cut()
    wait_until(lambda: "node_lost" in kinds(cluster, "n2", seen), DEADLINE, "n1 is lost")
    holds_for(lambda: len(cluster.qemu_pids()) == 2, DISARMED, "nothing is started", 0.2)
    told = status(cluster, "n3")
    expect(told["cluster"]["armed"] is False, "status says that it is disarmed")
    expect(any("the switch is replaced" in alarm for alarm in told["alarms"]),
           f"an alarm names the reason: {told['alarms']}")
    expect(cluster.metrics("n3").value("clusterd_armed") == 0, "a metric says so")
    # Its BMC may have said off before the ring knew: a proof counts, and its VM waits. Else the
    # proof waits, and the VM is unknown.
    host = next(node for node in told["nodes"] if node["name"] == "n1")
    vm = vms(cluster, "n3")["vm1"]
    waits = vm["reason"] if host["state"] == "dead" else host["reason"]
    expect("the switch is replaced" in waits, f"what waits says why: {waits}")
    expected = "waiting" if host["state"] == "dead" else "unknown"
    expect(vm["state"] == expected, f"n1 is {host['state']}, vm1 is {vm['state']}")
    scenario.step("armed again: vm1 is recovered")
    cluster.ctl("n3", "arm")
    recovered(scenario, cluster, "n2", "vm1")
    back(cluster, "n1")


def living_host_is_fenced_by_force(scenario, cluster):
    scenario.step("n2 is alive: it is fenced by force only")
    refused = cluster.ctl_result("n3", "node", "fence", "n2")
    expect(refused.returncode == 1 and "--force" in refused.stderr, refused.stderr.strip())
    expect(cluster.node("n2").powered, "n2 lives")
    cluster.ctl("n3", "node", "fence", "n2", "--force")
    recovered(scenario, cluster, "n3", "vm2")
    expect(not cluster.node("n2").powered, "n2 has lost its power")
    back(cluster, "n2")


def fence_is_called_off(scenario, cluster):
    scenario.step("n3 and its BMC lose their power; its fence is called off, then ordered again")
    seen = last_event(cluster, "n2")
    cluster.bmc("n3").stop()
    cluster.node("n3").power_cut()
    wait_until(lambda: "fence_started" in kinds(cluster, "n2", seen), DEADLINE, "a fence begins")
    cluster.ctl("n2", "node", "cancel-fence", "n3")
    wait_until(lambda: not agents_running(cluster), 5.0, "its agent is gone")
    begun = kinds(cluster, "n2", seen).count("fence_started")
    holds_for(lambda: kinds(cluster, "n2", seen).count("fence_started") == begun, 10.0,
              "no other one begins", 0.5)
    expect(vms(cluster, "n2")["vm3"]["state"] == "unknown", "vm3 is unknown")
    cluster.bmc("n3").start()
    cluster.ctl("n2", "node", "fence", "n3")
    recovered(scenario, cluster, "n2", "vm3")
    back(cluster, "n3")


def condemned_host_purges_itself(scenario, cluster):
    scenario.step("n4 only freezes, and somebody confirms that it is dead: his fault")
    seen = last_event(cluster, "n1")
    cluster.bmc("n4").stop()
    cluster.node("n4").freeze()
    wait_until(lambda: "fence_started" in kinds(cluster, "n1", seen), DEADLINE, "a fence begins")
    cluster.ctl("n1", "node", "confirm-dead", "n4", "--confirm", "n4", "--force")
    expect("node_dead" in kinds(cluster, "n1", seen), "n4 counts as dead")
    # Its VMs start elsewhere, or QEMU refuses: the frozen one holds the lock of the disk.
    before = qemus_on(cluster, "n4")
    expect(before, "n4 still has its VMs")
    scenario.step("it wakes up")
    begin = time.monotonic()
    cluster.node("n4").thaw()
    wait_until(lambda: not qemus_on(cluster, "n4"), DEADLINE, "n4 has destroyed its VMs", 0.02)
    scenario.measured("its VMs are gone after", time.monotonic() - begin, 10.0)
    cluster.bmc("n4").start()
    wait_until(lambda: node_state(cluster, "n1", "n4") == "online", DEADLINE, "n4 is online")
    scenario.measured("it is online again after", time.monotonic() - begin)
    told = [event["text"] for event in events(cluster, "n1", seen) if event["kind"] == "alarm"]
    expect(any("false death proof" in text for text in told), f"an alarm says so: {told}")
    wait_until(lambda: all(vm["state"] == "running" for vm in vms(cluster, "n1").values()),
               DEADLINE, "every VM runs once more")


def recovered(scenario, cluster, asked, vm):
    """Waits until the VM runs on n4 and its agent answers."""
    scenario.measured(f"{vm} runs on n4 after", wait_vms(cluster, asked, {vm: "n4"}))
    wait_agents(cluster, {vm: "n4"})


def back(cluster, name):
    cluster.node(name).boot()
    wait_online(cluster)


def qemus_on(cluster, name):
    """The QEMU processes of one node."""
    return [process for process in cluster.qemu_processes() if process.node == name]



if __name__ == "__main__":
    run(body)
