#!/usr/bin/python3
"""What dies is smaller than a host: a daemon, a QEMU, a guest by its own wish, all daemons but one.

None of it may cost another VM, and nobody may be fenced for it.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.system import ProcessId  # noqa: E402
from clusterlab.view import (  # noqa: E402
    events, found_and_wait, last_event, node_state, status, vms, wait_agents, wait_online, wait_vms)
from clusterlab.wait import holds_for, wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n2", "vm3": "n3"}
DEADLINE = 30.0


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1", "n2", "n3"], backup="n4", vms_per_node=1)
        daemon_is_killed(scenario, cluster)
        qemu_is_killed(scenario, cluster)
        guest_shuts_itself_down(scenario, cluster)
        daemons_crash_in_a_loop(scenario, cluster)
    witness.require_ok()


def daemon_is_killed(scenario, cluster):
    scenario.step("kill -9 of n1's daemon: the next one adopts its VM")
    before, seen = cluster.qemu_pids(), last_event(cluster, "n2")
    starts = cluster.node("n1").services()["clusterd"]["starts"]
    expect(cluster.node("n1").kill_service("clusterd"), "a daemon was killed")
    wait_until(lambda: cluster.node("n1").services()["clusterd"]["starts"] > starts, DEADLINE,
               "the daemon is started again")
    wait_online(cluster)
    wait_vms(cluster, "n1", HOMES)
    expect(cluster.qemu_pids() == before, "no QEMU process changed")
    nobody_was_harmed(cluster, seen)


def qemu_is_killed(scenario, cluster):
    scenario.step("kill -9 of vm2's QEMU: it is started again in its place")
    uuid = vms(cluster, "n1")["vm2"]["uuid"]
    [(node, pid)] = cluster.qemu_pids()[uuid]
    seen = last_event(cluster, "n1")
    others = {key: value for key, value in cluster.qemu_pids().items() if key != uuid}
    ProcessId.of(pid).kill()
    took = wait_until(lambda: _other_process(cluster, uuid, pid), DEADLINE, "another QEMU")
    scenario.measured("another process runs after", took)
    expect([home for home, _ in cluster.qemu_pids()[uuid]] == [node], "in the same place")
    wait_vms(cluster, "n1", {"vm2": "n2"})
    wait_agents(cluster, {"vm2": "n2"})
    told = [event for event in events(cluster, "n1", seen) if event["vm"] == "vm2"]
    failed = [event for event in told if event["kind"] == "vm_failed"]
    running = [event for event in told if event["kind"] == "vm_running"]
    expect(len(failed) == 1 and len(running) == 1, f"one failure, one restart: {told}")
    scenario.step(f"    the record: {failed[0]['text']}; {running[0]['text']},"
                  f" {running[0]['at_ms'] - failed[0]['at_ms']} ms later")
    now = {key: value for key, value in cluster.qemu_pids().items() if key != uuid}
    expect(now == others, "no other QEMU process changed")
    nobody_was_harmed(cluster, seen)


def guest_shuts_itself_down(scenario, cluster):
    scenario.step("vm3's guest shuts itself down: that is no failure, and nothing starts it")
    seen = last_event(cluster, "n1")
    cluster.node("n3").run(
        ["virsh", "qemu-agent-command", "vm3", '{"execute":"guest-shutdown"}'], check=False)
    wait_until(lambda: vms(cluster, "n1")["vm3"]["state"] == "stopped", DEADLINE, "vm3 is stopped")
    reason = vms(cluster, "n1")["vm3"]["reason"]
    expect("guest" in reason, f"the reason names the guest: {reason}")
    holds_for(lambda: vms(cluster, "n1")["vm3"]["state"] == "stopped", 5.0, "it stays stopped", 0.5)
    told = [event["kind"] for event in events(cluster, "n1", seen) if event["vm"] == "vm3"]
    expect("vm_failed" not in told and "vm_starting" not in told, f"no failure: {told}")
    scenario.step("an operator starts it again")
    cluster.ctl("n1", "vm", "start", "vm3")
    wait_vms(cluster, "n1", {"vm3": "n3"})
    wait_agents(cluster, {"vm3": "n3"})


def daemons_crash_in_a_loop(scenario, cluster):
    scenario.step("all daemons but n4's crash in a loop while Corosync is healthy")
    before, seen = cluster.qemu_pids(), last_event(cluster, "n4")
    for name in ("n1", "n2", "n3"):
        cluster.node(name).crash_service("clusterd", 0.3)
    wait_until(lambda: all(node_state(cluster, "n4", name) in ("unmanaged", "joining")
                           for name in ("n1", "n2", "n3")), DEADLINE, "n4 sees no other daemon")
    wait_until(lambda: any("daemon" in alarm for alarm in status(cluster, "n4")["alarms"]),
               DEADLINE, "an alarm says so")
    scenario.step(f"    alarms: {status(cluster, 'n4')['alarms']}")
    holds_for(lambda: cluster.qemu_pids() == before, 15.0, "VMs run on", 0.5)
    nobody_was_harmed(cluster, seen)
    scenario.step("the daemons live again")
    for name in ("n1", "n2", "n3"):
        cluster.node(name).release_service("clusterd")
    wait_online(cluster)
    wait_vms(cluster, "n1", HOMES)
    expect(cluster.qemu_pids() == before, "no QEMU process changed")
    nobody_was_harmed(cluster, seen)


def nobody_was_harmed(cluster, seen):
    told = {event["kind"] for event in events(cluster, "n4", seen)}
    expect(not told & {"node_lost", "fence_started", "node_dead", "vm_duplicate"},
           f"nobody was lost or fenced: {told}")


def _other_process(cluster, uuid, pid):
    return any(other != pid for _, other in cluster.qemu_pids().get(uuid, []))


if __name__ == "__main__":
    run(body)
