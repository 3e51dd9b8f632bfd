"""Runs a program and says what it cost: wall clock, processor time, peak memory.

Peak memory is the kernel's, of the program alone (wait4). It starts from the size of the process
that forks, so this one must stay small: clusters are generated in a child (apart()).
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback


@dataclasses.dataclass
class Run:
    output: str
    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: int  # bytes
    finished: bool  # False: it was ended at the limit


class PeerError(RuntimeError):
    """A peer, or clusterd, could not be run or gave no answer."""


def run(command, limit, accept=(0,)):
    """Runs it to its end, or until `limit` seconds; other exit codes than `accept` raise."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        begin = time.monotonic()
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=errors)
        except OSError as error:
            raise PeerError(f"{command[0]} cannot be run: {error}") from error
        timer = threading.Timer(limit, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        finished = child.returncode >= 0 or wall < limit
        if finished and child.returncode not in accept:
            raise PeerError(f"{' '.join(command)} ended with {child.returncode}: {text(errors)}")
        return Run(text(output), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024,
                   finished)


def text(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def apart(work, *arguments):
    """Calls it in a child, whose memory is given back; returns what it returned, through JSON."""
    sys.stdout.flush()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as answer:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                json.dump(work(*arguments), answer)
                answer.flush()
                code = 0
            except BaseException:  # pylint: disable=broad-except
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        if os.waitpid(child, 0)[1] != 0:
            raise PeerError(f"{work.__qualname__} failed")
        answer.seek(0)
        return json.load(answer)
