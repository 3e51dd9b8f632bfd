#!/usr/bin/python3
"""What happens inside guests that the hypervisor cannot see: applications that die or hang behind
an open port, agents that die alone, kernels that panic, guests that reboot or stand still.

Each is noticed within what its checks promise, and answered in proportion; guests that stand still
together are left alone. The witness sees no VM twice. Guests are emulated: a restart takes ten to
twenty seconds.
"""

import base64
import json
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import events, found_and_wait, kinds, last_event, vms  # noqa: E402
from clusterlab.wait import holds_for, wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n1", "vm3": "n2", "vm4": "n2"}
DEADLINE = 90.0
FAST = 3 * 3.0 + 2.0  # three failures, 3 s apart, the last one after 2 s
PROMISED = 15.0       # of preset fast, whatever libvirt adds
STALL = 20.0
WEB = ("{ preset: fast, boot_grace: 60s, guest_agent: {},"
       " probes: [ { name: web, http: { port: 80, path: /healthz, body: ok }, required: true } ] }")
REPAIRED = ("{ preset: fast, boot_grace: 60s, guest_agent: {},"
            " repair: { command: [/bin/sh, -c, 'httpd -p 80 -h /www'], timeout: 20s },"
            " probes: [ { name: web, tcp: { port: 80 } },"
            " { name: page, exec: { command: [/bin/wget, -q, -O, /dev/null,"
            " 'http://127.0.0.1/healthz'] } } ] }")
AGENT = "{ preset: fast, boot_grace: 60s, guest_agent: {} }"


def body(scenario):
    cluster = scenario.cluster
    with scenario.witness() as witness:
        found_and_wait(cluster, HOMES, workers=["n1", "n2"], backup="n4", vms_per_node=2,
                       health={"vm1": WEB, "vm2": REPAIRED, "vm3": AGENT, "vm4": AGENT})
        scenario.measured("all are healthy after", wait_health(cluster, HOMES, "healthy"))
        application_hangs(scenario, cluster)
        application_is_repaired(scenario, cluster)
        agent_dies_alone(scenario, cluster)
        guest_reboots(scenario, cluster)
        kernel_panics(scenario, cluster)
        guest_stands_still(scenario, cluster)
        guests_stand_still_together(scenario, cluster)
    scenario.saw_no_vm_twice(witness)


def application_hangs(scenario, cluster):
    scenario.step("vm1's web server hangs; its port still takes connections")
    in_guest(cluster, "vm1", "killall -STOP httpd")
    restarted(scenario, cluster, "vm1", "probe web failed 3 times in a row")


def application_is_repaired(scenario, cluster):
    scenario.step("vm2's web server dies; the repair command starts it again, nothing else happens")
    seen, before = last_event(cluster, "n1"), cluster.qemu_pids()
    in_guest(cluster, "vm2", "killall httpd")
    scenario.measured("it is suspect after", wait_health(cluster, ["vm2"], "suspect"), FAST)
    scenario.measured("and healthy after", wait_health(cluster, ["vm2"], "healthy"))
    expect(cluster.qemu_pids() == before, "no QEMU process changed")
    expect(not set(kinds(cluster, "n1", seen)) & {"vm_stopping", "vm_failed", "vm_unhealthy"},
           "nothing was done to the VM")


def agent_dies_alone(scenario, cluster):
    scenario.step("vm3's agent dies, its guest goes on writing: degraded, and nothing happens")
    seen, before = last_event(cluster, "n1"), cluster.qemu_pids()
    in_guest(cluster, "vm3", "kill -STOP $(pidof qemu-ga)", answers=False)
    scenario.measured("it is degraded after", wait_health(cluster, ["vm3"], "degraded"), 2 * FAST)
    holds_for(lambda: vms(cluster, "n1")["vm3"]["health"] == "degraded", 20.0, "it stays so", 0.5)
    expect(cluster.qemu_pids() == before, "no QEMU process changed")
    expect("vm_unhealthy" not in kinds(cluster, "n1", seen), "it was never unhealthy")
    cluster.ctl("n1", "vm", "restart", "vm3")  # there is no other way to its agent
    wait_health(cluster, ["vm3"], "healthy")


def guest_reboots(scenario, cluster):
    scenario.step("vm1's guest reboots by itself: it is given its time, and is not restarted")
    seen, before = last_event(cluster, "n1"), cluster.qemu_pids()
    in_guest(cluster, "vm1", "sleep 0.2; echo b > /proc/sysrq-trigger", answers=False)
    scenario.measured("it boots after", wait_health(cluster, ["vm1"], "booting"), 10.0)
    scenario.measured("and is healthy after", wait_health(cluster, ["vm1"], "healthy"))
    expect(cluster.qemu_pids() == before, "no QEMU process changed")
    told = kinds(cluster, "n1", seen)
    expect("vm_rebooted" in told and "vm_unhealthy" not in told, f"the history tells it: {told}")


def kernel_panics(scenario, cluster):
    scenario.step("vm3's kernel panics and stays so; QEMU lives")
    in_guest(cluster, "vm3",
             "echo 0 > /proc/sys/kernel/panic; sleep 0.2; echo c > /proc/sysrq-trigger",
             answers=False)
    restarted(scenario, cluster, "vm3", "the guest agent failed 3 times in a row")


def guest_stands_still(scenario, cluster):
    scenario.step("vm3's QEMU is stopped: its vCPUs and its monitor stand still")
    (_, pid), = cluster.qemu_pids()[uuid_of(cluster, "vm3")]
    os.kill(pid, signal.SIGSTOP)
    restarted(scenario, cluster, "vm3", "the guest agent failed 3 times in a row")


def guests_stand_still_together(scenario, cluster):
    scenario.step(f"all guests of n2 stand still for {STALL:g} s and go on: none is restarted")
    seen, before = last_event(cluster, "n1"), cluster.qemu_pids()
    stalled = [before[uuid_of(cluster, name)][0][1] for name in ("vm3", "vm4")]
    for pid in stalled:
        os.kill(pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        took = wait_until(lambda: "vm_unhealthy" in kinds(cluster, "n1", seen), DEADLINE,
                          "a verdict")
        scenario.measured("the first is unhealthy after", took, PROMISED)
        left = STALL - (time.monotonic() - begin)
        holds_for(lambda: cluster.qemu_pids() == before, left, "no QEMU process changes", 0.5)
    finally:
        for pid in stalled:
            os.kill(pid, signal.SIGCONT)
    scenario.measured("all are healthy after", wait_health(cluster, HOMES, "healthy"))
    told = events(cluster, "n1", seen)
    alarms = [event["text"] for event in told if event["kind"] == "alarm"]
    scenario.step(f"    {alarms}")
    expect(any("guests of n2 fail together" in text for text in alarms), "the history tells why")
    expect(not {event["kind"] for event in told} & {"vm_stopping", "vm_starting"},
           f"nothing was restarted: {told}")
    expect(cluster.qemu_pids() == before, "no QEMU process changed")


def restarted(scenario, cluster, name, reason):
    """The VM is found unhealthy within what its checks promise, and is healthy again elsewhere in
    time: as another process on the same node, started once, and nothing else changed."""
    seen, home = last_event(cluster, "n1"), vms(cluster, "n1")[name]["node"]
    uuid = uuid_of(cluster, name)
    before = cluster.qemu_pids()
    begin = time.monotonic()

    def verdict():
        return [event for event in events(cluster, "n1", seen) if event["kind"] == "vm_unhealthy"]
    wait_until(verdict, DEADLINE, f"{name} is unhealthy")
    scenario.measured("unhealthy after", time.monotonic() - begin, PROMISED)
    told = verdict()[0]["text"]
    scenario.step(f"    {told}")
    expect(reason in told, f"the verdict tells why: {told}")
    scenario.measured("healthy again after", wait_health(cluster, [name], "healthy"))
    expect(vms(cluster, "n1")[name]["node"] == home, f"it runs on {home} again")
    after = cluster.qemu_pids()
    expect(after.pop(uuid) != before.pop(uuid) and after == before,
           "it is another process, and the others are the same")
    starts = [event for event in events(cluster, "n1", seen) if event["kind"] == "vm_starting"]
    expect([event["vm"] for event in starts] == [name], f"one start: {starts}")


def wait_health(cluster, names, health):
    """Waits until the VMs have this health by the cluster's word; returns the seconds."""
    def so():
        told = vms(cluster, "n1")
        return all(told[name]["health"] == health for name in names)
    return wait_until(so, DEADLINE, f"{sorted(names)} are {health}", 0.1)


def uuid_of(cluster, name):
    return vms(cluster, "n1")[name]["uuid"]


def in_guest(cluster, name, command, answers=True):
    """Runs a shell command in the guest by its agent; `answers`: and waits for its end."""
    node = cluster.node(vms(cluster, "n1")[name]["node"])

    def ask(request):
        answer = node.run(["virsh", "qemu-agent-command", name, json.dumps(request)],
                          check=answers, timeout=10.0)
        return json.loads(answer.stdout)["return"] if answer.returncode == 0 else None
    started = ask({"execute": "guest-exec",
                   "arguments": {"path": "/bin/sh", "arg": ["-c", command],
                                 "capture-output": True}})
    if not answers:
        return
    state = {}

    def ended():
        nonlocal state
        state = ask({"execute": "guest-exec-status", "arguments": {"pid": started["pid"]}})
        return state["exited"]
    wait_until(ended, 20.0, f"`{command}` ends in {name}", 0.2)
    errors = base64.b64decode(state.get("err-data", "")).decode(errors="replace")
    expect(state.get("exitcode") == 0, f"`{command}` in {name}: {state}: {errors}")


if __name__ == "__main__":
    run(body)
