"""Finding the lab's QEMU processes from outside, in the host's /proc.

A process belongs to the node whose network namespace it is in: unlike the pid namespace that one
stays the same over boots, so a QEMU is placed even while its node is going down or coming up.
"""

import dataclasses
import os

from .network import NAMESPACE_ROOT
from .system import ProcessId, namespace_inode


@dataclasses.dataclass(frozen=True)
class QemuProcess:
    """One QEMU that has a UUID; `boot` is its pid namespace, another one at each boot."""

    identity: ProcessId
    node: str
    boot: int
    uuid: str
    name: str
    incoming: bool  # started to receive a migration

    @property
    def pid(self):
        return self.identity.pid


def node_map(topology):
    """network namespace inode -> node name."""
    return {
        os.stat(os.path.join(NAMESPACE_ROOT, topology.namespace(plan.name))).st_ino: plan.name
        for plan in topology.nodes
    }


def scan(nodes, kernel_threads=None):
    """All QEMU processes of the lab at this moment; `nodes` comes from node_map.

    Reads every command line anew (a process may exec at any time). `kernel_threads` is a set that
    the caller keeps between scans: they never exec, so they are looked at only once.
    """
    known = kernel_threads if kernel_threads is not None else set()
    found, present = [], set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        present.add(entry)
        if entry in known:
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words == [b""]:
            if _is_kernel_thread(entry):
                known.add(entry)
        elif b"-uuid" in words and b"qemu" in os.path.basename(words[0]):
            process = _describe(int(entry), words, nodes)
            if process:
                found.append(process)
    known &= present  # a pid that went away may come back as something else
    return found


def _describe(pid, words, nodes):
    identity = ProcessId.of(pid)
    node = nodes.get(namespace_inode(pid, "net"))
    boot = namespace_inode(pid, "pid")
    if identity is None or node is None or boot is None:
        return None  # of another lab, or of no lab, or just gone
    return QemuProcess(
        identity, node, boot, _value(words, b"-uuid").lower(), _guest_name(words),
        b"-incoming" in words,
    )


def _value(words, option):
    position = words.index(option) + 1
    return words[position].decode(errors="replace") if position < len(words) else ""


def _guest_name(words):
    """The domain's name: libvirt passes `-name guest=NAME,...`."""
    if b"-name" not in words:
        return ""
    for part in _value(words, b"-name").split(","):
        key, _, value = part.partition("=")
        if key == "guest":
            return value
    return ""


def _is_kernel_thread(entry):
    # An exiting process has an empty command line too, but only kernel threads have no executable
    # and kthreadd (pid 2) as parent.
    try:
        with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[1] in ("0", "2") and entry != "1"
    except OSError:
        return False
