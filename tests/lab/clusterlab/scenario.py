"""What every scenario script shares: a lab that is surely taken down, steps, and kept logs.

    def body(scenario):
        cluster = scenario.cluster
        scenario.step("cut the power of n1")
        ...

    if __name__ == "__main__":
        run(body, node_count=4)

Exit codes: 0 passed, 1 failed, 77 skipped (the machine cannot run a lab). Options of each script:
--keep (leave the lab up), --bin DIR (where clusterd is), --name PREFIX.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import time
import traceback

from . import capabilities
from .cluster import Cluster, down, leftovers
from .system import complete_path
from .topology import DEFAULT_BIN, PREFIX_LENGTH, directory_of
from .witness_process import WitnessProcess

LOGS = ("nodes/*/disk/var/log", "nodes/*/disk/var/lib/clusterd", "nodes/*/control/state",
        "nodes/*/init.log", "bmc/*/*.log", "arbiter/*.log", "declarations", "*.jsonl", "lab.json")


class Failure(Exception):
    """The scenario saw something that must not be."""


class Scenario:
    """What a scenario body gets: the cluster, and a voice."""

    def __init__(self, cluster):
        self.cluster = cluster
        self._begin = time.monotonic()

    def step(self, text):
        """Says what happens next, with the time since the lab came up."""
        print(f"[{time.monotonic() - self._begin:6.2f} s] {text}", flush=True)

    def measured(self, what, seconds, limit=None):
        """Prints a measurement; fails if it is above `limit`."""
        bound = "" if limit is None else f" (limit {limit:.2f} s)"
        self.step(f"    {what}: {seconds:.2f} s{bound}")
        expect(limit is None or seconds <= limit, f"{what} took {seconds:.2f} s{bound}")

    def witness(self, name="witness", **options):
        """A witness for a part of the scenario: `with scenario.witness() as witness: ...`."""
        path = os.path.join(self.cluster.topology.directory, f"{name}.jsonl")
        return WitnessProcess(self.cluster, path, **options)

    def saw_no_vm_twice(self, witness):
        """Fails unless the witness saw nothing wrong; says how closely it looked."""
        verdict = witness.require_ok()
        self.step(f"the witness saw no VM twice: {verdict['looks']} looks, longest gap"
                  f" {verdict['longest_gap']} s")


def expect(condition, text):
    """Raises Failure with `text` unless `condition` holds."""
    if not condition:
        raise Failure(text)


def run(body, *, node_count=4, guests=True, arbiter=False, token_ms=1000,
        hold_clusterd=False, bin_directory=None, programs=None):
    """Runs a scenario to its end and exits the program. `bin_directory` beats --bin; `programs`
    are those that the scenario needs on top (capabilities.require)."""
    options = _options()
    complete_path()
    capabilities.require(guests, arbiter, programs)
    failed = True
    cluster = None
    try:
        begin = time.monotonic()
        cluster = Cluster.up(
            options.name, node_count, guests=guests, arbiter=arbiter, token_ms=token_ms,
            bin_directory=bin_directory or options.bin, hold_clusterd=hold_clusterd)
        cluster.wait_formed()
        scenario = Scenario(cluster)
        scenario.step(f"lab {options.name}: {node_count} nodes formed a ring"
                      f" in {time.monotonic() - begin:.1f} s")
        body(scenario)
        failed = False
    except Exception:  # whatever it was: keep the logs, take the lab down, say so
        traceback.print_exc()
        print(f"logs: {_keep_logs(options.name, cluster)}", file=sys.stderr)
    finally:
        if options.keep:
            print(f"kept: the lab {options.name} is still up (lab status --name {options.name})")
        else:
            down(options.name)
    left = [] if options.keep else leftovers(options.name)
    for thing in left:
        print(f"left behind: {thing}", file=sys.stderr)
    print("FAILED" if failed or left else "passed")
    sys.exit(1 if failed or left else 0)


def _options():
    script = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    name = "t-" + re.sub("[^a-z0-9]+", "-", script.lower())
    parser = argparse.ArgumentParser(description="A scenario in the lab; see its first lines.")
    parser.add_argument("--name", default=name[:PREFIX_LENGTH].rstrip("-"), metavar="PREFIX")
    parser.add_argument("--bin", default=DEFAULT_BIN, metavar="DIR")
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    return parser.parse_args()


def _keep_logs(name, cluster):
    """Copies the lab's logs, the nodes' states and recordings beside its folder, over those of an
    earlier failure, and what each daemon says of the cluster; returns where."""
    source, target = directory_of(name), directory_of(name) + ".failed"
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    for node in cluster.nodes if cluster else ():
        if not cluster.node(node).powered:
            continue
        with open(os.path.join(target, f"status-{node}.txt"), "w", encoding="utf-8") as file:
            try:
                said = cluster.ctl_result(node, "status", timeout=10.0)
                file.write(said.stdout + said.stderr)
            except subprocess.TimeoutExpired as late:
                file.write(f"{late}\n")
    for pattern in LOGS:
        for path in glob.glob(os.path.join(source, pattern)):
            copy = os.path.join(target, os.path.relpath(path, source))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            if os.path.isdir(path):
                shutil.copytree(path, copy, dirs_exist_ok=True, ignore_dangling_symlinks=True)
            else:
                shutil.copyfile(path, copy)
    return target
