#!/usr/bin/python3
"""What real daemons recorded of a failover: replayed, it gives the same effects, bit for bit.

clusterd-sim replays the recordings of the survivors and of the host that died. A daemon that is
aborted has its last moments on disk.
"""
# ctest: full

import os
import signal
import stat
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import found_and_wait, wait_online, wait_vms  # noqa: E402
from clusterlab.wait import wait_until  # noqa: E402

HOMES = {"vm1": "n1", "vm2": "n2"}
FOLDER = "/var/lib/clusterd/recording"


def replayed(cluster, name):
    """The story that clusterd-sim tells of the node's recording, which must be equal to it."""
    program = os.path.join(cluster.topology.bin_directory, "clusterd-sim")
    folder = cluster.node(name).disk(FOLDER)
    result = subprocess.run([program, "--replay", folder], capture_output=True, text=True,
                            timeout=60, check=False)
    last = result.stdout.strip().splitlines()[-1:]
    expect(result.returncode == 0, f"the replay of {name} is bit for bit equal: {last}")
    return result.stdout


def body(scenario):
    cluster = scenario.cluster
    found_and_wait(cluster, HOMES, workers=["n1", "n2"], backup="n3", vms_per_node=1)
    wait_until(lambda: cluster.metrics("n3").value("clusterd_recording") == 1, 10.0,
               "n3 says that it records")
    scenario.step("n1 dies")
    cluster.node("n1").power_cut()
    scenario.measured("vm1 runs on n3 after", wait_vms(cluster, "n3", {"vm1": "n3", "vm2": "n2"}))

    scenario.step("n3's daemon is aborted and starts again")
    cluster.node("n3").kill_service("clusterd", signal.SIGABRT)
    wait_online(cluster, ["n2", "n3"])
    for name in ("n1", "n2", "n3"):
        folder = cluster.node(name).disk(FOLDER)
        for path in [folder] + [os.path.join(folder, file) for file in os.listdir(folder)]:
            expect(stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0, f"only root reads {path}")
    stories = {name: replayed(cluster, name) for name in ("n1", "n2", "n3")}
    expect("says fence n1" in stories["n2"], "n2's recording tells that it fenced n1")
    expect("STARTS vm1" in stories["n3"], "n3's recording tells that it started vm1")
    expect("STARTS vm1" in stories["n1"], "so does n1's, of the start before")
    daemons = stories["n3"].count("recorded by clusterd")
    expect(daemons == 2, f"n3's recording is that of two daemons: {daemons}")


if __name__ == "__main__":
    run(body, node_count=3)
