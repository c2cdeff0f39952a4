# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the supervised mode share: programs, processes, agents."""

import contextlib
import os
import pathlib
import select
import signal
import socket
import subprocess
import tempfile
import time

import launching
import support

DROP = ["/usr/bin/setpriv", "--reuid", str(support.UID), "--regid", str(support.GID),
        "--clear-groups", "--inh-caps=-all", "/usr/bin/env"]  # fmt: skip


def under_pybind(*program, mode="auto", ports=("80",), options=()):
    """Return the argv that runs PROGRAM; ports: listed with --port."""
    listed = [word for port in ports for word in ("--port", port)]
    words = [support.PYBIND, *listed, *options]
    if mode != "auto":
        words += ["--mode", mode]
    return [str(word) for word in (*words, "--", *program)]


def need_launch():
    """Return the words before the options of src/world.c that set up a process's world."""
    return [launching.build("world.c"), "launch"]


def status_of(pid):
    """Return /proc/PID/status as a dict; empty when there is no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def processes():
    """Return {pid: (name, state)} of UID's processes, zombies included."""
    found = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        status = status_of(pid)
        if status and int(status["Uid"].split()[0]) == support.UID:
            found[pid] = (status["Name"], status["State"])
    return found


def children(pid):
    """Return the PIDs of a process's children, those of all its threads."""
    found = set()
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(word) for word in path.read_text().split()}
    return found


def parent(pid):
    """Return the PID of a process's parent; for a program under pybind, of its supervisor."""
    return int(status_of(pid)["PPid"])


def is_stopped(pid):
    """Tell whether job control has stopped the process."""
    return status_of(pid).get("State", "").startswith("T")


def only_child(pid):
    """Wait for a process's only child; returns its PID."""
    support.wait_for(lambda: children(pid), f"a child of {pid}")
    (child,) = children(pid)
    return child


def in_container(*argv, **options):
    """Start argv as UID and as the first process of a pid namespace; its parent is returned."""
    options.setdefault("cwd", "/")
    unshare = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen([*unshare, *DROP, *map(str, argv)], **options)


def wait_gone(*pids):
    """Wait until none of the processes is there, not even as a zombie."""
    support.wait_for(lambda: not any(map(status_of, pids)), f"{pids} to end and be reaped")


def in_bind(pid):
    """Tell whether the process waits in a bind(2) that the supervisor has to answer."""
    try:
        return "seccomp" in pathlib.Path(f"/proc/{pid}/wchan").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_line(file, patience_s=support.PATIENCE_S):
    """Wait until a pipe has something to read, or its end."""
    ready, _, _ = select.select([file], [], [], patience_s)
    assert ready, f"nothing was said within {patience_s} s"


def can_listen(addr, port=80):
    """Tell whether root can bind and listen there now."""
    with socket.socket() as sock:
        try:
            sock.bind((addr, port))
            sock.listen()
        except OSError:
            return False
    return True


class Agent:
    """A running src/agent.c, which obeys commands over two descriptors (owned)."""

    def __init__(self, to_fd, from_fd):
        self.to_fd, self.from_fd = to_fd, from_fd
        self._read = bytearray()

    def tell(self, command):
        """Send one command."""
        os.write(self.to_fd, command.encode() + b"\n")

    def hear(self):
        """Return the numbers of the next answer; raise AssertionError when none comes."""
        deadline = time.monotonic() + support.PATIENCE_S
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.from_fd], [], [], max(left, 0))
            got = os.read(self.from_fd, 4096) if ready else b""
            assert got, "the agent has ended" if ready else "the agent does not answer"
            self._read += got
        line, _, rest = bytes(self._read).partition(b"\n")
        self._read = bytearray(rest)
        numbers = [int(word) for word in line.split()]
        return numbers[0] if len(numbers) == 1 else numbers

    def ask(self, command):
        """Return the answer to one command: a number, or a list of several."""
        self.tell(command)
        return self.hear()

    def pid(self):
        """Return the PID of the agent that answers."""
        return self.ask("pid")[0]

    def wait_count(self, number, times=1):
        """Wait until the agent has caught the signal that often."""
        support.wait_for(
            lambda: self.ask(f"count {int(number)}") >= times, f"signal {number} to arrive"
        )

    def close(self):
        """Close the descriptors; the agent ends at the end of its input."""
        for fd in {self.to_fd, self.from_fd}:
            os.close(fd)


class Fifos(Agent):
    """An agent that a shell starts with `<NAME.in >NAME.out` in a folder."""

    def __init__(self, folder, name):
        paths = [folder / f"{name}.{end}" for end in ("in", "out")]
        for path in paths:
            os.mkfifo(path)
            path.chmod(0o666)
        super().__init__(*(os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in paths))


@contextlib.contextmanager
def started(argv, **options):
    """Start argv as UID on pipes; yield (process, agent), and end the process afterwards.

    process.said() returns what was written to stderr. A process that the body did not
    wait for stays a zombie, so its PID cannot become another process's.
    """
    with tempfile.TemporaryFile(dir=support.SCRATCH) as log:
        process = support.as_user(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, **options
        )
        process.said = lambda: os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")
        agent = Agent(os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno()))
        process.stdin.close()
        process.stdout.close()
        try:
            yield process, agent
        except AssertionError as error:
            raise AssertionError(f"{error}\nsaid on stderr: {process.said()}") from error
        finally:
            agent.close()
            end(process)


def end(process):
    """Wait for a process whose input has ended, and kill it if it stays."""
    try:
        process.wait(support.PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(support.PATIENCE_S)


def kill_all(pids):
    """Kill what a test has left running."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
