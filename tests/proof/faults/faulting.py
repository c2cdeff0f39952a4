# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes system calls of the installed binaries fail, and puts stand-ins in the helper's place.

strace runs as root. Under a user's strace the helper gains no capability. Under root's
strace, with -u, it does: a tracer with CAP_SYS_PTRACE is permitted (capabilities(7)). strace
counts the calls of each process separately, from its first execve(2) on.
"""

import contextlib
import ctypes
import errno
import functools
import os
import pathlib
import re
import socket
import struct
import subprocess
from typing import Iterator, List, NamedTuple, Optional, Tuple

import support

from pybind import _wire

USER = "nobody"  # the name of support.UID
CALL = re.compile(r"^(\w+)\(")
REPLY_LEN = struct.calcsize(_wire.REPLY_FORMAT)
ALL = bool(os.environ.get("PYBIND_FAULTS_ALL"))


class Fault(NamedTuple):
    """The nth call of this name gets the fault `what`: "error=EIO" or "signal=KILL"."""

    call: str
    nth: int
    what: str

    def option(self) -> str:
        """Return the fault in strace's words."""
        return f"inject={self.call}:{self.what}:when={self.nth}"

    def kills(self) -> bool:
        """Tell whether the fault kills the process."""
        return self.what.startswith("signal=")


class Outcome(NamedTuple):
    """The result of one run of the helper.

    reason, error: None if there was no reply. calls: the names of the helper's system
    calls in order. injected: whether the fault happened.
    """

    status: int
    reason: Optional[int]
    error: Optional[int]
    port: int
    calls: Tuple[str, ...]
    injected: bool


@functools.cache
def _log_folder() -> pathlib.Path:
    return support.scratch_dir()  # strace -u opens its log as the user


def strace(*options: str) -> List[str]:
    """Return the start of an argv that drops to UID and keeps file capabilities."""
    return [
        "setpriv", "--clear-groups", "--inh-caps=-all", "--",
        "strace", "-qq", "-u", USER, *options,
    ]  # fmt: skip


def encode(sock: socket.socket, address: str, port: int) -> bytes:
    """Return a request to bind sock."""
    head = (_wire.MAGIC, _wire.VERSION, _wire.OP_BIND, sock.family, 0)
    packed = socket.inet_pton(sock.family, address).ljust(16, b"\0")
    return struct.pack(_wire.REQUEST_FORMAT, *head, socket.htons(port), 0, 0, 0, packed)


def helper_with(sock: socket.socket, *options: str) -> List[str]:
    """Return the argv of a helper under strace that has sock as its descriptor 3."""
    # With a socket as input bash believes that rshd started it, and reads ~/.bashrc.
    script = f'exec "$@" {_wire.SOCKET_FD}<&{sock.fileno()}'
    return ["/bin/bash", "--norc", "-c", script, "sh", *strace(*options), support.HELPER]


def ask(address: str, port: int, fault: Optional[Fault] = None) -> Outcome:
    """Ask the helper, as UID, to bind a new TCP socket, with one fault.

    Raises subprocess.TimeoutExpired if the helper hangs; strace and the helper are killed.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = _log_folder() / "log"
    inject = ["-e", fault.option()] if fault else []
    with ours, theirs, socket.socket(family, socket.SOCK_STREAM) as sock:
        ours.send(encode(sock, address, port))
        done = subprocess.run(
            helper_with(sock, "-o", str(log), *inject),
            stdin=theirs, pass_fds=[sock.fileno()], stderr=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # its end of file wakes us; a wait with a timeout would poll
            timeout=support.PATIENCE_S, cwd="/",
        )  # fmt: skip
        ours.setblocking(False)
        try:
            data = ours.recv(4096)
        except BlockingIOError:
            data = b""
        reply = struct.unpack_from(_wire.REPLY_FORMAT, data) if len(data) >= REPLY_LEN else None
        text = log.read_text(errors="replace")
        calls = tuple(m[1] for m in map(CALL.match, text.splitlines()) if m)
        return Outcome(
            done.returncode, reply and reply[2], reply and reply[3], sock.getsockname()[1],
            calls, "(INJECTED)" in text or "killed by" in text,
        )  # fmt: skip


def faults(calls: Tuple[str, ...], errors: List[str]) -> Iterator[Fault]:
    """Yield every call of a run with every error, and with a kill.

    Only up to the reply: after it a coverage build writes its counters.
    """
    seen: dict = {}
    replied = len(calls) - 1 - calls[::-1].index("sendto")
    for name in calls[: replied + 1]:
        seen[name] = seen.get(name, 0) + 1
        if name == "execve":
            continue  # without this call nothing runs
        for error in errors:
            yield Fault(name, seen[name], f"error={error}")
        yield Fault(name, seen[name], "signal=KILL")


def disconnect(sock: socket.socket) -> None:
    """Disconnect a datagram socket, which also unbinds the port that connect(2) gave it."""
    libc = ctypes.CDLL(None, use_errno=True)
    unspec = struct.pack("=H14x", socket.AF_UNSPEC)
    assert libc.connect(sock.fileno(), unspec, len(unspec)) == 0, ctypes.get_errno()


def helpers_left() -> List[int]:
    """Return the ids of processes that run the helper now."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/exe"):
        try:
            if os.readlink(path) == support.HELPER:
                found.append(int(path.parent.name))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EACCES):
                raise
    return found


# Stand-ins for the helper, which do what the helper itself never does.


@contextlib.contextmanager
def other_helper(content, mode=0o755):
    """Replace the helper by a file with this content, or by nothing if content is None."""
    path = pathlib.Path(support.HELPER)
    kept = path.rename(path.with_name("kept"))
    try:
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
        yield
    finally:
        path.unlink(missing_ok=True)
        kept.rename(path)


def script(*lines):
    """Return a stand-in for the helper, written in Python."""
    return "\n".join(["#!/usr/bin/python3", "import socket", *lines, ""]).encode()


def answering(message):
    """Return a stand-in that answers every request with this message."""
    return script(f"socket.socket(fileno=0).send({message!r})")


def reply(reason, error=0, cause=0, line=0, flags=0, name=b"", **false):
    """Return the bytes of a reply; `false` may replace its magic or version."""
    head = (false.get("magic", _wire.MAGIC), false.get("version", _wire.VERSION), reason)
    return struct.pack(_wire.REPLY_FORMAT, *head, error, cause, line, 0, flags, name)
