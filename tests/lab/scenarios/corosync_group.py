#!/usr/bin/python3
"""CorosyncGroup on real Corosync nodes: each view is told once, whole, and in the group's order.

corosync-probe runs in every node and prints what the adapter tells the daemon. Checked are the
members, the ring and the quorum of each view, that messages stand in the same places of the story
on all nodes, and that the adapter finds back by itself after Corosync died.
"""

import json
import os
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.wait import holds_for, wait_until  # noqa: E402

BURST = 3000
BURST_BYTES = 1000
# knet waits ten times as long for a link's first pongs, and less with each of them (libknet,
# KNET_LINK_PONG_TIMEOUT_BACKOFF); nothing tells when a link is past that.
LINKS_GROW_UP = 6.0


class Probe:
    """One corosync-probe in one node; `events` grows while it runs."""

    def __init__(self, node):
        self.node = node
        self.events = []
        self.process = node.popen(["corosync-probe"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, bufsize=1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def say(self, text):
        self.process.stdin.write(text + "\n")

    def kill(self):
        self.process.kill()
        self.node.run(["pkill", "-KILL", "-x", "corosync-probe"], check=False)
        self.process.wait()

    def wait(self, matches, deadline, what, mark=0):
        """The first event since `mark` that matches, and the seconds until it was seen."""
        found = []

        def look():
            found[:] = [event for event in self.events[mark:] if matches(event)]
            return bool(found)

        took = wait_until(look, deadline, f"{self.node.name}: {what}", 0.01)
        return found[0], took

    def wait_view(self, members, ring, quorate, deadline, mark):
        """Waits for exactly this view."""
        def matches(event):
            return (event["event"] == "view" and nodes_of(event) == members
                    and event["ring"] == ring and event["quorate"] == quorate)
        return self.wait(matches, deadline, f"view {members} in ring {ring}", mark)

    def story(self, mark):
        """Views and messages since `mark`, comparable between nodes."""
        return [(event["event"], event.get("members"), event.get("from"), event.get("text"))
                for event in self.events[mark:] if event["event"] in ("view", "message")]


def nodes_of(view):
    return [node for node, _ in view["members"]]


def marks(probes):
    return {name: len(probe.events) for name, probe in probes.items()}


def body(scenario):
    cluster = scenario.cluster
    probes = {name: Probe(cluster.node(name)) for name in ("n1", "n2", "n3")}
    everybody_joins(scenario, probes)
    daemon_dies_in_the_ring(scenario, probes)
    daemon_leaves(scenario, probes)
    power_cut_in_a_burst(scenario, probes)
    partition_and_heal(scenario, probes)
    corosync_dies(scenario, probes)


def wait_all(scenario, probes, mark, what, deadline=15.0):
    for name, probe in probes.items():
        _, took = probe.wait_view([1, 2, 3], [1, 2, 3], True, deadline, mark.get(name, 0))
        scenario.measured(f"{name}: {what}", took, deadline)


def everybody_joins(scenario, probes):
    scenario.step("three probes join")
    wait_all(scenario, probes, {}, "sees all", 5.0)
    votes = probes["n1"].events[-1]["votes"]
    expect(votes == {"n1": 1, "n2": 1, "n3": 1}, f"votes of the whole nodelist: {votes}")


def daemon_dies_in_the_ring(scenario, probes):
    scenario.step("kill -9 of the probe on n3: a view without a ring change")
    mark = marks(probes)
    probes["n3"].kill()
    for name in ("n1", "n2"):
        _, took = probes[name].wait_view([1, 2], [1, 2, 3], True, 5.0, mark[name])
        scenario.measured(f"{name}: smaller view", took, 2.0)
    probes["n3"] = Probe(probes["n3"].node)
    mark["n3"] = 0
    wait_all(scenario, probes, mark, "sees all again", 5.0)


def daemon_leaves(scenario, probes):
    scenario.step("n3 leaves")
    mark = marks(probes)
    probes["n3"].say("leave")
    for name in ("n1", "n2"):
        probes[name].wait_view([1, 2], [1, 2, 3], True, 5.0, mark[name])
    probes["n3"].wait(lambda event: event["event"] == "lost", 5.0, "its own departure", mark["n3"])
    probes["n3"].process.wait(5)
    probes["n3"] = Probe(probes["n3"].node)
    mark["n3"] = 0
    wait_all(scenario, probes, mark, "sees all again", 5.0)


def power_cut_in_a_burst(scenario, probes):
    scenario.step(f"power cut of n3 while n1 and n2 send {BURST} messages each")
    node = probes["n3"].node
    survivors = {name: probes[name] for name in ("n1", "n2")}
    mark = marks(probes)
    for probe in survivors.values():
        probe.say(f"burst {BURST} {BURST_BYTES}")
    node.power_cut()
    for name, probe in survivors.items():
        probe.wait_view([1, 2], [1, 2], True, 20.0, mark[name])
        for sender in (1, 2):
            probe.wait(lambda event, sender=sender: event.get("from") == sender
                       and event["text"].startswith(f"burst {BURST - 1} "), 60.0,
                       f"all of {sender}'s messages", mark[name])
    stories = [probe.story(mark[name]) for name, probe in survivors.items()]
    expect(stories[0] == stories[1], "n1 and n2 tell the same story, views and messages")
    expect(len(stories[0]) == 2 * BURST + 1, f"nothing is missing: {len(stories[0])} entries")
    position = [entry[0] for entry in stories[0]].index("view")
    scenario.step(f"    the view stands behind {position} of {2 * BURST} messages")

    scenario.step("n3 boots")
    mark = marks(probes)
    node.boot()
    probes["n3"] = Probe(node)
    mark["n3"] = 0
    wait_all(scenario, probes, mark, "sees all again", 20.0)


def partition_and_heal(scenario, probes):
    time.sleep(LINKS_GROW_UP)
    scenario.step("partition n1,n2 | n3")
    cluster = scenario.cluster
    mark = marks(probes)
    cluster.partition(["n1", "n2"], ["n3"])
    bound = cluster.topology.detection_bound + 1.5
    for name in ("n1", "n2"):
        view, took = probes[name].wait_view([1, 2], [1, 2], True, bound, mark[name])
        scenario.measured(f"{name}: quorate view", took, bound)
        silence = [event for event in probes[name].events[mark[name]:]
                   if event["event"] == "silent" and event["hosts"] == [3]]
        expect(silence and silence[0]["ms"] < view["ms"],
               f"{name} hears of the silence before the ring knows: {silence}")
        scenario.step(f"    {name}: n3 was silent {view['ms'] - silence[0]['ms']} ms before")
    alone, took = probes["n3"].wait_view([3], [3], False, bound, mark["n3"])
    scenario.measured("n3: alone, not quorate", took, bound)
    said = [event for event in probes["n3"].events[mark["n3"]:] if event["ms"] < alone["ms"]]
    expect(all(not event["quorate"] for event in said if "quorate" in event),
           f"n3 never claims quorum after the cut: {said}")
    probes["n3"].say("alone")
    probes["n3"].wait(lambda event: event.get("text") == "alone", 5.0, "its message", mark["n3"])

    scenario.step("heal")
    mark = marks(probes)
    cluster.heal()
    wait_all(scenario, probes, mark, "sees all again")
    for name, probe in probes.items():
        probe.wait(lambda event: event["event"] == "silent" and event["hosts"] == [], 5.0,
                   "all are heard again", mark[name])
    time.sleep(0.5)
    heard = [event for name in ("n1", "n2") for event in probes[name].events
             if event.get("text") == "alone"]
    expect(not heard, "what n3 said alone reached nobody")


def corosync_dies(scenario, probes):
    scenario.step("kill -9 of corosync on n3")
    node = probes["n3"].node
    mark = marks(probes)
    node.hold_service("corosync")
    _, took = probes["n3"].wait(lambda event: event["event"] == "lost", 5.0, "the loss",
                                mark["n3"])
    scenario.measured("n3: told that it is lost", took, 2.0)
    for name in ("n1", "n2"):
        probes[name].wait_view([1, 2], [1, 2], True, scenario.cluster.topology.detection_bound,
                               mark[name])
    lost = [event for event in probes["n3"].events[mark["n3"]:] if event["event"] == "lost"]
    holds_for(lambda: len(lost) == 1, 1.0, "the loss is told once")
    mark = marks(probes)
    node.release_service("corosync")
    wait_all(scenario, probes, mark, "sees all again", 20.0)


if __name__ == "__main__":
    run(body, node_count=3, guests=False, hold_clusterd=True)
