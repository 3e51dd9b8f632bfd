#!/usr/bin/python3
"""Pid 1 of a lab node: mounts the node's own folders, then supervises its services.

Started by node.py as `node_init.py INIT.json` in fresh pid, mount, uts and ipc namespaces and in
the node's network namespace. Killing this process is the power cut: the kernel then kills whatever
runs in the node, QEMU included.
"""

import ctypes
import os
import socket
import sys
import uuid

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from clusterlab.supervisor import Service, Supervisor  # noqa: E402
from clusterlab.system import ProcessId, read_json, save_process, write_file  # noqa: E402

MS_BIND = 4096
LIBC = ctypes.CDLL(None, use_errno=True)


def main():
    plan = read_json(sys.argv[1])
    # The host's /proc is still mounted here, so "self" is our pid as the host counts.
    myself = ProcessId.of(int(os.readlink("/proc/self")))
    mount_all(plan["binds"])
    socket.sethostname(plan["name"])
    os.umask(0o022)
    write_file(plan["boot_id_file"], f"{uuid.uuid4()}\n")
    services = [Service(**service) for service in plan["services"]]
    supervisor = Supervisor(services, plan["control"], plan["environment"], "/run/notify")
    save_process(plan["init_file"], myself)  # from here on the node counts as powered on
    supervisor.run()


def mount_all(binds):
    """Gives the node its own view; `binds` are [source, target] pairs (folders or files)."""
    mount("tmpfs", "/run", "tmpfs", data="mode=0755")
    mount("tmpfs", "/dev/shm", "tmpfs", data="mode=1777")
    for source, target in binds:
        mount(source, target, None, MS_BIND)
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")  # or the node would see the host's network devices
    for folder in ("/run/lock", "/run/corosync-qdevice"):
        os.makedirs(folder)


def mount(source, target, kind, flags=0, data=None):
    def encoded(text):
        return None if text is None else text.encode()

    result = LIBC.mount(encoded(source), encoded(target), encoded(kind), flags, encoded(data))
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"mount {source} on {target}: {os.strerror(error)}")


if __name__ == "__main__":
    main()
