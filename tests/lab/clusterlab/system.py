"""Running commands, and naming processes without ever hitting a stranger.

A pid alone is not an identity, because the kernel reuses it. Everything the lab means to end later
is a `ProcessId` (pid and start time), and signals go through a pidfd.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import select
import signal
import subprocess
import tempfile


ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def complete_path():
    """Programs call this once: sudo and cron often leave the administrator's folders out."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{ADMIN_PATH}"


class LabError(Exception):
    """Something the lab was asked for could not be done; the text is for a person."""


class CommandFailed(LabError):
    """A command ended with another exit code than 0; `result` has its output."""

    def __init__(self, argv, result):
        self.argv = list(argv)
        self.result = result
        said = (result.stderr or result.stdout or "").strip()
        super().__init__(f"{' '.join(self.argv)}: exit code {result.returncode}: {said}")


def run(argv, *, check=True, timeout=30.0, stdin_text=None, env=None):
    """Runs `argv` to its end and returns a CompletedProcess with text output.

    Raises CommandFailed on a non-zero exit (unless `check` is false), LabError when `timeout`
    seconds pass; then the command itself is killed, not what it left in the background.
    """
    argv = [str(word) for word in argv]
    feed = {"input": stdin_text} if stdin_text is not None else {"stdin": subprocess.DEVNULL}
    try:
        result = subprocess.run(
            argv, text=True, capture_output=True, timeout=timeout, env=env, errors="replace", **feed
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: no answer within {timeout:g} s") from None
    except FileNotFoundError:
        raise LabError(f"{argv[0]}: not installed") from None
    if check and result.returncode != 0:
        raise CommandFailed(argv, result)
    return result


@dataclasses.dataclass(frozen=True)
class ProcessId:
    """One process, once: the start time (clock ticks since boot) tells it from a later namesake."""

    pid: int
    start_time: int

    @staticmethod
    def of(pid):
        """The identity of a living process, or None if there is none (a zombie is none)."""
        stat = read_stat(pid)
        return ProcessId(pid, stat.start_time) if stat and stat.state != "Z" else None

    def alive(self):
        return ProcessId.of(self.pid) == self

    def signal(self, number):
        """Sends a signal; returns whether the process was still there to get it."""
        with self._pidfd() as fd:
            if fd is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
                return True
        return False

    def wait_gone(self, timeout):
        """Waits until the process has died (a zombie has); returns whether it did in time."""
        with self._pidfd() as fd:
            if fd is None:
                return True
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            return bool(poller.poll(timeout * 1000))

    def kill(self, timeout=10.0):
        """SIGKILL, then waits for the death; raises LabError if it does not come."""
        self.signal(signal.SIGKILL)
        if not self.wait_gone(timeout):
            raise LabError(f"process {self.pid} survives SIGKILL for {timeout:g} s")

    @contextlib.contextmanager
    def _pidfd(self):
        fd = None
        try:
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(self.pid)
            if fd is not None and not self.alive():
                os.close(fd)
                fd = None
            yield fd
        finally:
            if fd is not None:
                os.close(fd)


@dataclasses.dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that the lab uses."""

    state: str
    parent: int
    session: int
    start_time: int


def read_stat(pid, proc="/proc"):
    """Parses /proc/PID/stat; None if the process is gone."""
    try:
        with open(f"{proc}/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return Stat(fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def save_process(path, identity):
    write_json(path, dataclasses.asdict(identity))


def load_process(path):
    """The living process saved at `path`, or None."""
    saved = read_json(path)
    if saved is None:
        return None
    identity = ProcessId(**saved)
    return identity if identity.alive() else None


def spawn_detached(argv, *, log, before_exec=None, env=None):
    """Starts a process that outlives its caller, in a session of its own, output appended to `log`.

    Returns its ProcessId. No descriptor of the caller leaks into it: a pipe held open by a node
    would make the BMC simulator, which reads its power script to the end, wait for ever.
    """
    with open(log, "ab") as output:
        child = subprocess.Popen(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, close_fds=True, preexec_fn=before_exec, env=env, cwd="/",
        )
    identity = ProcessId.of(child.pid)
    if identity is None:
        child.wait()
        raise LabError(f"{argv[0]} ended at once, see {log}")
    return identity


def namespace_inode(pid, kind):
    """The inode that names the namespace of `pid` ("net", "pid", ...), or None if it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return None


def all_pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def write_file(path, text, mode=0o644):
    """Replaces `path` atomically; missing folders are made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".new-")
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(temporary, mode)
    os.replace(temporary, path)


def write_json(path, value):
    write_file(path, json.dumps(value, indent=1) + "\n")


def read_json(path):
    """The value stored at `path`, or None if there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def file_lock(path):
    """Holds an exclusive lock on `path` against other processes of the lab."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
