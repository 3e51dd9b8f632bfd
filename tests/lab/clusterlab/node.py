"""One host of the lab: booting it, cutting its power, stopping and starting its services.

A node is powered on as long as its init lives; nothing else remembers a power state. All methods
work from any process (the command line, a scenario, the BMC's power script); changes of power
exclude each other through a lock file.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid

from . import configs, network
from .freezer import Freezer, pids_in_namespace
from .system import (
    LabError, ProcessId, file_lock, load_process, read_json, run, spawn_detached, write_file,
    write_json,
)
from .wait import wait_until

# What each node has of its own, kept over boots (its "disk"); everything else is the host's.
OWN_FOLDERS = (
    "/etc/corosync", "/etc/libvirt", "/etc/clusterd", "/var/lib/corosync", "/var/lib/libvirt",
    "/var/lib/clusterd", "/var/cache/libvirt", "/var/log",
)
OWN_FILES = ("/etc/machine-id", "/etc/hosts")
BOOT_TIMEOUT = 10.0
SHUTDOWN_TIMEOUT = 60.0
HOOK = "clusterd-qemu-hook"


class Node:
    """The node `name` of a lab."""

    def __init__(self, topology, name):
        self.topology = topology
        self.plan = topology.plan(name)
        self.name = name
        self.directory = topology.node_directory(name)
        self._freezer = Freezer(topology.namespace(name))

    # --- paths -------------------------------------------------------------------------------

    def disk(self, path):
        """Where the host sees the node's own `path` (one below OWN_FOLDERS or OWN_FILES)."""
        return os.path.join(self.directory, "disk", path.lstrip("/"))

    def control(self, kind, service=""):
        return os.path.join(self.directory, "control", kind, service)

    def live_path(self, path):
        """`path` of the running node, from the host; for what is in no OWN_FOLDER, as /run."""
        return f"/proc/{self._require_init().pid}/root{path}"

    @property
    def libvirt_uri(self):
        """Libvirt of this node for clients on the host."""
        return f"qemu:///system?socket={self.live_path('/run/libvirt/libvirt-sock')}"

    # --- installation ------------------------------------------------------------------------

    def install(self):
        """Writes the node's disk: configuration, machine id, secrets."""
        for folder in OWN_FOLDERS:
            os.makedirs(self.disk(folder), exist_ok=True)
            os.makedirs(folder, exist_ok=True)  # a mount point on the host, stays empty there
        for kind in ("held", "crash", "state"):
            os.makedirs(self.control(kind), exist_ok=True)
        machine_id = uuid.uuid4()
        write_file(self.disk("/etc/machine-id"), machine_id.hex + "\n")
        write_file(self.disk("/etc/hosts"), configs.hosts(self.topology))
        write_file(self.disk("/etc/corosync/corosync.conf"), configs.corosync_conf(self.topology))
        write_file(self.disk("/etc/libvirt/libvirtd.conf"), configs.libvirtd_conf(machine_id))
        write_file(self.disk("/etc/libvirt/qemu.conf"), configs.QEMU_CONF)
        write_file(self.disk("/etc/clusterd/clusterd.yaml"), configs.CLUSTERD_YAML)
        write_file(self.disk(configs.SECRET_FILE), self.topology.bmc_password + "\n", mode=0o600)
        os.chmod(os.path.dirname(self.disk(configs.SECRET_FILE)), 0o700)

    def _install_hook(self):
        source = os.path.join(self.topology.bin_directory, HOOK)
        target = self.disk("/etc/libvirt/hooks/qemu.d/clusterd")
        if os.path.exists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            os.chmod(target, 0o755)

    # --- power -------------------------------------------------------------------------------

    @property
    def init(self):
        """The ProcessId of the node's init, None when the node is off."""
        return load_process(self._init_file)

    @property
    def powered(self):
        return self.init is not None

    def boot(self):
        """Switches the node on; returns False if it was on. Its services may still be starting."""
        with self._power_lock():
            if self.powered:
                return False
            shutil.rmtree(self.control("state"), ignore_errors=True)
            os.makedirs(self.control("state"))
            self._install_hook()
            write_json(self._init_plan_file, self._init_plan())
            network.plug(self.topology, self.plan)
            script = os.path.join(os.path.dirname(__file__), "node_init.py")
            launcher = spawn_detached(
                [*network.enter(self.topology.namespace(self.name)), "unshare", "--pid", "--fork",
                 "--kill-child=KILL", "--mount", "--uts", "--ipc",
                 sys.executable, "-B", "-E", "-s", script, self._init_plan_file],
                log=self.init_log, before_exec=self._freezer.adopt_self,
            )
            wait_until(lambda: self.powered or not launcher.alive(), BOOT_TIMEOUT, "boot", 0.005)
            if not self.powered:
                raise LabError(f"{self.name} does not boot, see {self.init_log}")
            return True

    def power_cut(self):
        """Cuts the power: silence first, then instant death of all that runs. False if it was off.

        When this returns no process of the node is left, so "off" may be reported.
        """
        with self._power_lock():
            init = self.init
            if init is None:
                return False
            network.unplug(self.topology, self.plan)
            if self.frozen:
                # A frozen process dies when it thaws; with the signal pending it does nothing else.
                for pid in pids_in_namespace(init.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                init.signal(signal.SIGKILL)
                self._freezer.thaw(init.pid)
            init.kill()
            return True

    def shutdown(self):
        """An orderly power-off: services stop in reverse order, then the node is off."""
        init = self.init
        if init is None:
            return
        init.signal(signal.SIGTERM)
        if not init.wait_gone(SHUTDOWN_TIMEOUT):
            raise LabError(f"{self.name} does not shut down within {SHUTDOWN_TIMEOUT:g} s")
        with self._power_lock():
            if not self.powered:
                network.unplug(self.topology, self.plan)

    # --- freezing ----------------------------------------------------------------------------

    def freeze(self):
        """Stops every process of the node, guests included; its cables stay plugged."""
        with self._power_lock():
            self._freezer.freeze(self._require_init().pid)

    def thaw(self):
        with self._power_lock():
            self._freezer.thaw(self._require_init().pid)

    @property
    def frozen(self):
        init = self.init
        return init is not None and self._freezer.frozen(init.pid)

    # --- running things inside ---------------------------------------------------------------

    def enter(self):
        """Command words that run what follows inside the node."""
        return ["nsenter", "-t", str(self._require_init().pid), "-n", "-m", "-p", "-u", "-i", "--"]

    def environment(self):
        path = f"{self.topology.bin_directory}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
        return {"PATH": f"{path}:/sbin:/bin", "HOME": "/root", "LC_ALL": "C",
                "TERM": os.environ.get("TERM", "dumb")}

    def run(self, argv, *, check=True, timeout=30.0, stdin_text=None):
        """Runs a command in the node to its end; like system.run."""
        guarded = [*self.enter(), "timeout", "-s", "KILL", f"{timeout:g}", *map(str, argv)]
        return run(guarded, check=check, timeout=timeout + 3.0, stdin_text=stdin_text,
                   env=self.environment())

    def popen(self, argv, **options):
        """Starts a command in the node as a child of the caller; dies with the node."""
        return subprocess.Popen([*self.enter(), *argv], env=self.environment(), **options)

    # --- services ----------------------------------------------------------------------------

    def services(self):
        """name -> {state, pid (in the node), starts, last_exit}; empty when the node is off."""
        if not self.powered:
            return {}
        plan = read_json(self._init_plan_file)
        return {service["name"]: read_json(self.control("state", service["name"]))
                or {"state": "waiting", "pid": None, "starts": 0, "last_exit": ""}
                for service in plan["services"]}

    def service_pid(self, service):
        """The pid of a service as the host counts, None if it does not run."""
        inner = self.services().get(service, {}).get("pid")
        return None if inner is None else self._host_pid(inner)

    def kill_service(self, service, number=signal.SIGKILL):
        """Signals a service; init restarts it after its back-off. False if it was not running."""
        pid = self.service_pid(service)
        identity = pid and ProcessId.of(pid)
        return bool(identity) and identity.signal(number)

    def hold_service(self, service, number=signal.SIGKILL):
        """Ends a service and keeps it down, over reboots too, until release_service."""
        write_file(self.control("held", service), "")
        self._tell_init()
        self.kill_service(service, number)

    def crash_service(self, service, life_seconds):
        """From now on the service dies `life_seconds` after each of its starts."""
        write_file(self.control("crash", service), f"{life_seconds:g}")
        self._tell_init()

    def release_service(self, service):
        """Undoes hold_service and crash_service; the service starts at once."""
        for kind in ("held", "crash"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.control(kind, service))
        self._tell_init()

    # --- the rest ----------------------------------------------------------------------------

    @property
    def boot_id(self):
        with open(self.live_path(configs.BOOT_ID_FILE), encoding="ascii") as file:
            return file.read().strip()

    @property
    def init_log(self):
        return os.path.join(self.directory, "init.log")

    @property
    def _init_file(self):
        return os.path.join(self.directory, "init.pid")

    @property
    def _init_plan_file(self):
        return os.path.join(self.directory, "init.json")

    def _power_lock(self):
        return file_lock(os.path.join(self.directory, "power.lock"))

    def _require_init(self):
        init = self.init
        if init is None:
            raise LabError(f"{self.name} is powered off")
        return init

    def _host_pid(self, inner):
        for pid in pids_in_namespace(self._require_init().pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii",
                                                    errors="replace") as file:
                for line in file:
                    if line.startswith("NSpid:") and line.split()[-1] == str(inner):
                        return pid
        return None

    def _tell_init(self):
        init = self.init
        if init is not None:
            init.signal(signal.SIGHUP)

    def _init_plan(self):
        binds = [[self.disk(path), path] for path in (*OWN_FOLDERS, *OWN_FILES)]
        return {
            "name": self.name, "binds": binds, "boot_id_file": configs.BOOT_ID_FILE,
            "init_file": self._init_file, "control": self.control("").rstrip("/"),
            "environment": self.environment(), "services": self._service_plans(),
        }

    def _service_plans(self):
        """What init runs, in starting order."""
        services = [{
            # Debian's unit does not restart Corosync either.
            "name": "corosync", "argv": ["corosync", "-f"], "restarts": False,
            "log": "/var/log/corosync.out",
        }]
        if self.topology.arbiter:
            services.append({
                "name": "qdevice", "argv": ["corosync-qdevice", "-f"], "after": ["corosync"],
                "log": "/var/log/qdevice.log",
            })
        services.append({
            "name": "libvirtd", "argv": ["libvirtd", "-l"], "first_delay": 0.1,
            "log": "/var/log/libvirtd.log",
        })
        clusterd = os.path.join(self.topology.bin_directory, "clusterd")
        if os.access(clusterd, os.X_OK):
            services.append({
                "name": "clusterd", "argv": [clusterd], "after": ["corosync", "libvirtd"],
                "notifies": False, "owns_session": True, "log": "/var/log/clusterd.log",
            })
        return services
