#!/usr/bin/python3
# ctest: full
"""With an arbiter two of four nodes stay quorate when the others die one after the other.

The scenario "a second host dies while the first failover is under way" needs that: without the
arbiter's vote the two survivors would lose quorum and start nothing.
"""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.ring_log import primary_changes  # noqa: E402
from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.wait import wait_until  # noqa: E402

SURVIVORS = ("n3", "n4")


def body(scenario):
    cluster = scenario.cluster
    vote = wait_until(lambda: "Qdevice" in votes(cluster, "n3"), 10.0, "the arbiter votes")
    scenario.measured("the arbiter's vote was there after", vote)

    began = time.time()
    for lost, left in (("n1", {"n2", "n3", "n4"}), ("n2", {"n3", "n4"})):
        scenario.step(f"power cut of {lost}")
        cluster.node(lost).power_cut()
        cut = time.monotonic()
        for name in SURVIVORS:
            wait_until(lambda n=name: cluster.membership(n) == (left, True), 15.0,
                       f"{name} sees {sorted(left)}, quorate", 0.25)
        scenario.measured("survivors quorate without it after", time.monotonic() - cut)
    for name in SURVIVORS:
        losses = [when for when, primary in primary_changes(cluster.node(name), began)
                  if not primary]
        expect(not losses, f"{name} must stay quorate all the time")

    scenario.step("both return")
    cluster.node("n1").boot()
    cluster.node("n2").boot()
    cluster.wait_ready(["n1", "n2"])
    scenario.measured("all together after", cluster.wait_formed(deadline=20.0))

    scenario.step("partition n1,n2 | n3,n4: the arbiter lets the half with the lowest id go on")
    cluster.partition(["n1", "n2"], ["n3", "n4"])
    wait_until(lambda: cluster.membership("n1") == ({"n1", "n2"}, True)
               and cluster.membership("n3") == ({"n3", "n4"}, False), 20.0,
               "exactly one half is quorate", 0.25)
    cluster.heal()
    scenario.measured("healed after", cluster.wait_formed(deadline=20.0))


def votes(cluster, name):
    return cluster.node(name).run(["corosync-quorumtool", "-s"], check=False).stdout


if __name__ == "__main__":
    run(body, node_count=4, guests=False, arbiter=True)
