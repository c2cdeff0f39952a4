# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hostile cases share: a process of another uid, a helper, a naive target.

An attack is a function that runs in a process of an unprivileged uid, forked from the
tests. The attack may start the installed helper in any way that the uid itself could.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import traceback
from typing import NamedTuple, Optional

import pytest
import support
from support import GID, HELPER, UID
from wire import decode, encode

from pybind import _wire as w

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
LIBC = ctypes.CDLL(None, use_errno=True)
SPARE_FD = 500  # above every number that a case chooses
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 4, 38, 24
CAP_NET_BIND_SERVICE = 10
ADDR = "127.0.0.1"


def check_c(result):
    """Return the result of a C call; raise OSError if the result is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option, *args):
    """Call prctl(2)."""
    words = [ctypes.c_ulong(word) for word in (*args, 0, 0, 0, 0)[:4]]
    return check_c(LIBC.prctl(option, *words))


def syscall(number, *args):
    """Call syscall(2) with integers."""
    LIBC.syscall.restype = ctypes.c_long
    return check_c(LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(word) for word in args)))


def become(uid):
    """Become uid for good, without any right of root's."""
    gid = GID if uid == UID else uid
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    prctl(PR_SET_DUMPABLE, 1)  # as after an exec of a readable program


def _report(writing, function, args, drop):
    try:
        drop()
        result = ("returned", function(*args))
    except pytest.skip.Exception as skip:
        result = ("skipped", str(skip))
    except BaseException:  # noqa: BLE001 - it is shown by the process that waits
        result = ("raised", traceback.format_exc())
    os.write(writing, pickle.dumps(result))


def as_uid(uid, function, *args, drop=None):
    """Run function(*args) in a process of uid, and return its (small) result.

    drop: a function that gives up root's rights; become(uid) if it is not given.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            _report(writing, function, args, drop or (lambda: become(uid)))
        finally:
            os._exit(0)
    os.close(writing)
    ready = []
    try:
        ready, _, _ = select.select([reading], [], [], 2 * support.PATIENCE_S)
        data = os.read(reading, 1 << 16) if ready else b""
    finally:
        os.close(reading)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    assert data, f"the attacker gave no result: status {status:#x}"
    kind, value = pickle.loads(data)
    if kind == "skipped":
        pytest.skip(value)
    if kind == "raised":
        raise AssertionError(value)
    return value


class Outcome(NamedTuple):
    """The result of one request. port: the socket's port afterwards, 0 if it is unbound."""

    reason: Optional[int]  # None: the helper ended without a reply
    error: Optional[int]
    port: Optional[int]  # None: no socket was given
    status: int  # negative: the signal that ended the helper

    @property
    def denied(self):
        """Tell whether the request was refused with EACCES or got no reply, and bound nothing."""
        return not self.port and self.error in (errno.EACCES, None)


def granted(port=80):
    """Return the Outcome of a granted request."""
    return Outcome(w.REASON_GRANTED, 0, port, 0)


def refused(reason, error=errno.EACCES):
    """Return the Outcome of a refusal."""
    return Outcome(reason, error, 0, 0)


def port_of(sock):
    """Return the port of the socket's address, 0 if there is none."""
    try:
        name = sock.getsockname()
    except OSError:
        return 0
    return name[1] if isinstance(name, tuple) and len(name) > 1 and sock.family in (V4, V6) else 0


class Helper:
    """One helper process, started but not yet asked.

    sock: the socket, or descriptor number, that becomes descriptor 3.
    fds: more descriptors of the helper, {number: ours}. closed: numbers that it shall lack.
    prepare: called in the new process just before execve(2). run: makes that execve(2).
    """

    def __init__(self, sock=None, fds=(), closed=(), prepare=None, run=None, **exec_options):
        self.sock = sock
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        places = {0: theirs.fileno(), **({} if sock is None else {3: sock}), **dict(fds)}
        places = {at: fd if isinstance(fd, int) else fd.fileno() for at, fd in places.items()}
        absent = {*closed, *({3} - set(places))}
        high = {at: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SPARE_FD) for at, fd in places.items()}
        try:
            if prepare or run:
                self.pid = self._fork(high, absent, prepare, run, exec_options)
            else:
                self.pid = self._spawn(high, absent, **exec_options)
        finally:
            for fd in (theirs.detach(), *high.values()):
                os.close(fd)

    @staticmethod
    def _spawn(high, absent, path=HELPER, argv=("pybind-helper",), env=None):
        """Start the helper by posix_spawn(3), which takes a tenth of the time of fork(2)."""
        actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in high.items()]
        actions += [(os.POSIX_SPAWN_CLOSE, at) for at in sorted(absent)]
        return os.posix_spawn(path, list(argv), env or {}, file_actions=actions)

    def _fork(self, high, absent, prepare, run, exec_options):
        seen, started = os.pipe()
        pid = os.fork()
        if pid == 0:
            started = fcntl.fcntl(started, fcntl.F_DUPFD_CLOEXEC, SPARE_FD)
            try:
                for at, fd in high.items():
                    os.dup2(fd, at)
                for at in absent:
                    with contextlib.suppress(OSError):
                        os.close(at)
                if prepare:
                    prepare()
                (run or self._exec)(**exec_options)
            except OSError as error:
                os.write(started, pickle.dumps(error))
            finally:
                os._exit(127)
        os.close(started)
        with open(seen, "rb") as file:
            problem = file.read()
        if problem:
            os.waitpid(pid, 0)
            raise pickle.loads(problem)
        return pid

    @staticmethod
    def _exec(path=HELPER, argv=("pybind-helper",), env=None):
        os.execve(path, list(argv), env or {})

    def send(self, request, ancillary=()):
        """Send one request: a dict for wire.encode, or bytes."""
        data = request if isinstance(request, bytes) else encode(request)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.ours.sendmsg([data], ancillary)

    def status(self):
        """Return /proc/PID/status as a dict."""
        with open(f"/proc/{self.pid}/status") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)

    def wait_ready(self):
        """Wait until the helper has dropped its rights and waits for its request."""
        support.wait_for(
            lambda: self.status()["NoNewPrivs"] == "1" and self.status()["State"][0] == "S",
            "the helper to be ready",
        )
        return self

    def wait(self):
        """Wait for the helper's end; return its status, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def outcome(self):
        """Wait for the reply and the end; return the Outcome."""
        self.ours.settimeout(support.PATIENCE_S)
        try:
            data = self.ours.recv(1 << 20)
        except ConnectionResetError:  # the helper left a message unread; its reply may still come
            data = self.ours.recv(1 << 20)
        status = self.wait()
        self.ours.close()
        answer = decode(data) if data else {"reason": None, "error": None}
        port = None
        if isinstance(self.sock, socket.socket):
            port = port_of(self.sock)
        return Outcome(answer["reason"], answer["error"], port, status)


def bind_request(port=80, addr=ADDR, **more):
    """Return a request to bind."""
    family = more.pop("family", V6 if ":" in addr else V4)
    return {"op": w.OP_BIND, "family": family, "addr": addr, "port": port, **more}


def ask(sock=None, request=None, ancillary=(), **how):
    """Start a helper, send one request (by default a bind of port 80), return the Outcome."""
    if sock is None:
        sock = socket.socket()
    helper = Helper(sock, **how)
    helper.send(bind_request() if request is None else request, ancillary)
    return helper.outcome()


def bind_works():
    """Run by a uid: check that a normal request is granted and another port refused."""
    with socket.socket() as sock, socket.socket() as other:
        assert ask(sock) == granted()
        assert ask(other, bind_request(81)) == refused(w.REASON_NO_RULE)


NAIVE = r"""
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) /* binds descriptor 3 to the bytes on stdin, and asks nobody */
{
    char addr[128];
    ssize_t len = read(0, addr, sizeof addr);
    return bind(3, (struct sockaddr *)addr, (socklen_t)len) == 0 ? 0 : errno;
}
"""


def compile_naive():
    """Return the naive target, a helper without pybind's checks."""
    return with_capability(support.compile_c(NAIVE, name="naive"), "ep")


def with_capability(binary, sets="p"):
    """Give a binary CAP_NET_BIND_SERVICE in these sets."""
    subprocess.run(["setcap", f"cap_net_bind_service={sets}", binary], check=True)
    return binary


def naive_bind(naive, sock, address):
    """Run by a uid: return the errno of the naive target's bind of sock to address bytes."""
    helper = Helper(sock, path=naive)
    helper.ours.send(address)
    status = helper.wait()
    helper.ours.close()
    return status


class _Whole:
    """A lock for settings that all sandboxes share, held by one test process at a time."""

    def __init__(self):
        self._file, self._depth = None, 0

    def __enter__(self):
        if self._depth == 0:
            # All mount namespaces of a machine show the same folder here.
            self._file = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(self, *_):
        self._depth -= 1
        if self._depth == 0:
            os.close(self._file)


_whole = _Whole()


@contextlib.contextmanager
def sysctl(path, value):
    """Set /proc/sys/PATH for a while. A setting without a namespace is locked meanwhile."""
    with contextlib.nullcontext() if path.startswith("net/") else _whole:
        yield from _sysctl(path, value)


def _sysctl(path, value):
    file = f"/proc/sys/{path}"
    with open(file) as now:
        before = now.read()

    def put(text):
        with open(file, "w") as setting:
            setting.write(text)

    put(str(value))
    try:
        yield
    finally:
        put(before)


def python(*words):
    """Return the argv of a Python program that only waits: an ordinary target."""
    return [sys.executable, "-S", "-c", "import signal; signal.pause()", *words]
