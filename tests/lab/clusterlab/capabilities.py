"""What a machine must offer for the lab, and a clear word on what is missing.

Exit code 77 means "skipped" to CTest. With CI=true a missing capability is a failure instead: a
test server that cannot run the lab is broken, not excused.
"""

import contextlib
import glob
import os
import shutil
import sys

from .network import enter
from .system import LabError, run

SKIPPED = 77
FAILED = 1

# program -> Debian package
PROGRAMS = {
    "corosync": "corosync", "corosync-quorumtool": "corosync", "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients", "ipmi_sim": "openipmi", "ipmitool": "ipmitool",
    "fence_ipmilan": "fence-agents", "ip": "iproute2", "nft": "nftables", "nsenter": "util-linux",
    "unshare": "util-linux", "chrt": "util-linux", "timeout": "coreutils", "losetup": "mount",
}
GUEST_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static",
    "qemu-ga": "qemu-guest-agent", "cpio": "cpio", "modprobe": "kmod", "lz4": "lz4",
    "xz": "xz-utils", "ldd": "libc-bin",
}
ARBITER_PROGRAMS = {"corosync-qnetd": "corosync-qnetd", "corosync-qdevice": "corosync-qdevice"}
METRICS_PROGRAMS = {"prometheus": "prometheus", "promtool": "prometheus"}
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(guests=True, arbiter=False, programs=None):
    """A list of sentences, one for each thing that is missing; empty if the lab can run."""
    if os.geteuid() != 0:
        return ["not root: the lab makes namespaces and network devices (try sudo)"]
    wanted = {**PROGRAMS, **(GUEST_PROGRAMS if guests else {}),
              **(ARBITER_PROGRAMS if arbiter else {}), **(programs or {})}
    absent = [f"{program} is not installed (Debian package {package})"
              for program, package in wanted.items()
              if shutil.which(program, path=SEARCH_PATH) is None]
    if guests and not glob.glob("/boot/vmlinuz-*-amd64"):
        absent.append("no kernel for the guests in /boot (Debian package linux-image-cloud-amd64)")
    if guests and not os.path.exists("/dev/net/tun"):
        absent.append("/dev/net/tun is missing: guests get no network")
    # The rest is tried with these programs, so it makes no sense without them.
    return absent or [text for probe in (_namespaces, _switch, _realtime) for text in probe()]


def require(guests=True, arbiter=False, programs=None):
    """Ends the program with exit code 77 (CI=true: 1) and the reasons if the lab cannot run.

    `programs`: what a scenario needs on top, with the Debian package of each.
    """
    reasons = missing(guests, arbiter, programs)
    if not reasons:
        return
    in_ci = os.environ.get("CI") == "true"
    print("FAILED: CI=true, but" if in_ci else "SKIPPED:", "the lab cannot run here:",
          file=sys.stderr)
    for reason in reasons:
        print(f"  - {reason}", file=sys.stderr)
    sys.exit(FAILED if in_ci else SKIPPED)


def _namespaces():
    try:
        run(["unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "sh", "-c",
             "mount -t tmpfs tmpfs /run && mount -t proc proc /proc"])
    except LabError as error:
        yield f"no pid, mount, uts and ipc namespaces: {error}"


def _switch():
    """A bridge, a cable between namespaces, and rules on bridged packets."""
    namespace = f"clusterlab-probe-{os.getpid()}"
    rules = "table bridge t {\n chain c { type filter hook forward priority 0;\n }\n}\n"
    try:
        run(["ip", "netns", "add", namespace])
        try:
            run(["ip", "-n", namespace, "link", "add", "br0", "type", "bridge"])
            run(["ip", "-n", namespace, "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
            run([*enter(namespace), "unshare", "--mount", "mount", "-t", "sysfs", "sysfs", "/sys"])
            run([*enter(namespace), "nft", "-f", "-"], stdin_text=rules)
        finally:
            with contextlib.suppress(LabError):
                run(["ip", "netns", "delete", namespace])
    except LabError as error:
        yield f"no network namespaces with bridges and packet rules: {error}"


def _realtime():
    try:
        run(["chrt", "-r", "1", "true"])
    except LabError as error:
        yield f"no real-time scheduling, Corosync would see pauses as failures: {error}"
