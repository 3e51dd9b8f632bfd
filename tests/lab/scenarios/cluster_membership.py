#!/usr/bin/python3
"""Real daemons on a real Corosync: founding, loss, return, daemon death, partition, cold start.

No VM is declared here: what must hold is that the replicated state goes on, that a dead daemon is
not a dead host, and that a side without quorum does nothing.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import kinds, node_state, status, wait_online  # noqa: E402
from clusterlab.wait import holds_for, wait_until  # noqa: E402

ALL = {"n1", "n2", "n3", "n4"}
DEADLINE = 30.0


def body(scenario):
    cluster = scenario.cluster
    blank_until_founded(scenario, cluster)
    coordinator_dies_and_returns(scenario, cluster)
    daemon_death_is_no_host_death(scenario, cluster)
    halves_do_nothing(scenario, cluster)
    cold_start(scenario, cluster)


def blank_until_founded(scenario, cluster):
    scenario.step("nothing is founded by itself; init on one node founds the cluster on all")
    wait_until(lambda: not status(cluster, "n1")["cluster"]["founded"], DEADLINE, "n1 answers")
    refused = cluster.ctl_result("n1", "vm", "start", "web")
    expect(refused.returncode == 1, "an order before init is refused")
    wait_until(lambda: cluster.ctl_result("n1", "init", "lab").returncode == 0, DEADLINE, "init")
    wait_online(cluster)
    again = cluster.ctl_result("n2", "init", "other")
    expect(again.returncode == 1 and "already" in again.stderr, "a second init is refused")


def coordinator_dies_and_returns(scenario, cluster):
    scenario.step("the coordinator's host dies silently: the next one goes on")
    cluster.node("n1").power_cut()
    wait_until(lambda: status(cluster, "n3")["cluster"]["coordinator"] == "n2", DEADLINE,
               "n2 leads")
    wait_until(lambda: node_state(cluster, "n3", "n1") == "lost", DEADLINE, "n1 counts as lost")
    scenario.step("it boots again: its new boot proves the old one dead, its history is whole")
    cluster.node("n1").boot()
    wait_online(cluster)
    expect("node_dead" in kinds(cluster, "n1"), "the old boot was proven dead")
    expect(kinds(cluster, "n1") == kinds(cluster, "n4"), "all replicas tell the same history")


def daemon_death_is_no_host_death(scenario, cluster):
    scenario.step("kill -9 of a daemon: unmanaged, not lost; the new one joins within seconds")
    before = kinds(cluster, "n1")
    cluster.node("n3").hold_service("clusterd")
    wait_until(lambda: node_state(cluster, "n1", "n3") == "unmanaged", DEADLINE, "n3 is unmanaged")
    cluster.node("n3").release_service("clusterd")
    wait_online(cluster)
    after = kinds(cluster, "n1")[len(before):]
    expect("node_lost" not in after and "fence_started" not in after, "nobody was lost or fenced")


def halves_do_nothing(scenario, cluster):
    scenario.step("2|2: no half acts; after healing the epoch goes on with all four")
    epoch = status(cluster, "n1")["cluster"]["epoch"]
    cluster.partition({"n1", "n2"}, {"n3", "n4"})
    for name in ("n1", "n4"):
        wait_until(lambda n=name: not status(cluster, n)["cluster"]["quorate"], DEADLINE,
                   f"{name} is not quorate")
    refused = cluster.ctl_result("n1", "recover", "--accept-state", "n1")
    expect(refused.returncode == 3, "a change without quorum ends with exit code 3")
    holds_for(lambda: all(status(cluster, n)["cluster"]["epoch"] == epoch for n in ALL), 3.0,
              "no half raises the epoch")
    cluster.heal()
    wait_online(cluster)


def cold_start(scenario, cluster):
    scenario.step("all hosts lose power; three return: the stored state goes on, n4 counts as lost")
    epoch = status(cluster, "n1")["cluster"]["epoch"]
    for name in sorted(ALL):
        cluster.node(name).power_cut()
    for name in ("n1", "n2", "n3"):
        cluster.node(name).boot()
    wait_until(lambda: set(status(cluster, "n1")["cluster"]["members"]) == ALL - {"n4"}
               and status(cluster, "n1")["cluster"]["active"], DEADLINE, "three are active")
    expect(status(cluster, "n1")["cluster"]["epoch"] > epoch, "epochs only grow")
    expect(node_state(cluster, "n2", "n4") == "lost", "the missing host is not proven dead")
    cluster.node("n4").boot()
    wait_online(cluster)


if __name__ == "__main__":
    run(body, guests=False)
