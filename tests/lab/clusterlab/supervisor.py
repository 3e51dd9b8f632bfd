"""The part of a node's init that keeps services running, as systemd would.

It sleeps in one select() and wakes for SIGCHLD, for readiness messages (the sd_notify protocol,
which Corosync and libvirtd speak), for SIGHUP ("read the control folder again"), and for its own
next deadline. It never polls.

The control folder belongs to the lab, outside of the node:
    held/NAME     the service is not started while this file exists
    crash/NAME    seconds of life after which the service is killed, each time it starts
    state/NAME    written here: what the service is doing (JSON)
"""

import contextlib
import dataclasses
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import time

from clusterlab.system import read_stat, write_json

STOP_TIMEOUT = 20.0
CALM_AFTER = 60.0  # a run this long forgets earlier failures
CREDENTIALS = struct.Struct("3i")


@dataclasses.dataclass
class Service:
    """What to run and how, then what has become of it."""

    name: str
    argv: list
    log: str
    after: list = dataclasses.field(default_factory=list)  # started once these have settled
    notifies: bool = True  # says READY=1 when it is up; else it is up once started
    restarts: bool = True
    first_delay: float = 1.0  # before the first restart, doubling up to max_delay
    max_delay: float = 10.0
    owns_session: bool = False  # its descendants die with it (systemd: KillMode=control-group)

    process: object = None
    state: str = "waiting"  # waiting, starting, running, backoff, held, ended
    started: float = 0.0
    due: float = 0.0
    failures: int = 0
    starts: int = 0
    last_exit: str = ""
    crash_after: float = None

    def settled(self):
        return self.state in ("running", "held", "ended", "backoff")


class Supervisor:
    """Runs `services` until SIGTERM, then stops them in reverse order."""

    def __init__(self, services, control, environment, notify_path):
        self._services = services
        self._control = control
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._notify.setblocking(False)
        self._notify.bind(notify_path)
        self._environment = {**environment, "NOTIFY_SOCKET": notify_path}
        self._reload = self._terminate = False
        self._wake_reader = _install_signals()

    def run(self):
        self._read_control()
        while not self._terminate:
            if self._reload:
                self._reload = False
                self._read_control()
            now = time.monotonic()
            for service in self._services:
                self._advance(service, now)
            self._sleep(min((d for d in map(_deadline, self._services) if d), default=None))
        self._stop_all()

    def _advance(self, service, now):
        """Starts the service if it is time to, or kills it if it is told to crash."""
        if service.process:
            if service.crash_after is not None and now >= service.started + service.crash_after:
                _signal(service, signal.SIGKILL)
            return
        if service.state in ("held", "ended") or now < service.due:
            return
        if all(other.settled() for other in self._services if other.name in service.after):
            self._start(service, now)

    def _start(self, service, now):
        service.starts += 1
        service.started = now
        with open(service.log, "ab") as log:
            try:
                service.process = subprocess.Popen(
                    service.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                    env=self._environment, start_new_session=True,
                )
            except OSError as error:
                log.write(f"init: {service.argv[0]}: {error}\n".encode())
                self._plan_restart(service, now, str(error))
                return
        self._set_state(service, "starting" if service.notifies else "running")

    def _plan_restart(self, service, now, reason):
        if now - service.started > CALM_AFTER:
            service.failures = 0
        service.process = None
        service.last_exit = reason
        service.due = now + min(service.first_delay * 2**service.failures, service.max_delay)
        service.failures += 1
        held = self._flag("held", service.name) is not None
        self._set_state(service, "held" if held else "backoff" if service.restarts else "ended")

    def _sleep(self, deadline):
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select([self._wake_reader, self._notify], [], [], timeout)[0]
        if self._wake_reader in ready:
            for number in os.read(self._wake_reader, 4096):
                self._reload = self._reload or number == signal.SIGHUP
                self._terminate = self._terminate or number == signal.SIGTERM
            self._reap()
        if self._notify in ready:
            self._read_notifications()

    def _reap(self):
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for service in self._services:
                    if service.process and service.process.pid == pid:
                        self._on_exit(service, pid, status)

    def _on_exit(self, service, pid, status):
        code = os.waitstatus_to_exitcode(status)
        service.process.returncode = code  # the Popen must not wait for it once more
        if service.owns_session:
            _kill_session(pid)
        reason = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        self._plan_restart(service, time.monotonic(), reason)

    def _read_notifications(self):
        while True:
            try:
                message, ancillary, _, _ = self._notify.recvmsg(
                    4096, socket.CMSG_SPACE(CREDENTIALS.size)
                )
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    return
                raise
            senders = [CREDENTIALS.unpack(data)[0] for _, kind, data in ancillary
                       if kind == socket.SCM_CREDENTIALS]
            for service in self._services:
                if service.process and service.process.pid in senders:
                    if b"READY=1" in message.split(b"\n"):
                        self._set_state(service, "running")

    def _read_control(self):
        for service in self._services:
            life = self._flag("crash", service.name)
            service.crash_after = float(life) if life else None
            held = self._flag("held", service.name) is not None
            if held and not service.process:
                self._set_state(service, "held")
            if not held and service.state in ("held", "backoff", "ended"):
                service.failures, service.due = 0, 0.0
                self._set_state(service, "waiting")

    def _flag(self, kind, name):
        try:
            with open(os.path.join(self._control, kind, name), encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _set_state(self, service, state):
        service.state = state
        write_json(os.path.join(self._control, "state", service.name), {
            "state": state, "pid": service.process.pid if service.process else None,
            "starts": service.starts, "last_exit": service.last_exit,
        })

    def _stop_all(self):
        for service in reversed(self._services):
            service.restarts = False
            for number, patience in ((signal.SIGTERM, STOP_TIMEOUT), (signal.SIGKILL, 5.0)):
                deadline = time.monotonic() + patience
                if service.process:
                    _signal(service, number)
                while service.process and time.monotonic() < deadline:
                    self._sleep(deadline)


def _signal(service, number):
    """Signals a child that _reap has not seen yet. Popen's own methods would wait for it first,
    and _reap would then never learn of its end."""
    os.kill(service.process.pid, number)


def _deadline(service):
    """When the service needs attention next, or None. (One that waits for another needs none.)"""
    if service.process:
        limit = service.crash_after
        return None if limit is None else service.started + limit
    return service.due if service.state == "backoff" else None


def _install_signals():
    """Makes SIGCHLD, SIGHUP and SIGTERM readable from the returned descriptor."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return reader


def _kill_session(session):
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        stat = read_stat(pid)
        if stat and stat.session == session:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
