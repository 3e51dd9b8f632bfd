"""The demo (tests/lab/demo): a host with three VMs loses its power, and people may watch.

Every line shows who says it: `history` is the cluster's record, `witness` looks at the QEMU
processes of all nodes from outside. The demo itself says nothing until all is over.
"""

import argparse
import os
import sys
import time

from . import capabilities
from .cluster import Cluster, down
from .scenario import Failure
from .system import LabError, complete_path
from .topology import DEFAULT_BIN
from .view import events, last_event, wait_agents, wait_online, wait_vms
from .wait import TooLate, wait_until
from .witness_process import WitnessProcess

NAME = "demo"
LOST, ASKED, BACKUP = "n1", "n2", "n4"
HOMES = {f"vm{number}": f"n{(number + 2) // 3}" for number in range(1, 10)}
MOVED = {name: BACKUP for name, home in HOMES.items() if home == LOST}
NEXT = """
The lab is still up. Try, as root:
  export CLUSTERD_LAB_NAME=demo
  tests/lab/lab exec n2 -- clusterctl status --watch
  tests/lab/lab exec n2 -- clusterctl failover show {failover}
  tests/lab/lab exec n2 -- clusterctl explain vm vm1
  tests/lab/lab power-on n1          # it comes back empty-handed
  tests/lab/lab power-cut n3         # and the next one goes
  tests/lab/lab down
"""


class Teller:
    """Prints what is new in the history and in the witness's events, each once."""

    def __init__(self, cluster, witness):
        self._cluster, self._witness = cluster, witness
        self._sequence, self._seen, self._begin = 0, 0, time.time()
        self._boot_to_wall = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def begin(self):
        """What follows is told with the time since now."""
        self.tell()
        self._begin = time.time()

    def tell(self):
        lines = []
        for event in events(self._cluster, ASKED, self._sequence):
            self._sequence = event["sequence"]
            lines.append((event["at_ms"] / 1000, "history", event["text"]))
        told = [event for event in self._witness.events()
                if event["event"] in ("appeared", "vanished", "twice", "two_writers", "blind")]
        for event in told[self._seen:]:
            text = " ".join(str(event[key]) for key in ("name", "node", "pid") if key in event)
            lines.append((event["t"] + self._boot_to_wall, "witness", f"{event['event']}: {text}"))
        self._seen = len(told)
        for at, who, text in sorted(lines, key=lambda line: line[0]):
            print(f"{at - self._begin:+8.2f} s  {who}  {text}", flush=True)

    def until(self, condition, deadline, what):
        """Goes on telling until condition() is true."""
        def told():
            self.tell()
            return condition()
        wait_until(told, deadline, what, 0.1)


def main():
    parser = argparse.ArgumentParser(prog="tests/lab/demo", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--bin", default=DEFAULT_BIN, help=argparse.SUPPRESS)
    options = parser.parse_args()
    complete_path()
    capabilities.require()
    try:
        return play(options)
    except (LabError, TooLate, Failure) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            down(NAME)


def play(options):
    cluster = Cluster.up(NAME, 4, bin_directory=os.path.abspath(options.bin))
    cluster.wait_formed()
    path = os.path.join(cluster.topology.directory, "witness.jsonl")
    with WitnessProcess(cluster, path) as witness:
        cluster.found(via=ASKED, workers=["n1", "n2", "n3"], backup=BACKUP)
        teller = Teller(cluster, witness)
        wait_online(cluster)
        wait_vms(cluster, ASKED, HOMES)
        wait_agents(cluster, HOMES)
        teller.begin()
        print(cluster.ctl(ASKED, "status"), flush=True)
        before = last_event(cluster, ASKED)
        cluster.node(LOST).power_cut()
        teller.until(lambda: answered(cluster, before) == set(MOVED), 120.0,
                     "the agents of all moved VMs answer")
        teller.tell()
    verdict = witness.require_ok()
    print(f"\n{cluster.ctl(ASKED, 'status')}", flush=True)
    record = cluster.ctl(ASKED, "failover", "list", "--json")["failovers"][-1]
    print(cluster.ctl(ASKED, "failover", "show", str(record["id"])))
    print(f"witness: {verdict['looks']} looks, longest gap {verdict['longest_gap']} s,"
          f" verdict {verdict['verdict']}: no VM was ever alive twice")
    if options.keep:
        print(NEXT.format(failover=record["id"]))
    return 0


def answered(cluster, before):
    """The VMs whose agents the history has heard since an event."""
    return {event["vm"] for event in events(cluster, ASKED, before)
            if event["kind"] == "agent_answers"} & set(MOVED)


if __name__ == "__main__":
    sys.exit(main())
