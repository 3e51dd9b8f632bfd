"""Which process of a migrating VM runs? Answered by the nodes' libvirts, for the witness.

During a live migration two QEMU processes carry one UUID by design: the source runs, the target
waits paused; then the other way round. Processes cannot tell this from outside, so for this case
alone the witness asks. The answer comes from a thread, because the witness must not be blind while
a libvirt hangs.
"""

import concurrent.futures

from .system import LabError, run

TIMEOUT = 1.0


class MigrationJudge:
    """Asks one question per UUID at a time."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=4)
        self._pending = {}  # uuid -> (identities, future)

    def states(self, uuid, processes):
        """identity -> "running", "paused", "off" or "unknown"; None until the answer is there.

        The answers are valid together: "running" twice is only returned if the first one said so
        again after the second one had.
        """
        identities = frozenset(process.identity for process in processes)
        asked, future = self._pending.get(uuid, (None, None))
        if asked != identities:
            self._pending[uuid] = (identities, self._pool.submit(self._ask_all, uuid, processes))
            return None
        if not future.done():
            return None
        del self._pending[uuid]
        return future.result()

    def _ask_all(self, uuid, processes):
        # Receivers first: once a target runs its source never runs again, so this order cannot
        # take an ordinary handover for a double.
        order = sorted(processes, key=lambda process: not process.incoming)
        states = {process.identity: self._ask(process.node, uuid) for process in order}
        for process in order:
            if list(states.values()).count("running") > 1:
                states[process.identity] = self._ask(process.node, uuid)
        return states

    def _ask(self, node, uuid):
        try:
            uri = self._cluster.node(node).libvirt_uri
            result = run(["virsh", "-q", "-r", "-k", "1", "-K", "1", "-c", uri, "domstate", uuid],
                         check=False, timeout=TIMEOUT)
        except LabError:
            return "unknown"
        if result.returncode != 0:
            gone = "failed to get domain" in result.stderr or "Domain not found" in result.stderr
            return "off" if gone else "unknown"
        state = result.stdout.strip()
        if state in ("running", "paused"):
            return state
        return "off" if state in ("shut off", "crashed") else "unknown"
