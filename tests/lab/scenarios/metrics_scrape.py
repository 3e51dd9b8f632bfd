#!/usr/bin/python3
"""A real Prometheus scrapes real daemons: what it stores is what the cluster is.

No VM is declared here. Beside the states of nodes, garbage on both doors of a daemon (the control
socket, the group) must be counted and must hurt nobody.
"""

import json
import os
import sys
import urllib.parse
from contextlib import contextmanager

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab import capabilities  # noqa: E402
from clusterlab.cluster import METRICS_URL  # noqa: E402
from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.system import LabError, write_file  # noqa: E402
from clusterlab.wait import holds_for, wait_until  # noqa: E402

ALL = ("n1", "n2", "n3")
DEADLINE = 30.0
API = "http://127.0.0.1:9090/api/v1/query?query="
SCRAPE_INTERVAL = 1.0
FRAMES = 30
RANDOM, BROKEN, FLIPPED, SEED = 600, 600, 300, 7
REJECTED = "clusterd_rejected_messages_total"
# A snapshot is made a second after a change, Prometheus comes every second.
SEEN_WITHIN = 2 * (1.0 + SCRAPE_INTERVAL)

CONFIGURATION = f"""global:
  scrape_interval: {SCRAPE_INTERVAL:g}s
scrape_configs:
  - job_name: clusterd
    static_configs:
      - targets: ["127.0.0.1:9465"]
"""


def body(scenario):
    cluster = scenario.cluster
    before_founding(scenario, cluster)
    wait_until(lambda: cluster.ctl_result("n1", "init", "lab").returncode == 0, DEADLINE, "init")
    with prometheus(cluster) as query:
        founded_and_scraped(scenario, cluster, query)
        pages_are_clean(scenario, cluster)
        garbage_on_the_control_socket(scenario, cluster)
        garbage_in_the_group(scenario, cluster)
        pages_are_clean(scenario, cluster)
        taken_address(scenario, cluster)
        lost_host_is_seen(scenario, cluster, query)


def before_founding(scenario, cluster):
    scenario.step("before a cluster is founded: a page, no nodes on it, a quorum of Corosync's")
    wait_until(lambda: value(cluster, "n1", "clusterd_quorate") == 1, DEADLINE, "n1 is quorate")
    expect(value(cluster, "n1", "clusterd_synced") == 0, "nobody follows a state")
    expect(value(cluster, "n1", "clusterd_node_state") is None, "no node is known")


def founded_and_scraped(scenario, cluster, query):
    scenario.step("Prometheus on n1 scrapes n1's daemon")
    wait_until(lambda: query("up") == 1, DEADLINE, "up == 1")
    wait_until(lambda: query("clusterd_quorate") == 1, DEADLINE, "clusterd_quorate == 1")
    wait_until(lambda: query("clusterd_synced") == 1, DEADLINE, "clusterd_synced == 1")
    for name in ALL:
        wait_until(lambda n=name: query(state_of(n, "online")) == 1, DEADLINE, f"{name} is online")
        expect(query(state_of(name, "lost")) == 0, f"{name} is not lost, and the series exists")
    expect(query("clusterd_build_info") == 1, "the version is told")
    expect(query('clusterd_vms{state="running"}') == 0, "no VM runs, and that is a number")
    for call in ("virConnectOpen", "virConnectListAllDomains"):
        expect(query(f'clusterd_libvirt_calls_total{{call="{call}"}}') >= 1, f"{call} is counted")
    for name in ALL:
        expect(value(cluster, name, REJECTED) is None, f"{name} has refused nothing")
    scenario.step("an idle daemon calls libvirt not at all")
    calls = value(cluster, "n1", "clusterd_libvirt_calls_total")
    holds_for(lambda: value(cluster, "n1", "clusterd_libvirt_calls_total") == calls, 3.0,
              "no further calls", 0.5)


def pages_are_clean(scenario, cluster):
    scenario.step("promtool has nothing to say against any page")
    for name in ALL:
        said = cluster.node(name).run(["promtool", "check", "metrics"], check=False,
                                      stdin_text=page(cluster, name))
        told = (said.stdout + said.stderr).strip()
        expect(said.returncode == 0 and not told, f"promtool on {name}: {told}")


def garbage_on_the_control_socket(scenario, cluster):
    scenario.step(f"{FRAMES} frames of garbage, and {FRAMES} times raw bytes, on n1's socket")
    script = os.path.join(os.path.dirname(capabilities.__file__), "ipc_garbage.py")
    before = pids(cluster)
    said = cluster.node("n1").run(["python3", "-B", script, "clusterd", str(FRAMES)], timeout=60)
    expect(int(said.stdout) == FRAMES, f"refusals that arrived: {said.stdout}")
    counted = value(cluster, "n1", REJECTED, source="local_client", reason="malformed")
    expect(counted == FRAMES, f"all of them are counted, and nothing else: {counted}")
    expect(pids(cluster) == before, "no daemon died")
    expect(cluster.ctl_result("n1", "status").returncode == 0, "others are served on")


def garbage_in_the_group(scenario, cluster):
    scenario.step(f"{RANDOM} random, {BROKEN} broken, {FLIPPED} flipped messages in the group")
    before = pids(cluster)
    epoch = value(cluster, "n1", "clusterd_epoch")
    said = cluster.node("n1").run(
        ["cpg-garbage", str(RANDOM), str(BROKEN), str(FLIPPED), str(SEED)], timeout=90)
    scenario.step(f"    {said.stdout.strip()}")
    for name in ALL:
        # The sender came and went: two views. Who shows the second one has seen all of it.
        wait_until(lambda n=name: (value(cluster, n, "clusterd_epoch") or 0) >= epoch + 2,
                   DEADLINE, f"{name} has activated two views")
        wait_until(lambda n=name: online_nodes(cluster, n) == set(ALL), DEADLINE,
                   f"{name} sees all nodes online")
    counts = {name: refused(cluster, name) for name in ALL}
    scenario.step(f"    refused: {counts}")
    expect(len(set(counts.values())) == 1, f"every daemon refuses the same ones: {counts}")
    expect(RANDOM + BROKEN - 2 <= counts["n1"] <= RANDOM + BROKEN + FLIPPED,
           "whatever cannot decode is refused")
    expect(pids(cluster) == before, "no daemon died")


def taken_address(scenario, cluster):
    scenario.step("n2's daemon does not start beside a stranger on its address, and does after it")
    node = cluster.node("n2")
    node.hold_service("clusterd")
    wait_until(lambda: node.services()["clusterd"]["state"] == "held", DEADLINE, "it is down")
    starts = node.services()["clusterd"]["starts"]
    stranger = node.popen(["busybox", "nc", "-l", "-p", "9465"])
    try:
        wait_until(lambda: listens(node, 9465), DEADLINE, "the stranger listens")
        node.release_service("clusterd")
        wait_until(lambda: node.services()["clusterd"]["starts"] > starts, DEADLINE, "a start")
        wait_until(lambda: node.services()["clusterd"]["last_exit"] == "exit code 1", DEADLINE,
                   "it ends by itself")
        expect(listens(node, 9465), "the stranger is still there")
    finally:
        node.run(["pkill", "-KILL", "-x", "busybox"], check=False)
        stranger.wait()
    wait_until(lambda: online_nodes(cluster, "n2") == set(ALL), DEADLINE, "n2 is back")


def lost_host_is_seen(scenario, cluster, query):
    scenario.step("n3 dies silently: without a fence device it counts as lost, and is seen so")
    cluster.node("n3").power_cut()
    took = wait_until(lambda: query(state_of("n3", "lost")) == 1, DEADLINE, "n3 is lost")
    scenario.measured("Prometheus says so after", took,
                      cluster.topology.detection_bound + SEEN_WITHIN)
    expect(query(state_of("n3", "online")) == 0, "and online no more")
    expect(query(state_of("n2", "online")) == 1 and query("clusterd_quorate") == 1,
           "the others go on")
    expect(query("clusterd_alarms") >= 1, "an alarm stands")
    scenario.step("n3 boots: online again, and its page knows all")
    cluster.node("n3").boot()
    wait_until(lambda: query(state_of("n3", "online")) == 1, DEADLINE, "n3 is online")
    wait_until(lambda: online_nodes(cluster, "n3") == set(ALL), DEADLINE, "n3's own page")


@contextmanager
def prometheus(cluster):
    """Runs Prometheus in n1; gives a function from an expression to its one value, or None."""
    node = cluster.node("n1")
    folder = os.path.join(cluster.topology.directory, "prometheus")
    write_file(f"{folder}/prometheus.yml", CONFIGURATION)
    with open(f"{folder}/log", "wb") as log:
        server = node.popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:9090"],
            stdout=log, stderr=log)
    try:
        yield lambda expression: asked(node, expression)
    finally:
        node.run(["pkill", "-KILL", "-x", "prometheus"], check=False)
        server.wait()


def asked(node, expression):
    """The value of an expression that has one series; None: none, or no answer yet."""
    try:
        said = node.run(["busybox", "wget", "-q", "-O", "-", API + urllib.parse.quote(expression)],
                        timeout=5)
    except LabError:
        return None
    found = json.loads(said.stdout)["data"]["result"]
    expect(len(found) <= 1, f"{expression} has one series: {found}")
    return float(found[0]["value"][1]) if found else None


def state_of(name, state):
    return f'clusterd_node_state{{node="{name}",state="{state}"}}'


def page(cluster, name):
    return cluster.node(name).run(["busybox", "wget", "-q", "-O", "-", METRICS_URL],
                                  timeout=5).stdout


def value(cluster, name, metric, **labels):
    """A metric on a node's page, summed; None while there is no page or no such series."""
    try:
        return cluster.metrics(name).value(metric, **labels)
    except LabError:
        return None


def refused(cluster, name):
    """What a daemon has refused of n1's messages."""
    return value(cluster, name, REJECTED, source="n1") or 0


def online_nodes(cluster, name):
    """Who is online on this node's page."""
    try:
        states = cluster.metrics(name).all("clusterd_node_state", state="online")
    except LabError:
        return set()
    return {labels["node"] for labels, number in states if number == 1}


def pids(cluster):
    return {name: cluster.node(name).service_pid("clusterd") for name in ALL}


def listens(node, port):
    return f":{port} " in node.run(["ss", "-Hltn"]).stdout


if __name__ == "__main__":
    run(body, node_count=3, guests=False, programs=capabilities.METRICS_PROGRAMS)
