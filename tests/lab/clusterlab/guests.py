"""Guests: their identity, disk and domain XML.

A guest is a few megabytes of busybox with a real guest agent (guest_init.sh). Its UUID and MAC
follow from its name, so they are the same in every lab and every run. Domains are plain emulation
(`qemu`): nested virtualization hangs on many machines.
"""

import dataclasses
import os
import uuid

from . import network
from .image import guest_image
from .topology import GUEST_NETWORK

NAMESPACE = uuid.UUID("6f0c2bb4-9d0e-4d8f-8a52-3a3fbb1f7c11")
DISK_BYTES = 4 * 1024 * 1024
MEMORY_MIB = 112
FIRST_ADDRESS = 150

# Each of these saves boot time under emulation.
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=0 nokaslr no_timer_check cryptomgr.notests nowatchdog"
    " 8250.nr_uarts=1 selinux=0 apparmor=0 audit=0 panic=-1"
)


@dataclasses.dataclass(frozen=True)
class Guest:
    """One VM; `number` (from 0, unique in the lab) gives it its address."""

    name: str
    number: int
    shared_directory: str
    domain_type: str = "qemu"
    with_network: bool = True

    @property
    def uuid(self):
        return str(uuid.uuid5(NAMESPACE, self.name))

    @property
    def mac(self):
        digest = uuid.uuid5(NAMESPACE, "mac " + self.name).bytes
        return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])

    @property
    def address(self):
        return f"{GUEST_NETWORK}.{FIRST_ADDRESS + self.number}"

    @property
    def disk(self):
        return disk_path(self.shared_directory, self.uuid)

    def make_disk(self):
        """An empty disk on the shared storage; one that is there is kept."""
        if not os.path.exists(self.disk):
            with open(self.disk, "wb") as file:
                file.truncate(DISK_BYTES)

    def domain_xml(self):
        """The domain as an operator declares it. The disk is shareable on purpose: QEMU's own
        image lock would otherwise hide a double start."""
        image = guest_image()
        return f"""<domain type='{self.domain_type}'>
  <name>{self.name}</name>
  <uuid>{self.uuid}</uuid>
  <memory unit='MiB'>{MEMORY_MIB}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{image.kernel}</kernel>
    <initrd>{image.initramfs}</initrd>
    <cmdline>{KERNEL_ARGUMENTS} ip4={self.address}</cmdline>
  </os>
  <features>
    <acpi/>
  </features>
  <cpu mode='custom' match='exact'>
    <model>qemu64</model>
  </cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{self.disk}'/>
      <target dev='vda' bus='virtio'/>
      <shareable/>
    </disk>
{self._interface()}    <serial type='file'>
      <source path='/var/log/{self.name}-serial.log'/>
    </serial>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <memballoon model='none'/>
  </devices>
</domain>
"""

    def _interface(self):
        if not self.with_network:
            return ""
        return f"""    <interface type='bridge'>
      <mac address='{self.mac}'/>
      <source bridge='{network.GUEST_BRIDGE}'/>
      <model type='virtio'/>
    </interface>
"""


def disk_path(shared_directory, vm_uuid):
    """Where the disk of a VM lies; named by UUID so that the witness finds it from a process."""
    return os.path.join(shared_directory, f"{vm_uuid}.raw")
