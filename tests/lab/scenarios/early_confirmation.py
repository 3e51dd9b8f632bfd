#!/usr/bin/python3
"""What the links know before the ring does (protocol R18), with a token of five seconds.

A host loses its power: its BMC reads off twice before the ring has lost it, so the failover waits
for no fence. A host that is only cut off reads on: it is fenced as ever, and takes as long. The
failover records of both say what the reading saved.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import (  # noqa: E402
    events, found_and_wait, last_event, wait_agents, wait_online, wait_vms)

# An agent is a Python program, and two readings must end before the ring breaks (2.2 tokens), also
# on a machine that is slow and busy.
TOKEN_MS = 5000
HOMES = {"vm1": "n1", "vm2": "n2", "vm3": "n3"}


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1", "n2", "n3"], backup="n4", vms_per_node=1)
        scenario.step("n1 loses its power")
        read = failover(scenario, cluster, "n3", "n1", "vm1", cluster.node("n1").power_cut)
        expect("said off twice before the ring knew" in read["text"], read["text"])
        cluster.node("n1").boot()
        wait_online(cluster)
        scenario.step("n2 is cut off")
        fenced = failover(scenario, cluster, "n3", "n2", "vm2",
                          lambda: cluster.partition(["n2"], ["n1", "n3", "n4"]))
        expect("bmc-n2 says off" in fenced["text"], fenced["text"])
        expect(not cluster.node("n2").powered, "n2 was switched off")
        saved = fenced["ms"] - read["ms"]
        scenario.step(f"    proven dead after the new ring: {read['ms']} ms by reading, "
                      f"{fenced['ms']} ms by a fence: {saved} ms saved")
        expect(saved > 0, "the reading saves the time of a fence")
    witness.require_ok()


def failover(scenario, cluster, asked, lost, vm, harm):
    """Harms the host; how, and how long after the new ring, it was proven dead."""
    seen = last_event(cluster, asked)
    harm()
    scenario.measured(f"{vm} runs on n4 after", wait_vms(cluster, asked, {vm: "n4"}))
    wait_agents(cluster, {vm: "n4"})
    proofs = [event for event in events(cluster, asked, seen) if event["kind"] == "node_dead"]
    expect([event["node"] for event in proofs] == [lost], f"one death, proven once: {proofs}")
    scenario.step(f"    {proofs[0]['text']}")
    record = cluster.ctl(asked, "failover", "list", "--json")["failovers"][-1]
    phases = record["phases_ms"]
    scenario.step("    from the new ring: " + ", ".join(
        f"{phase} {phases[phase]} ms" for phase in ("fenced", "planned", "first_active")))
    return {"text": proofs[0]["text"], "ms": phases["fenced"]}


if __name__ == "__main__":
    run(body, token_ms=TOKEN_MS)
