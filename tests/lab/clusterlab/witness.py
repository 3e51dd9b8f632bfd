"""The witness: sees from outside which guests are alive where, and proves any double.

It asks nobody in the cluster. About twenty times a second it reads the host's /proc for QEMU
processes (pid namespaces hide nothing from the host), and a few times a second the heartbeats on
the guests' disks. What it sees goes out as JSON lines, one event each, with `t` in seconds of
CLOCK_BOOTTIME (the clock of process start times):

    start        the lab, and how often it means to look
    appeared     a QEMU process: node, pid, uuid, name, boot, incoming, started (the kernel's word)
    vanished     the same process is gone
    twice        one UUID alive in two processes: S1 is broken
    migrating    two processes of a UUID, but only one of them runs: no violation
    undecided    two processes, one of them receives a migration, and libvirt does not answer
    writer       a guest boot wrote to a disk for the first time
    two_writers  proof that two guests wrote to one disk: S1 is broken
    active       libvirt of a node lists a domain (only on request, see activity.py)
    inactive     ... no longer
    blind        no look for more than MAX_GAP: what happened in this time is unknown
    end          looks, longest_gap, verdict (ok or failed), reasons

A run in which the witness was blind for more than MAX_GAP proves nothing and fails.
"""

import contextlib
import json
import os
import queue
import signal
import threading
import time

from . import heartbeat, qemu
from .activity import ActivityWatch
from .judge import MigrationJudge
from .system import ProcessId, load_process, save_process

INTERVAL = 0.05
MAX_GAP = 1.0
DISK_EVERY = 4  # looks
UNDECIDED_LIMIT = 3.0  # seconds for which a migration may stay unclear


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Witness:
    """Looks at one lab. `report(event, **fields)` is called for each event, from any thread."""

    def __init__(self, cluster, report, judge=None):
        self._report = report
        self._shared = cluster.topology.shared_directory
        self._nodes = qemu.node_map(cluster.topology)
        self._judge = judge or MigrationJudge(cluster)
        self._kernel_threads = set()
        self._alive = {}  # identity -> QemuProcess
        self._doubles = set()  # frozensets of identities already reported
        self._undecided = {}  # uuid -> since when
        self._disks = {}  # uuid -> DiskHistory
        self._last_look = None
        self.looks = 0
        self.longest_gap = 0.0
        self.reasons = []  # why this run fails, at most one a kind

    def look(self):
        """One look at everything."""
        begin = now()
        gap = begin - self._last_look if self._last_look is not None else 0.0
        self.longest_gap = max(self.longest_gap, gap)
        if gap > MAX_GAP:
            self._report("blind", t=begin, seconds=round(gap, 3))
        self._last_look = begin
        processes = self._scan()
        self._compare(begin, processes)
        self._find_doubles(processes)
        if self.looks % DISK_EVERY == 0:
            self._look_at_disks()
        self.looks += 1

    def verdict(self):
        """(ok, reasons) for everything up to now."""
        reasons = list(self.reasons)
        if self.longest_gap > MAX_GAP:
            reasons.append(f"blind for {self.longest_gap:.2f} s (allowed: {MAX_GAP:g} s)")
        return not reasons, reasons

    def _scan(self):
        return {p.identity: p for p in qemu.scan(self._nodes, self._kernel_threads)}

    def _compare(self, seen_at, processes):
        for identity, process in processes.items():
            if identity not in self._alive:
                self._report("appeared", t=seen_at, started=_started(process), **_fields(process))
        for identity, process in self._alive.items():
            if identity not in processes:
                self._report("vanished", t=seen_at, **_fields(process))
        self._alive = processes

    def _find_doubles(self, processes):
        doubles = _doubles(processes)
        if doubles:
            # One scan is no instant. Who is also there after all others were seen overlapped.
            again = self._scan()
            doubles = _doubles({i: p for i, p in processes.items() if i in again})
        for uuid in set(self._undecided) - set(doubles):
            del self._undecided[uuid]
        for uuid, double in doubles.items():
            key = frozenset(process.identity for process in double)
            if key in self._doubles:
                continue
            if sum(not process.incoming for process in double) >= 2:
                self._found_twice(key, uuid, double, "processes")
            else:
                self._judge_migration(key, uuid, double)

    def _judge_migration(self, key, uuid, double):
        states = self._judge.states(uuid, double)  # None while the question is under way
        if states is None:
            return
        running = sum(state == "running" for state in states.values())
        where = {double_.node: states[double_.identity] for double_ in double}
        if running >= 2:
            self._found_twice(key, uuid, double, "libvirt")
        elif "unknown" in states.values():
            since = self._undecided.setdefault(uuid, now())
            self._report("undecided", uuid=uuid, states=where)
            if now() - since > UNDECIDED_LIMIT:
                self._fail(f"{uuid}: could not be proven to run once during a migration")
        else:
            self._undecided.pop(uuid, None)
            self._report("migrating", uuid=uuid, states=where)

    def _found_twice(self, key, uuid, double, evidence):
        self._doubles.add(key)
        self._report("twice", uuid=uuid, evidence=evidence, processes=[_fields(p) for p in double])
        self._fail(f"{uuid}: alive twice, on {' and '.join(sorted(p.node for p in double))}")

    def _look_at_disks(self):
        for entry in os.listdir(self._shared):
            uuid, extension = os.path.splitext(entry)
            if extension != ".raw":
                continue
            history = self._disks.setdefault(uuid, heartbeat.DiskHistory())
            records = heartbeat.read_disk(os.path.join(self._shared, entry))
            new, proofs = history.look(records)
            for boot in new:
                self._report("writer", uuid=uuid, boot=boot, counter=records[boot][-1].counter)
            for proof in proofs:
                self._report("two_writers", uuid=uuid, proof=proof)
                self._fail(f"{uuid}: two guests wrote to its disk")

    def _fail(self, reason):
        if reason not in self.reasons:
            self.reasons.append(reason)


def watch_until_stopped(cluster, path, *, activity=False):
    """Runs a witness into the file `path` until SIGTERM or SIGINT; returns 0 for an ok verdict."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.suppress(OSError):  # a busy machine must not blind it
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    # `down` ends the witnesses of its lab by this file.
    identity = ProcessId.of(os.getpid())
    save_process(os.path.join(witness_directory(cluster.topology), str(identity.pid)), identity)
    with open(path, "w", encoding="utf-8") as file:
        report = _Reporter(file)
        witness = Witness(cluster, report)
        watch = ActivityWatch(cluster, report) if activity else contextlib.nullcontext()
        report("start", lab=cluster.topology.prefix, interval=INTERVAL)
        with watch:
            due = now()
            while not stop.is_set():
                witness.look()
                due = max(due + INTERVAL, now())
                stop.wait(max(0.0, due - now()))
        ok, reasons = witness.verdict()
        report("end", looks=witness.looks, longest_gap=round(witness.longest_gap, 3),
               verdict="ok" if ok else "failed", reasons=reasons)
        report.close()
    return 0 if ok else 1


def witness_directory(topology):
    return os.path.join(topology.directory, "witnesses")


def end_all(topology):
    """Ends the lab's witnesses; they still write their verdicts."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(witness_directory(topology)):
            process = load_process(os.path.join(witness_directory(topology), entry))
            if process:
                process.signal(signal.SIGTERM)
                process.wait_gone(5.0)


class _Reporter:
    """Writes events as JSON lines from a thread of its own: a slow disk must not stop the looks.
    Safe to call from any thread."""

    def __init__(self, file):
        self._file = file
        self._lines = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        self._thread.start()

    def __call__(self, event, t=None, **fields):
        line = {"t": round(now() if t is None else t, 3), "event": event, **fields}
        self._lines.put(json.dumps(line) + "\n")

    def close(self):
        """Returns when everything is written."""
        self._lines.put(None)
        self._thread.join()

    def _write_all(self):
        for line in iter(self._lines.get, None):
            self._file.write(line)
            self._file.flush()


def _doubles(processes):
    """uuid -> its processes, for UUIDs that have more than one."""
    by_uuid = {}
    for process in processes.values():
        by_uuid.setdefault(process.uuid, []).append(process)
    return {uuid: found for uuid, found in by_uuid.items() if len(found) > 1}


def _fields(process):
    return {"node": process.node, "pid": process.pid, "uuid": process.uuid, "name": process.name,
            "boot": process.boot, "incoming": process.incoming}


def _started(process):
    return process.identity.start_time / os.sysconf("SC_CLK_TCK")
