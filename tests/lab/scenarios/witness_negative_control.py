#!/usr/bin/python3
"""Can the witness be believed? It must catch a double start, and must not cry at what is allowed.

The end-to-end tests prove "no VM ran twice" by the witness's silence. So here a VM really runs
twice, started behind everybody's back on two nodes with one shareable disk: the witness must report
the two processes and the two writers. Before that, a stop and a start elsewhere and a live
migration, in which two processes exist by design, must leave it silent.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.guests import Guest  # noqa: E402
from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.system import write_file  # noqa: E402
from clusterlab.wait import wait_until  # noqa: E402

GUEST_UP = 60.0  # 4 s on a quiet machine
CAUGHT = 10.0


def body(scenario):
    cluster = scenario.cluster
    guest = Guest("vm1", 0, cluster.topology.shared_directory)
    guest.make_disk()
    xml = os.path.join(cluster.topology.directory, "vm1.xml")
    write_file(xml, guest.domain_xml())

    with scenario.witness("quiet", activity=True) as witness:
        moves_by_stop_and_start(scenario, cluster, guest, xml, witness)
        moves_by_live_migration(scenario, cluster, guest, witness)
    verdict = witness.require_ok()
    scenario.step(f"silent, as it should be: {verdict['looks']} looks,"
                  f" longest gap {verdict['longest_gap']} s")
    expect(len(witness.events("writer", uuid=guest.uuid)) == 2, "two guest boots, one migrated")
    for node in ("n1", "n2"):
        expect(witness.events("active", node=node, uuid=guest.uuid), f"libvirt of {node} listed it")

    scenario.step("vm1 runs on n2, where it came by migration, and is started on n1 as well")
    runs_twice(scenario, cluster, guest, xml, first=None, evidence="libvirt")
    for node in ("n1", "n2"):
        cluster.node(node).run(["virsh", "destroy", "vm1"])
    scenario.step("vm1 is started on n2 and on n1")
    runs_twice(scenario, cluster, guest, xml, first="n2", evidence="processes")


def moves_by_stop_and_start(scenario, cluster, guest, xml, witness):
    scenario.step("vm1 starts on n2, is destroyed, starts on n1")
    start(scenario, cluster, "n2", guest, xml)
    wait_for_writers(witness, guest, 1)
    cluster.node("n2").run(["virsh", "destroy", "vm1"])
    start(scenario, cluster, "n1", guest, xml)
    wait_for_writers(witness, guest, 2)


def moves_by_live_migration(scenario, cluster, guest, witness):
    scenario.step("vm1 migrates from n1 to n2")
    cluster.node("n1").run(
        ["virsh", "-k", "1", "-K", "3", "migrate", "--live", "--p2p", "--unsafe", "vm1",
         "qemu+tcp://n2/system"], timeout=60)
    expect([node for node, _ in cluster.qemu_pids()[guest.uuid]] == ["n2"], "vm1 is on n2 only")
    took = wait_until(lambda: cluster.agent_ping("n2", "vm1"), GUEST_UP, "vm1 answers on n2")
    scenario.measured("its agent answers after", took)
    expect(witness.events("appeared", node="n2", incoming=True), "the receiving process was seen")
    states = [event["states"] for event in witness.events("migrating", uuid=guest.uuid)]
    scenario.step(f"    seen while migrating: {states[:3]}")


def runs_twice(scenario, cluster, guest, xml, *, first, evidence):
    """Starts vm1 on n1 beside the one on n2 (started before on `first`, if it does not run)."""
    with scenario.witness(f"alarmed-by-{evidence}") as witness:
        if first:
            start(scenario, cluster, first, guest, xml)
            wait_for_writers(witness, guest, 1)
        start(scenario, cluster, "n1", guest, xml)
        wait_until(lambda: witness.events("twice", uuid=guest.uuid), CAUGHT, "double caught")
        second = witness.events("appeared", node="n1", uuid=guest.uuid)[-1]
        caught = witness.events("twice", uuid=guest.uuid)[0]
        scenario.measured("the double was caught, after the second process's start,",
                          caught["t"] - second["started"])
        took = wait_until(lambda: witness.events("two_writers", uuid=guest.uuid), CAUGHT,
                          "two writers caught")
        scenario.measured("the two writers were caught after", took)
    expect(witness.events("twice")[0]["evidence"] == evidence, f"double proven by {evidence}")
    scenario.step(f"    {witness.events('two_writers')[0]['proof']}")
    verdict = witness.verdict
    expect(verdict["verdict"] == "failed", "the verdict must be failed")
    for reason in verdict["reasons"]:
        scenario.step(f"    caught: {reason}")
    expect(len(verdict["reasons"]) == 2, "caught by the processes and by the disk")


def start(scenario, cluster, node, guest, xml):
    cluster.node(node).run(["virsh", "create", xml], timeout=60)
    took = wait_until(lambda: cluster.agent_ping(node, guest.name), GUEST_UP, "guest agent answers")
    scenario.measured(f"vm1 started on {node}, its agent answers after", took)


def wait_for_writers(witness, guest, count):
    wait_until(lambda: len(witness.events("writer", uuid=guest.uuid)) >= count, 20.0,
               f"{count} guest boots wrote to the disk")


if __name__ == "__main__":
    run(body, node_count=2)
