"""Stopping all processes of a node at one moment, and letting them run on.

A control group of the freezer (version 1, else 2) does it without the processes noticing; a node
starts inside its group and its children inherit it. Where the machine offers neither, SIGSTOP goes
to every process of the node's pid namespace.
"""

import contextlib
import os
import re
import signal

from .system import all_pids, namespace_inode
from .wait import wait_until

V1_ROOT = "/sys/fs/cgroup/freezer"
V2_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
GROUP_PREFIX = "clusterd-lab-"


class Freezer:
    """The freezer of one node; `name` is its namespace name, unique on the machine."""

    def __init__(self, name):
        self._group, self._is_v1 = _group_for(name)

    def adopt_self(self):
        """Moves the calling process into the group, before it becomes the node's init."""
        if self._group:
            os.makedirs(self._group, exist_ok=True)
            _write(os.path.join(self._group, "cgroup.procs"), os.getpid())

    def freeze(self, init_pid):
        """Stops every process of the node; returns when all are stopped."""
        if not self._group:
            _signal_all(init_pid, signal.SIGSTOP)
            return
        self._adopt_all(init_pid)
        self._set("FROZEN" if self._is_v1 else 1)
        wait_until(self._is_frozen, 5.0, f"freezing {self._group}", interval=0.002)

    def thaw(self, init_pid):
        if self._group:
            self._set("THAWED" if self._is_v1 else 0)
        else:
            _signal_all(init_pid, signal.SIGCONT)

    def frozen(self, init_pid):
        """Whether the node's init is stopped right now."""
        if self._group:
            return self._is_frozen()
        with contextlib.suppress(OSError), open(f"/proc/{init_pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"
        return False

    def remove(self):
        """Removes the group; its processes must have been killed."""
        if self._group:
            wait_until(self._try_remove, 5.0, f"removing {self._group}", interval=0.01)

    def _try_remove(self):
        try:
            os.rmdir(self._group)
        except FileNotFoundError:
            return True
        except OSError:  # the last process is still leaving
            return False
        return True

    def _adopt_all(self, init_pid):
        # What `lab exec` brought into the node is not a child of its init.
        for pid in pids_in_namespace(init_pid):
            with contextlib.suppress(OSError):
                _write(os.path.join(self._group, "cgroup.procs"), pid)

    def _set(self, value):
        with contextlib.suppress(FileNotFoundError):
            _write(os.path.join(self._group, self._state_file()), value)

    def _state_file(self):
        return "freezer.state" if self._is_v1 else "cgroup.freeze"

    def _is_frozen(self):
        name = self._state_file() if self._is_v1 else "cgroup.events"
        try:
            with open(os.path.join(self._group, name), encoding="ascii") as file:
                text = file.read()
        except FileNotFoundError:
            return False
        return text.strip() == "FROZEN" if self._is_v1 else "frozen 1" in text


def groups_of(prefix):
    """The control groups left by the lab `prefix`, as namespace names."""
    found = []
    for root in (V1_ROOT, *V2_ROOTS):
        with contextlib.suppress(OSError):
            for name in os.listdir(root):
                if re.fullmatch(rf"{GROUP_PREFIX}{prefix}-n\d+", name):
                    found.append(name[len(GROUP_PREFIX):])
    return sorted(set(found))


def pids_in_namespace(init_pid):
    """All pids (as the host counts) that live in the pid namespace of `init_pid`."""
    inode = namespace_inode(init_pid, "pid")
    if inode is None:
        return []
    return [pid for pid in all_pids() if namespace_inode(pid, "pid") == inode]


def _group_for(name):
    if os.path.isdir(V1_ROOT) and os.access(V1_ROOT, os.W_OK):
        return os.path.join(V1_ROOT, GROUP_PREFIX + name), True
    for root in V2_ROOTS:
        if os.path.exists(os.path.join(root, "cgroup.controllers")) and _writable(root):
            return os.path.join(root, GROUP_PREFIX + name), False
    return None, False


def _writable(root):
    """Whether groups can be made there: read-only mounts are usual in containers."""
    probe = os.path.join(root, f"{GROUP_PREFIX}probe-{os.getpid()}")
    try:
        os.mkdir(probe)
        os.rmdir(probe)
        return True
    except OSError:
        return False


def _signal_all(init_pid, number):
    # Twice: a process forked during the first round escapes only that one.
    for _ in range(2):
        for pid in pids_in_namespace(init_pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _write(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))
