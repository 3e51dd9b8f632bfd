"""The guests' kernel and initramfs, built once and kept in a cache.

An uncompressed kernel and an uncompressed archive boot fastest under emulation (README has the
numbers). The cache key is the kernel's version and a hash of everything that goes into the recipe,
so an edit of guest_init.sh or a new qemu-ga makes a new image.
"""

import dataclasses
import glob
import hashlib
import os
import re
import shutil
import stat
import tempfile

from .system import LabError, file_lock, run

CACHE_DIRECTORY = "/var/cache/clusterd-lab"
CAPABILITY_CACHE = os.path.join(CACHE_DIRECTORY, "capabilities")
CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"
IMAGES_KEPT = 3  # 60 MB each
GUEST_INIT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "guest_init.sh")

# Loaded by guest_init.sh in this order; what a kernel has built in is simply no file.
AGENT_MODULES = ["virtio_pci", "virtio_console"]
OTHER_MODULES = ["virtio_blk", "virtio_net", "button", "evdev"]

# The kernel image inside a bzImage starts with the magic bytes of its compression.
COMPRESSIONS = ((b"\x02\x21\x4c\x18", ["lz4", "-dc"]), (b"\xfd7zXZ\x00", ["xz", "-dc"]))

SHUTDOWN = """#!/bin/busybox sh
# What the guest agent calls.
case "$*" in *-r*) reboot -f ;; *) poweroff -f ;; esac
"""
POWER_BUTTON = "#!/bin/busybox sh\npoweroff -f\n"


@dataclasses.dataclass(frozen=True)
class GuestImage:
    kernel: str
    initramfs: str


def guest_image():
    """The image for this machine's newest Debian kernel; builds it if the cache has none."""
    version = _newest_kernel()
    name = f"{version}-{_recipe_hash(version)}"
    folder = os.path.join(CACHE_DIRECTORY, name)
    image = GuestImage(os.path.join(folder, "vmlinux"), os.path.join(folder, "initramfs.cpio"))
    with file_lock(os.path.join(CACHE_DIRECTORY, "lock")):
        if not os.path.isdir(folder):
            building = tempfile.mkdtemp(dir=CACHE_DIRECTORY, prefix="building-")
            try:
                _extract_kernel(f"/boot/vmlinuz-{version}", os.path.join(building, "vmlinux"))
                _build_initramfs(version, os.path.join(building, "initramfs.cpio"))
                os.chmod(building, 0o755)
                os.rename(building, folder)
                _forget_old_images()
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return image


def _forget_old_images():
    images = glob.glob(os.path.join(CACHE_DIRECTORY, "*-amd64-*"))
    for folder in sorted(images, key=os.path.getmtime)[:-IMAGES_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def share_capabilities(cluster):
    """Lets all nodes know what QEMU can do, as hosts that have run for a while do.

    Each libvirtd would find out at its first start of a guest, which costs 0.8 s there and would
    spoil measurements. One node does it (or reads the cache of an earlier lab, which libvirt
    checks by itself), the others get its cache file before they look for one.
    """
    nodes = list(cluster.nodes.values())
    nodes[0].run(["virsh", "domcapabilities", "--virttype", "qemu"], timeout=60)
    learnt = nodes[0].disk(CAPABILITIES)
    for folder in (*(node.disk(CAPABILITIES) for node in nodes[1:]), CAPABILITY_CACHE):
        shutil.copytree(learnt, folder, dirs_exist_ok=True)


def preload_capabilities(node):
    """Gives a node that was never booted what an earlier lab has learnt."""
    if os.path.isdir(CAPABILITY_CACHE):
        shutil.copytree(CAPABILITY_CACHE, node.disk(CAPABILITIES), dirs_exist_ok=True)


def _newest_kernel():
    """The version of the newest kernel in /boot, a cloud kernel if there is one."""
    versions = [path.partition("vmlinuz-")[2] for path in glob.glob("/boot/vmlinuz-*-amd64")]
    versions = [version for version in versions if os.path.isdir(f"/lib/modules/{version}/kernel")]
    if not versions:
        raise LabError("no Debian kernel with modules found (package linux-image-cloud-amd64)")

    def rank(version):
        return "cloud" in version, [int(number) for number in re.findall(r"\d+", version)]

    return max(versions, key=rank)


def _recipe_hash(version):
    digest = hashlib.sha256()
    for path in (__file__, GUEST_INIT, shutil.which("busybox"), _agent_program(),
                 f"/boot/vmlinuz-{version}"):
        with open(path, "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:12]


def _agent_program():
    found = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin")
    if not found:
        raise LabError("qemu-ga is not installed (Debian package qemu-guest-agent)")
    return found


def _extract_kernel(compressed, target):
    with open(compressed, "rb") as file:
        content = file.read()
    for magic, decompress in COMPRESSIONS:
        offset = content.find(magic)
        while offset >= 0:
            with tempfile.NamedTemporaryFile(dir=os.path.dirname(target)) as packed:
                packed.write(content[offset:])
                packed.flush()
                # Bytes follow the compressed image, so the exit code may complain.
                command = f"{' '.join(decompress)} < {packed.name} > {target}"
                run(["sh", "-c", command], check=False, timeout=120)
            with open(target, "rb") as file:
                if file.read(4) == b"\x7fELF":
                    return
            offset = content.find(magic, offset + 1)
    raise LabError(f"{compressed}: no kernel with a known compression (lz4, xz) in it")


def _build_initramfs(version, target):
    with tempfile.TemporaryDirectory() as root:
        for folder in ("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "modules", "www",
                       "var/run", "etc/acpi/PWRF"):
            os.makedirs(os.path.join(root, folder))
        _install(shutil.which("busybox"), root, "bin/busybox")
        _install(GUEST_INIT, root, "init")
        _install_text(SHUTDOWN, root, "sbin/shutdown")
        _install_text(POWER_BUTTON, root, "etc/acpi/PWRF/00000080")
        _install_text('NAME="clusterd lab guest"\nID=clusterd-lab\n', root, "etc/os-release")
        _install_with_libraries(_agent_program(), root, "sbin/qemu-ga")
        _install_modules(version, AGENT_MODULES, root, "agent")
        _install_modules(version, OTHER_MODULES, root, "other")
        run(["sh", "-c", f"cd {root} && find . | cpio --quiet -o -H newc > {target}"])


def _install_modules(version, names, root, list_name):
    """Copies modules with what they depend on; writes modules/LIST_NAME in loading order."""
    order = []
    for name in names:
        shown = run(["modprobe", "-S", version, "--show-depends", name], check=False).stdout
        order += [line.split()[1] for line in shown.splitlines() if line.startswith("insmod ")]
    order = list(dict.fromkeys(order))
    for path in order:
        if not path.endswith(".ko"):
            raise LabError(f"{path}: compressed modules are not supported")
        _install(path, root, f"modules/{os.path.basename(path)}")
    listing = "".join(f"/modules/{os.path.basename(path)}\n" for path in order)
    _install_text(listing, root, f"modules/{list_name}")


def _install_with_libraries(program, root, target):
    _install(program, root, target)
    for path in re.findall(r"(/\S+) \(0x", run(["ldd", program]).stdout):
        _install(path, root, path.lstrip("/"))


def _install(source, root, target):
    path = os.path.join(root, target)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copyfile(os.path.realpath(source), path)
    os.chmod(path, stat.S_IMODE(os.stat(source).st_mode) | 0o755)


def _install_text(text, root, target):
    path = os.path.join(root, target)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)
