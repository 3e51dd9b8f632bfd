#!/usr/bin/python3
"""Broken declarations against a live cluster: every error at once, nothing applied, exit code 1.

The shapes of the errors are held by unit tests; here the program, the daemon's own knowledge (the
names in corosync.conf, what is stored already) and a half-broken folder count. Good declarations
must pass afterwards, and what they say must follow.
"""

import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from clusterlab import declarations  # noqa: E402
from clusterlab.scenario import expect, run  # noqa: E402
from clusterlab.system import write_file  # noqa: E402
from clusterlab.view import status, vms, wait_online, wait_vms  # noqa: E402

PLACE = re.compile(r"^\S+\.(?:yaml|xml):\d+:\d+: .+")


def body(scenario):
    cluster = scenario.cluster
    folder = os.path.join(cluster.topology.directory, "declarations")
    declarations.write(cluster.topology, folder, workers=["n1"], backup="n2", vms_per_node=1)
    good = os.path.join(folder, "lab.yaml")
    early = cluster.ctl_result("n1", "apply", "-f", good)
    expect(early.returncode == 1 and "clusterctl init" in early.stderr,
           f"before init the command is named: {early.stderr}")
    cluster.ctl("n1", "init", cluster.topology.prefix)
    wait_online(cluster)
    broken_files(scenario, cluster, folder)
    dry_run_changes_nothing(scenario, cluster, good)
    good_is_applied(scenario, cluster, folder, good)


def broken_files(scenario, cluster, folder):
    scenario.step("broken files are refused with every error")
    many = os.path.join(folder, "many.yaml")
    write_file(many, "nodes:\n  n1: { role: boss }\n  n9: {}\nvms:\n  vm1:\n"
                     "    domain: domains/gone.xml\n    rto: 60\n    start_after: [db]\n")
    refused(scenario, cluster, many, 5)
    xml = os.path.join(folder, "domains", "odd.xml")
    write_file(xml, "<domain type='qemu'>\n  <name>odd</name>\n  <memory>lots</memory>\n"
                    "</domain>\n")
    odd = os.path.join(folder, "odd.yaml")
    write_file(odd, "nodes: { n1: {} }\nvms:\n  odd: { domain: domains/odd.xml }\n")
    told = refused(scenario, cluster, odd, 3)
    expect(all("odd.xml" in line for line in told), "at their places in the XML")
    huge = os.path.join(folder, "huge.yaml")
    write_file(huge, "#" * 10_000_000)
    refused(scenario, cluster, huge, 1)
    bomb = os.path.join(folder, "bomb.yaml")
    write_file(bomb, "a: &a [x]\nb: [*a, *a]\n")
    refused(scenario, cluster, bomb, 3)
    agent = os.path.join(folder, "agent.yaml")
    write_file(agent, "fence_devices:\n  bmc:\n    agent: fence_ipmilan\n"
                      "    options: { ipp: x, lanplus: maybe, password: s3cret }\n")
    told = refused(scenario, cluster, agent, 3)
    expect("s3cret" not in "".join(told), "a secret is not repeated")
    expect(cluster.ctl("n1", "status", "--json")["cluster"]["config_version"] == 0,
           "nothing was applied")


def refused(scenario, cluster, path, count):
    result = cluster.ctl_result("n1", "apply", "-f", path)
    lines = result.stderr.splitlines()
    errors = [line for line in lines if PLACE.match(line) and "warning:" not in line]
    expect(result.returncode == 1, f"{path}: exit code {result.returncode}")
    expect(lines[-1] == "nothing was applied", f"{path}: {lines}")
    expect(len(errors) == count, f"{path}: {count} errors, not {lines}")
    scenario.step(f"    {os.path.basename(errors[0])}" +
                  (f" and {count - 1} more" if count > 1 else ""))
    return errors


def dry_run_changes_nothing(scenario, cluster, good):
    scenario.step("a dry run tells what would follow and changes nothing")
    told = cluster.ctl("n1", "apply", "-f", good, "--dry-run")
    expect("+ vms.vm1" in told and "vm1 will start on n1" in told, f"it tells: {told}")
    expect(not status(cluster, "n1")["vms"], "nothing is declared")


def good_is_applied(scenario, cluster, folder, good):
    scenario.step("good declarations are applied; the same ones again change nothing")
    cluster.ctl("n1", "apply", "-f", good)
    wait_vms(cluster, "n2", {"vm1": "n1"})
    expect("nothing changes" in cluster.ctl("n2", "apply", "-f", good), "nothing changes")
    change = os.path.join(folder, "change.yaml")
    write_file(change, "vms:\n  vm1: { domain: domains/vm1.xml, state: stopped }\n")
    told = cluster.ctl("n2", "apply", "-f", change)
    expect("vm1 will stop on n1" in told, f"the consequence is told: {told}")
    scenario.step("what is in use is not deleted")
    used = cluster.ctl_result("n1", "delete", "fence-device", "bmc-n1")
    expect(used.returncode == 1 and "nodes.n1.fencing" in used.stderr, f"refused: {used.stderr}")
    cluster.ctl("n1", "vm", "stop", "vm1")
    cluster.ctl("n1", "delete", "vm", "vm1")
    expect("vm1" not in vms(cluster, "n1"), "a stopped VM is deleted")


if __name__ == "__main__":
    run(body, node_count=2)
