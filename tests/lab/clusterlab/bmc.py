"""The BMC of each node: a real ipmi_sim on the switch, whose power switch is power_switch.py.

The BMC outlives its node. A stopped BMC is silent, as one without power: its address is gone.
"""

import contextlib
import os
import signal
import sys

from . import configs, network
from .system import LabError, load_process, run, save_process, spawn_detached, write_file
from .wait import wait_until

START_TIMEOUT = 5.0


class Bmc:
    """The BMC of the node `plan`."""

    def __init__(self, topology, plan):
        self._topology = topology
        self._plan = plan
        self.directory = topology.bmc_directory(plan.name)

    @property
    def running(self):
        return load_process(self._pid_file) is not None

    def start(self):
        """Starts the BMC, honest and quick. Returns when it answers."""
        self.set_lying(False)
        self.set_delay(0)
        if self.running:
            return
        script = os.path.join(os.path.dirname(__file__), "power_switch.py")
        command = (f"{sys.executable} -B -E -s {script} {self._topology.directory}"
                   f" {self._plan.name}")
        lan, commands = os.path.join(self.directory, "lan.conf"), self._file("emu.cmds")
        write_file(lan, configs.ipmi_lan(self._topology, self._plan, command), mode=0o600)
        write_file(commands, configs.IPMI_COMMANDS)
        state = self._file("state")
        os.makedirs(state, exist_ok=True)
        network.set_switch_address(self._topology, self._plan.bmc_address, present=True)
        process = spawn_detached(
            [*network.enter(self._topology.switch_namespace), "ipmi_sim", "-c", lan, "-f", commands,
             "-s", state, "-n"],
            log=self._file("ipmi_sim.log"),
        )
        save_process(self._pid_file, process)
        wait_until(self._answers, START_TIMEOUT, f"BMC of {self._plan.name} answers")

    def stop(self):
        """Takes the BMC away; what it was told and has not done yet does not happen."""
        network.set_switch_address(self._topology, self._plan.bmc_address, present=False)
        process = load_process(self._pid_file)
        if process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a slow power switch goes with it
            process.kill()

    def set_lying(self, lying):
        """A lying BMC says "off" to every question and does nothing."""
        self._set_flag("lie", "1" if lying else None)

    def set_delay(self, seconds):
        """Every question and order takes this long."""
        self._set_flag("delay", f"{seconds:g}" if seconds else None)

    def command(self, *words, timeout=30.0):
        """Asks the BMC over the network as an operator would: command("chassis", "power", "off")"""
        return run(
            [*network.enter(self._topology.switch_namespace), "ipmitool", "-I", "lanplus", "-C",
             "3", "-H", self._plan.bmc_address, "-U", configs.BMC_USER, "-E", *words],
            timeout=timeout, env={**os.environ, "IPMI_PASSWORD": self._topology.bmc_password},
        ).stdout.strip()

    def status(self):
        """For a person: what the BMC is made to do."""
        if not self.running:
            return "stopped"
        faults = [name for name in ("lie", "delay") if os.path.exists(self._file(name))]
        return ", ".join(faults) or "ok"

    def _answers(self):
        with contextlib.suppress(LabError):
            return "Chassis Power is" in self.command("chassis", "power", "status", timeout=2.0)
        return False

    def _set_flag(self, name, value):
        if value is not None:
            write_file(self._file(name), value)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._file(name))

    def _file(self, name):
        return os.path.join(self.directory, name)

    @property
    def _pid_file(self):
        return self._file("ipmi_sim.pid")
