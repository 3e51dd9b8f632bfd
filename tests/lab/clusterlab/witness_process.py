"""A witness in a process of its own, for scenarios: start it, do harm, stop it, read it."""

import contextlib
import json
import os
import subprocess
import sys

from .system import LabError
from .wait import wait_until

STOP_TIMEOUT = 10.0


class WitnessProcess:
    """Context manager around `lab witness`. The scenario must call `require_ok` (or look at
    `verdict`) after it: a witness nobody asks proves nothing."""

    def __init__(self, cluster, path=None, *, activity=False):
        self.path = path or os.path.join(cluster.topology.directory, "witness.jsonl")
        self._prefix = cluster.topology.prefix
        self._options = ["--active"] if activity else []
        self._process = None

    def __enter__(self):
        lab = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lab")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._process = subprocess.Popen(
            [sys.executable, lab, "witness", "--name", self._prefix, "--out", self.path,
             *self._options], stdin=subprocess.DEVNULL)
        wait_until(lambda: self.events("start") or self._process.poll() is not None, 10.0,
                   "witness starts")
        if self._process.poll() is not None:
            raise LabError("the witness ended at once")
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def events(self, kind=None, **fields):
        """What it has seen so far, oldest first; only of that kind, and with these fields."""
        found = []
        with contextlib.suppress(FileNotFoundError), open(self.path, encoding="utf-8") as file:
            for line in file:
                if not line.endswith("\n"):
                    break  # still being written
                event = json.loads(line)
                if kind in (None, event["event"]) and fields.items() <= event.items():
                    found.append(event)
        return found

    @property
    def verdict(self):
        """The `end` event; raises LabError if the witness did not live to write it."""
        ends = self.events("end")
        if not ends:
            raise LabError(f"the witness has no verdict, see {self.path}")
        return ends[-1]

    def require_ok(self):
        """Raises LabError with the reasons unless the witness saw nothing wrong all the time."""
        verdict = self.verdict
        if verdict["verdict"] != "ok":
            raise LabError(f"witness: {'; '.join(verdict['reasons'])} (see {self.path})")
        return verdict
