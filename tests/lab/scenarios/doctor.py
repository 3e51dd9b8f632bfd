#!/usr/bin/python3
"""What `clusterctl doctor` says of a real Corosync, and that clusterd does not run with a setting
that changes majorities behind its back (protocol R8).

The lab's four nodes have no arbiter and no authentication: that is weak, and no problem. n4 boots
with last_man_standing: the doctor calls it a problem, clusterd there ends, and the others go on.
"""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.view import status, wait_online  # noqa: E402
from clusterlab.wait import wait_until  # noqa: E402

CONF = "/etc/corosync/corosync.conf"


def body(scenario):
    cluster = scenario.cluster
    scenario.step("before the cluster is founded: one problem, and it says what to do")
    code, checks = doctor(cluster, "n1")
    told = [text for verdict, _, text in checks if verdict == "problem"]
    expect(code == 1 and len(told) == 1 and "clusterctl init" in told[0], f"{code}: {told}")

    scenario.step("a cluster that works: warnings only")
    cluster.ctl("n1", "init", "lab")
    wait_online(cluster)
    code, checks = doctor(cluster, "n1")
    weak = [text for verdict, about, text in checks if (verdict, about) == ("warning", "corosync")]
    expect(code == 0, f"no problem: {checks}")
    expect(any("without an arbiter" in text for text in weak), f"four without an arbiter: {weak}")
    expect(any("do not authenticate" in text for text in weak), f"no authentication: {weak}")
    good = [text for verdict, _, text in checks if verdict == "ok"]
    expect(any("2 links" in text for text in good), f"two links: {good}")
    scenario.step("    " + next(text for text in good if "out of the ring after" in text))

    scenario.step("n4 boots with last_man_standing: clusterd does not run there")
    node = cluster.node("n4")
    node.shutdown()
    change_quorum(node.disk(CONF), ("wait_for_all: 1", "last_man_standing: 1"))
    node.boot()
    wait_until(lambda: "last_man_standing" in refused(cluster, "n4"), 30.0,
               "the doctor on n4 names it")
    expect(doctor(cluster, "n4")[0] == 1, "it is a problem")
    wait_until(lambda: node.services()["clusterd"]["state"] == "backoff", 10.0,
               "clusterd ends at once")
    cluster.wait_formed()
    members = status(cluster, "n1")["cluster"]["members"]
    expect(members == ["n1", "n2", "n3"], f"its Corosync is in the ring, but no member: {members}")


def doctor(cluster, name):
    """The exit code of `doctor`, and (verdict, about, text) of its checks."""
    done = cluster.node(name).run(["clusterctl", "doctor", "--json"], check=False)
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, [(c["verdict"], c["about"], c["text"]) for c in checks]


def refused(cluster, name):
    """What the doctor calls a problem of Corosync, in one text."""
    return " ".join(text for verdict, about, text in doctor(cluster, name)[1]
                    if (verdict, about) == ("problem", "corosync"))


def change_quorum(path, lines):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    head, tail = text.split("quorum {\n", 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + "quorum {\n" + "".join(f"    {line}\n" for line in lines) + tail)


if __name__ == "__main__":
    run(body, guests=False)
