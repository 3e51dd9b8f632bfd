#!/usr/bin/python3
"""A node's init treats clusterd as the systemd unit would: restarts, back-off, no orphans.

Adoption of running VMs and crash loops are tested on top of this. A stand-in takes clusterd's
place here, so that the lab is tested alone.
"""

import os
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.system import CommandFailed, write_file  # noqa: E402
from clusterlab.wait import holds_for, wait_until  # noqa: E402

CLUSTERD = """#!/bin/sh
# Serves a metrics page, has a child (as a fence agent would be), says how it ended.
echo "started with $(ls /run/libvirt/libvirt-sock)"
trap 'echo "clean stop"; exit 0' TERM
busybox httpd -f -p 127.0.0.1:9465 -h {folder}/www &
while :; do sleep 3600 & wait $!; done
"""
CLUSTERCTL = """#!/bin/sh
case "$*" in
  "status --json") echo '{"node": "'$(hostname)'"}' ;;
  *) echo "no such thing" >&2; exit 2 ;;
esac
"""
METRICS = """# HELP clusterd_vm_state one
clusterd_vm_state{vm="a",state="running"} 1
clusterd_vm_state{vm="b",state="running"} 1
clusterd_quorate 0
"""


def write_stand_in(folder):
    write_file(f"{folder}/clusterd", CLUSTERD.format(folder=folder), mode=0o755)
    write_file(f"{folder}/clusterctl", CLUSTERCTL, mode=0o755)
    write_file(f"{folder}/clusterd-qemu-hook", "#!/bin/sh\nexit 0\n", mode=0o755)
    write_file(f"{folder}/www/metrics", METRICS)


def body(scenario):
    cluster = scenario.cluster
    node = cluster.node("n1")
    comes_up_in_order(scenario, cluster, node)
    restarts_with_back_off(scenario, node)
    stays_down_while_held(scenario, node)
    crashes_in_a_loop(scenario, node)
    stops_cleanly(scenario, cluster, node)


def comes_up_in_order(scenario, cluster, node):
    scenario.step("clusterd starts once libvirtd and Corosync are ready, its tools are in the PATH")
    wait_until(lambda: state(node) == "running", 10.0, "clusterd runs")
    expect("/run/libvirt/libvirt-sock" in log(node), "libvirtd was there before clusterd")
    expect(cluster.ctl("n1", "status", "--json") == {"node": "n1"}, "clusterctl answers JSON")
    try:
        cluster.ctl("n1", "nonsense")
        expect(False, "an exit code must be raised")
    except CommandFailed as error:
        expect(error.result.returncode == 2, "the exit code is handed on")
    page = cluster.metrics("n1")
    expect(page.value("clusterd_vm_state", state="running") == 2, "metrics add up")
    expect(page.value("clusterd_quorate") == 0 and page.value("nothing") is None, "zero is no lack")
    hook = node.run(["stat", "-c", "%a", "/etc/libvirt/hooks/qemu.d/clusterd"]).stdout.strip()
    expect(hook == "755", "the hook is installed")
    secret = node.run(["stat", "-c", "%a", "/etc/clusterd/secrets/bmc"]).stdout.strip()
    expect(secret == "600", "the BMC's password is nobody else's business")


def restarts_with_back_off(scenario, node):
    for wanted in (1.0, 2.0, 4.0):
        scenario.step(f"kill -9 of clusterd: its children die, it is back after {wanted:g} s")
        starts = node.services()["clusterd"]["starts"]
        expect(count(node, "sleep 3600") == 1, "it has a child")
        expect(node.kill_service("clusterd"), "it was running")
        began = time.monotonic()
        wait_until(lambda: count(node, "sleep 3600") == 0, 1.0, "the child is gone")
        wait_until(lambda s=starts: node.services()["clusterd"]["starts"] > s, 15.0, "restarted")
        took = time.monotonic() - began
        expect(wanted - 0.2 < took < wanted + 1.5, f"back-off of {wanted:g} s took {took:.2f} s")
        wait_until(lambda: count(node, "sleep 3600") == 1, 5.0, "the new one has a child")


def stays_down_while_held(scenario, node):
    scenario.step("held down, then released")
    node.hold_service("clusterd")
    wait_until(lambda: state(node) == "held", 2.0, "clusterd is held")
    holds_for(lambda: node.service_pid("clusterd") is None, 2.0, "clusterd stays down")
    node.release_service("clusterd")
    scenario.measured("released, running after",
                      wait_until(lambda: state(node) == "running", 5.0, "clusterd runs"), 1.0)


def crashes_in_a_loop(scenario, node):
    scenario.step("crash loop")
    starts = node.services()["clusterd"]["starts"]
    node.crash_service("clusterd", 0.2)
    wait_until(lambda: node.services()["clusterd"]["starts"] >= starts + 2, 10.0, "two more starts")
    expect(node.services()["clusterd"]["last_exit"] == "SIGKILL", "it was killed")
    node.release_service("clusterd")
    wait_until(lambda: state(node) == "running", 5.0, "clusterd runs")
    holds_for(lambda: state(node) == "running", 1.0, "clusterd lives on")


def stops_cleanly(scenario, cluster, node):
    scenario.step("an orderly shutdown ends it with SIGTERM")
    node.shutdown()
    expect("clean stop" in log(node), "clusterd got SIGTERM")
    expect(not node.powered, "n1 is off")
    node.boot()
    cluster.wait_ready(["n1"])
    wait_until(lambda: state(node) == "running", 10.0, "clusterd runs after the boot")


def state(node):
    return node.services()["clusterd"]["state"]


def log(node):
    with open(node.disk("/var/log/clusterd.log"), encoding="utf-8") as file:
        return file.read()


def count(node, command):
    """How many processes with this command line run in the node."""
    listed = node.run(["ps", "-e", "-o", "args"]).stdout.splitlines()
    return sum(line.strip() == command for line in listed)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as stand_in:
        write_stand_in(stand_in)
        run(body, node_count=1, guests=False, bin_directory=stand_in)
