"""When does libvirt list a domain as active? Sampled for benchmarks.

One virsh per node stays connected and is asked again and again, so a sample costs one libvirt call
and no new process. The caller's events get the time at which the answer arrived.
"""

import contextlib
import subprocess
import threading
import time

from .system import LabError

INTERVAL = 0.05
RECONNECT_AFTER = 0.2
MARK = "echo answered"


class ActivityWatch:
    """Context manager: reports `active` and `inactive` (node, uuid) while it is open."""

    def __init__(self, cluster, report):
        self._report = report
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(node,), daemon=True)
                         for node in cluster.nodes.values()]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=2.0)

    def _watch(self, node):
        """One node, over its reboots."""
        known = set()
        while not self._stop.is_set():
            with contextlib.suppress(LabError, OSError):
                for active in self._samples(node):
                    self._tell(node.name, known, active)
                    known = active
            if not self._stop.is_set():
                self._tell(node.name, known, set())  # its libvirt is gone
                known = set()
            self._stop.wait(RECONNECT_AFTER)

    def _tell(self, name, before, after):
        for uuid in sorted(after - before):
            self._report("active", node=name, uuid=uuid)
        for uuid in sorted(before - after):
            self._report("inactive", node=name, uuid=uuid)

    def _samples(self, node):
        """Yields the set of active UUIDs, until libvirtd goes away or the watch ends."""
        uri = node.libvirt_uri
        with subprocess.Popen(["virsh", "-q", "-r", "-k", "1", "-K", "3", "-c", uri],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, bufsize=1) as virsh:
            try:
                # The path to the socket names one boot of the node.
                while not self._stop.is_set() and node.libvirt_uri == uri:
                    begin = time.monotonic()
                    virsh.stdin.write(f"list --uuid\n{MARK}\n")
                    virsh.stdin.flush()
                    active = _answer(virsh.stdout)
                    if active is None:
                        return
                    yield active
                    self._stop.wait(max(0.0, INTERVAL - (time.monotonic() - begin)))
            finally:
                virsh.kill()


def _answer(lines):
    """The listed UUIDs; None if virsh ended. virsh repeats each command that it reads from a pipe,
    so the repetition of the mark says that the list before it is complete."""
    active = set()
    for line in lines:
        if line.rstrip().endswith(MARK):
            return active
        words = line.split()
        if len(words) == 1 and words[0].count("-") == 4:
            active.add(words[0])
    return None
