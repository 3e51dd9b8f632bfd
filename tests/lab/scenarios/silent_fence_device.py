#!/usr/bin/python3
"""A host dies and its fence device does not answer: nobody may guess.

Its VMs stay unknown and are not started, status, explain and a metric say so, and retries go on
with growing pauses. Only an operator's word releases them, and a VM that was already running is
not touched by any of it.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    events, found_and_wait, kinds, last_event, node_state, vms, wait_agents, wait_vms)
from clusterlab.wait import holds_for, wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n1", "vm3": "n1"}
DEADLINE = 90.0  # two times three attempts and the pauses between them


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1"], backup="n4", vms_per_node=3,
                       fence_timeout="3s")
        nothing_is_guessed(scenario, cluster)
        operator_releases(scenario, cluster)
    witness.require_ok()


def nothing_is_guessed(scenario, cluster):
    scenario.step("n1 loses its power together with its BMC")
    seen = last_event(cluster, "n2")
    cluster.bmc("n1").stop()
    cluster.node("n1").power_cut()
    wait_until(lambda: len(failures(cluster, seen)) >= 2, DEADLINE, "two failed fences")
    told = failures(cluster, seen)
    pause = (told[1]["at_ms"] - told[0]["at_ms"]) / 1000
    scenario.step(f"    {told[0]['text']}")
    scenario.step(f"    tried again after {pause:.1f} s")
    seen_vms = vms(cluster, "n2")
    for name in HOMES:
        expect(seen_vms[name]["state"] == "unknown", f"{name} is {seen_vms[name]['state']}")
    explained = cluster.ctl("n2", "explain", "vm", "vm1", "--json")
    why = "; ".join(explained["why"])
    expect("n1 is lost and not proven dead" in why, f"explain names the host: {why}")
    scenario.step(f"    explain: {why}")
    expect(node_state(cluster, "n2", "n1") in ("lost", "fencing"), "n1 is lost")
    metrics = cluster.metrics("n2")
    expect(metrics.value("clusterd_vm_state", vm="vm1", state="unknown") == 1, "a metric says so")
    failed = metrics.value("clusterd_fence_total", node="n1", outcome="failed") or 0
    unknown = metrics.value("clusterd_fence_total", node="n1", outcome="unknown") or 0
    expect(failed + unknown >= 1, "and counts the attempts")
    holds_for(lambda: not cluster.qemu_pids(), 5.0, "no VM is started", 0.2)
    expect("vm_starting" not in kinds(cluster, "n2", seen), "nobody tried to")


def operator_releases(scenario, cluster):
    scenario.step("an operator confirms that n1 is dead")
    refused = cluster.ctl_result("n2", "node", "confirm-dead", "n1")
    expect(refused.returncode == 1, "without the name typed again it is refused")
    refused = cluster.ctl_result("n2", "node", "confirm-dead", "n3", "--confirm", "n3")
    expect(refused.returncode == 1, f"a living node cannot be dead: {refused.stderr.strip()}")
    cluster.ctl("n2", "node", "confirm-dead", "n1", "--confirm", "n1")
    homes = {name: "n4" for name in HOMES}
    scenario.measured("its VMs run on n4 after", wait_vms(cluster, "n2", homes))
    wait_agents(cluster, homes)
    expect(node_state(cluster, "n2", "n1") == "dead", "n1 is dead")
    deaths = [event for event in events(cluster, "n2") if event["kind"] == "node_dead"]
    expect("operator" in deaths[-1]["text"], f"by an operator's word: {deaths[-1]['text']}")


def failures(cluster, seen):
    return [event for event in events(cluster, "n2", seen) if event["kind"] == "fence_failed"]


if __name__ == "__main__":
    run(body)
