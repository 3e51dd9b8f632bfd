#!/usr/bin/python3
"""The lab itself: it forms, its faults are silent, and what was hurt comes back.

Every end-to-end test builds on this: a power cut that peers notice at once (by a TCP reset) would
make failover look faster than it is.
"""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab import configs  # noqa: E402
from clusterlab.cluster import Cluster, leftovers  # noqa: E402
from clusterlab.ring_log import ring_without  # noqa: E402
from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.wait import holds_for, wait_until  # noqa: E402

FREEZE_SECONDS = 4.0

# Connects to a peer's libvirtd, then says how the connection ends: by silence, if all is well.
LISTENER = """
import socket, sys
peer = socket.create_connection((sys.argv[1], 16509), timeout=5)
print("connected", flush=True)
peer.settimeout(3)
try:
    print("closed" if peer.recv(1) == b"" else "data", flush=True)
except TimeoutError:
    print("silence", flush=True)
except OSError as error:
    print(error, flush=True)
"""


def body(scenario):
    cluster = scenario.cluster
    power_cut_is_silent(scenario, cluster)
    node_returns_as_a_new_boot(scenario, cluster)
    power_cut_through_the_bmc(scenario, cluster)
    frozen_node_is_lost_and_returns(scenario, cluster)
    frozen_node_can_lose_its_power(scenario, cluster)
    halves_have_no_quorum(scenario, cluster)
    services_come_back_by_themselves(scenario, cluster)
    second_lab_is_apart(scenario, cluster)


def power_cut_is_silent(scenario, cluster):
    scenario.step("power cut of n4")
    listener = cluster.node("n1").popen(
        ["/usr/bin/python3", "-c", LISTENER, cluster.topology.plan("n4").address("c")],
        stdout=-1, text=True)
    expect(listener.stdout.readline() == "connected\n", "n1 reaches libvirtd on n4")
    began = time.time()
    cluster.node("n4").power_cut()
    scenario.measured("power_cut returned after", time.time() - began, 1.0)
    expect(not cluster.node("n4").powered, "n4 is off")
    measure_detection(scenario, cluster, "n4", ["n1", "n2", "n3"], began)
    said = listener.communicate(timeout=10)[0].strip()
    expect(said == "silence", f"an open connection to the dead node ended by: {said}")
    expect(cluster.membership("n1") == ({"n1", "n2", "n3"}, True), "three of four are quorate")
    expect("off" in cluster.bmc("n4").command("chassis", "power", "status"), "its BMC reads off")


def node_returns_as_a_new_boot(scenario, cluster):
    scenario.step("power on of n4 through its BMC")
    node = cluster.node("n4")
    machine_id = node.disk("/etc/machine-id")
    with open(machine_id, encoding="ascii") as file:
        before = file.read()
    began = time.monotonic()
    cluster.bmc("n4").command("chassis", "power", "on")
    wait_until(lambda: node.powered, 5.0, "n4 boots")
    cluster.wait_ready(["n4"])
    cluster.wait_formed(deadline=15.0)
    scenario.measured("rejoined after", time.monotonic() - began, 15.0)
    said = node.run(["cat", "/etc/machine-id"]).stdout
    expect(said == before, "n4 keeps its machine id")


def power_cut_through_the_bmc(scenario, cluster):
    scenario.step("power off of n3 through its BMC, as a fence agent on n1 does it")
    boot_id = cluster.node("n3").boot_id
    began = time.monotonic()
    fence(cluster, executor="n1", target="n3", action="off")
    scenario.measured("fence_ipmilan off", time.monotonic() - began, 5.0)
    expect(not cluster.node("n3").powered, "n3 is off when the agent says so")
    cluster.node("n3").boot()
    cluster.wait_ready(["n3"])
    cluster.wait_formed(deadline=15.0)
    expect(cluster.node("n3").boot_id != boot_id, "another boot has another boot id")

    cluster.bmc("n3").set_lying(True)
    said = cluster.bmc("n3").command("chassis", "power", "status")
    expect("off" in said and cluster.node("n3").powered, "a lying BMC says off")
    cluster.bmc("n3").stop()
    agent = fence(cluster, executor="n1", target="n3", action="off", check=False)
    expect(agent.returncode != 0 and cluster.node("n3").powered, "a stopped BMC does nothing")
    cluster.bmc("n3").start()
    said = cluster.bmc("n3").command("chassis", "power", "status")
    expect("on" in said, "a started BMC is honest")


def frozen_node_is_lost_and_returns(scenario, cluster):
    scenario.step(f"freeze of n3 for {FREEZE_SECONDS:g} s")
    began = time.time()
    cluster.node("n3").freeze()
    measure_detection(scenario, cluster, "n3", ["n1", "n2", "n4"], began)
    log = cluster.node("n3").disk("/var/log/corosync.log")
    size = os.path.getsize(log)
    holds_for(lambda: os.path.getsize(log) == size, FREEZE_SECONDS - (time.time() - began),
              "a frozen node does nothing")
    cluster.node("n3").thaw()
    thawed = time.monotonic()
    cluster.wait_formed(deadline=15.0)
    scenario.measured("rejoined after", time.monotonic() - thawed)


def frozen_node_can_lose_its_power(scenario, cluster):
    scenario.step("power cut of the frozen n2")
    cluster.node("n2").freeze()
    cluster.node("n2").power_cut()
    expect(not cluster.node("n2").powered, "n2 is off")
    cluster.node("n2").boot()
    expect(not cluster.node("n2").frozen, "it boots unfrozen")
    cluster.wait_ready(["n2"])
    cluster.wait_formed(deadline=15.0)


def halves_have_no_quorum(scenario, cluster):
    scenario.step("partition n1,n2 | n3,n4")
    cluster.partition(["n1", "n2"], ["n3", "n4"])
    halves = {"n1": {"n1", "n2"}, "n3": {"n3", "n4"}}
    for name, half in halves.items():
        took = wait_until(lambda n=name, h=half: cluster.membership(n) == (h, False),
                          cluster.topology.detection_bound + 3.0,
                          f"{name} sees its half, without quorum", 0.25)
        scenario.measured(f"{name} alone with its half after", took)
    for executor in ("n1", "n3"):
        fence(cluster, executor=executor, target="n4", action="status")  # BMCs answer both halves
    cluster.heal()
    scenario.measured("healed after", cluster.wait_formed(deadline=15.0))


def services_come_back_by_themselves(scenario, cluster):
    scenario.step("kill -9 of libvirtd on n1")
    node = cluster.node("n1")
    before = node.services()["libvirtd"]
    expect(node.kill_service("libvirtd"), "libvirtd was running")
    took = wait_until(lambda: node.services()["libvirtd"]["starts"] == before["starts"] + 1
                      and node.services()["libvirtd"]["state"] == "running", 10.0, "restart")
    scenario.measured("running again after", took)
    scenario.step("corosync of n1 is held down, over a reboot")
    node.hold_service("corosync")
    wait_until(lambda: node.services()["corosync"]["state"] == "held", 5.0, "corosync held")
    node.shutdown()
    node.boot()
    cluster.wait_ready(["n1"])
    expect(node.services()["corosync"]["state"] == "held", "still held after the reboot")
    node.release_service("corosync")
    cluster.wait_formed(deadline=15.0)


def second_lab_is_apart(scenario, cluster):
    scenario.step("a second lab beside this one")
    other = Cluster.up(cluster.topology.prefix[:20] + "-2", 2, guests=False)
    try:
        other.wait_formed()
        expect(other.membership("n1") == ({"n1", "n2"}, True), "the second lab has its own ring")
    finally:
        other.down()
    expect(not leftovers(other.topology.prefix), "the second lab is gone")
    cluster.wait_formed(deadline=5.0)


def measure_detection(scenario, cluster, lost, others, began):
    """All others see a ring without the lost node in time; by Corosync's own time stamps."""
    for name in others:
        node = cluster.node(name)
        wait_until(lambda n=node: ring_without(n, lost, began),
                   cluster.topology.detection_bound + 2.0, f"{name} notices the loss of {lost}")
        scenario.measured(f"{name} noticed after", ring_without(node, lost, began).time - began,
                          cluster.topology.detection_bound)


def fence(cluster, *, executor, target, action, check=True):
    """Runs the real fence agent on a node; returns its result."""
    options = {"ip": cluster.topology.plan(target).bmc_address, "username": configs.BMC_USER,
               "password": cluster.topology.bmc_password, "lanplus": 1, "cipher": 3,
               "power_wait": 0, "action": action}
    text = "".join(f"{name}={value}\n" for name, value in options.items())
    return cluster.node(executor).run(["fence_ipmilan"], check=check, stdin_text=text, timeout=40)


if __name__ == "__main__":
    run(body, node_count=4, guests=False)
