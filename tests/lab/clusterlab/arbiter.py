"""The arbiter: a corosync-qnetd on the switch, reachable by every node on link c.

It adds one vote, so that two of four nodes stay quorate when the others die one after the other,
and it decides which half goes on after a split (algorithm ffsplit, lowest node id wins a tie).
"""

import os

from . import network
from .system import load_process, save_process, spawn_detached
from .topology import ARBITER_ADDRESS

PORT = 5403


class Arbiter:
    """The qnetd of a lab that was built with an arbiter."""

    def __init__(self, topology):
        self._topology = topology
        self._directory = os.path.join(topology.directory, "arbiter")

    @property
    def running(self):
        return load_process(self._pid_file) is not None

    def start(self):
        if self.running:
            return
        os.makedirs(self._directory, exist_ok=True)
        # A /run of its own: qnetd's lock file and socket have fixed paths.
        script = ("mount -t tmpfs tmpfs /run && mkdir /run/corosync-qnetd && exec corosync-qnetd"
                  f" -f -s off -l {ARBITER_ADDRESS} -p {PORT}")
        process = spawn_detached(
            [*network.enter(self._topology.switch_namespace), "unshare", "--mount", "sh", "-c",
             script],
            log=os.path.join(self._directory, "qnetd.log"),
        )
        save_process(self._pid_file, process)

    def stop(self):
        process = load_process(self._pid_file)
        if process:
            process.kill()

    @property
    def _pid_file(self):
        return os.path.join(self._directory, "qnetd.pid")
