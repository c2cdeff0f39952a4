# SPDX-License-Identifier: GPL-3.0-or-later
"""A pybindd that runs for one test, and processes that bind in its control group.

The processes have real credentials and namespaces.
"""

import contextlib
import ctypes
import errno
import functools
import multiprocessing
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile

import cgroups
import prctl
import pytest
import support
from reference import Caller

from pybind import pybindd as client

USER = Caller(support.UID, support.GID)
OTHER = Caller(support.OTHER_UID, support.OTHER_UID)
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Pybindd:
    """One pybindd. cgroup: the group that it serves; process: the Popen; log: its stderr."""

    def __init__(self, cgroup, *prefix, ready=True, **options):
        self.cgroup = cgroup
        self._stderr = pathlib.Path(tempfile.mktemp(dir=support.SCRATCH))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready = False
        path = tempfile.mktemp(dir=support.SCRATCH)
        self._notify.bind(path)
        self._notify.settimeout(support.PATIENCE_S)
        environ = {**os.environ, "NOTIFY_SOCKET": path}
        command = [*prefix, cgroups.PYBINDD, "--cgroup", str(cgroup), "-v"]
        with self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(command, stderr=stderr, env=environ, **options)
        if ready:
            self.wait_ready()

    def wait_ready(self):
        """Wait for READY=1, as systemd would."""
        with contextlib.suppress(TimeoutError):
            while b"READY=1" not in self._notify.recv(4096):
                pass
            return
        raise AssertionError(f"pybindd is not ready: {self.log}")

    def is_ready(self):
        """Tell whether pybindd has sent READY=1 by now."""
        # select(), because with a timeout Python waits before recv(2), even with MSG_DONTWAIT.
        while not self._ready and select.select([self._notify], [], [], 0)[0]:
            self._ready = b"READY=1" in self._notify.recv(4096)
        return self._ready

    @property
    def log(self):
        """Return the stderr of pybindd so far."""
        return self._stderr.read_text()

    def sync(self):
        """Wait until the present permission files are in force; return pybindd's answer."""
        said = client.sync()
        assert said is not None, self.log
        assert said["in_force"], said
        return said

    def stop(self):
        """End pybindd as its service would; return the exit status."""
        self._notify.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            return self.process.wait(support.PATIENCE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def pybindd(*prefix, **options):
    """Run a pybindd that serves a new control group."""
    with cgroups.group() as cgroup:
        daemon = Pybindd(cgroup, *prefix, **options)
        try:
            yield daemon
        finally:
            daemon.stop()


def family_of(address):
    """Return the address family of an address as text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bind_error(address, port, kind="tcp"):
    """Bind as this process; return the errno, 0 for none."""
    with socket.socket(family_of(address), KINDS[kind]) as sock:
        try:
            sock.bind((address, port))
        except OSError as error:
            return error.errno
        assert sock.getsockname()[1] == port
    return 0


def become(caller: Caller) -> None:
    """Become the caller for good; root keeps no capability."""
    os.setgroups(caller.groups)
    os.setresgid(caller.gid, caller.gid, caller.gid)
    os.setresuid(caller.uid, caller.uid, caller.uid)
    if caller.uid == 0:
        prctl.cap_effective.limit()
        prctl.cap_permitted.limit()


def enter_user_namespace(maps="0 0 4294967295") -> None:
    """Enter a new user namespace. maps: uid and gid map, written by a child that stays outside."""
    ours, theirs = os.pipe()
    pid = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.read(ours, 1)
        for name in ("uid_map", "gid_map"):
            pathlib.Path(f"/proc/{pid}/{name}").write_text(maps + "\n")
        os._exit(0)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.close(theirs)
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def enter_network_namespace() -> None:
    """Enter a new network namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _work(cgroup, caller, prepare, connection):
    pathlib.Path(cgroup, "cgroup.procs").write_text("0")
    if prepare:
        prepare()
    if caller:
        become(caller)
    connection.send("ready")
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            function, arguments = connection.recv()
            if function is None:  # end(); a closed pipe is no sign: another child may hold a copy
                return
            try:
                connection.send((True, function(*arguments)))
            except Exception as error:  # noqa: BLE001 # the test shows it
                connection.send((False, repr(error)))


class Worker:
    """A process in a control group. It has a caller's credentials, and calls functions for tests."""

    def __init__(self, cgroup, caller=USER, prepare=None):
        context = multiprocessing.get_context("fork")
        self._connection, end = context.Pipe()
        arguments = (cgroup, caller, prepare, end)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        end.close()
        assert self._connection.recv() == "ready"

    def call(self, function, *arguments):
        """Call a function of a test module in the process; return its result."""
        self.send(function, *arguments)
        return self.receive()

    def send(self, function, *arguments):
        """Call a function in the process, and do not wait for the result."""
        self._connection.send((function, arguments))

    def answered(self):
        """Tell whether receive() would not wait."""
        return self._connection.poll()

    def receive(self):
        """Return the result of the oldest send()."""
        good, result = self._connection.recv()
        assert good, result
        return result

    def bind(self, address="127.0.0.1", port=80, kind="tcp"):
        """Return the errno of a plain bind in the process, 0 for none."""
        return self.call(bind_error, address, port, kind)

    def may(self, *where):
        """Tell whether a bind is granted; fail on any errno but EACCES."""
        error = self.bind(*where)
        assert error in (0, errno.EACCES), errno.errorcode.get(error)
        return error == 0

    def end(self):
        """End the process."""
        with contextlib.suppress(OSError):
            self._connection.send((None, ()))
        self._connection.close()
        self.process.join(support.PATIENCE_S)
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def worker(cgroup, caller=USER, prepare=None):
    """Yield a Worker."""
    made = Worker(cgroup, caller, prepare)
    try:
        yield made
    finally:
        made.end()


def run_pybindd(*words, prefix=(), **options):
    """Run pybindd to its end; return the CompletedProcess."""
    command = [*prefix, cgroups.PYBINDD, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


_ENTER = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"'


def run_in(cgroup, argv, caller=USER, **options):
    """Run a program in a control group as a caller to its end; return what it printed."""
    groups = (
        ["--groups", ",".join(map(str, caller.groups))] if caller.groups else ["--clear-groups"]
    )
    drop = ["setpriv", "--reuid", str(caller.uid), "--regid", str(caller.gid), *groups]
    command = ["sh", "-c", _ENTER, "sh", str(cgroup), *drop, "--inh-caps=-all", "env"]
    options.setdefault("timeout", support.PATIENCE_S)
    done = subprocess.run(
        [*command, *map(str, argv)], capture_output=True, text=True, cwd="/", **options
    )
    assert done.returncode == 0, done
    return done.stdout


@functools.cache
def uring():
    """Return src/uring.c, built."""
    return support.compile_c((pathlib.Path(__file__).with_name("src") / "uring.c").read_text())


def bind_by_uring(daemon, *words, caller=USER):
    """Run src/uring.c in pybindd's control group; return the errno of the bind, or skip."""
    try:
        said = int(run_in(daemon.cgroup, [uring(), *words], caller))
    except AssertionError as error:
        if "io_uring_setup" in str(error):
            pytest.skip("this kernel has no system calls of io_uring for this user")
        raise
    if said == errno.EINVAL:  # no such operation: IORING_OP_BIND came with Linux 6.11
        pytest.skip("this kernel has no system calls of io_uring that bind")
    return said


PYTHON_BIND = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
try:
    socket.socket(family).bind((sys.argv[1], int(sys.argv[2])))
    print(0)
except OSError as error:
    print(error.errno)
"""


def binding(address="127.0.0.1", port=80):
    """Return the command line of a program that binds and prints the errno."""
    return ["/usr/bin/python3", "-c", PYTHON_BIND, address, str(port)]


def take_places(daemon, port=0):
    """Take every place for notes (helpers/kernel/maps.h) with threads of the user.

    Each thread binds port 80 on one shared socket. The kernel grants the port, and notes
    the grant in the thread's place. The bind then fails, because another socket holds the
    port, and the place stays taken. Then the main thread binds the same socket to `port`,
    unless that is 0; returns the errno, or 0.
    """
    header = support.REPOSITORY / "helpers/kernel/maps.h"
    places = int(re.search(r"#define PLACES (\d+)", header.read_text())[1])
    program = support.compile_c(TAKER, "-pthread", f"-DTHREADS={2 * places}", f"-DLAST={port}")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 80))
        failed, error = map(int, run_in(daemon.cgroup, [program]).split())
    assert failed == 2 * places
    return error


TAKER = r"""
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
static int fd, failed;
static int bind_to(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(0x7f000001)}};
    return bind(fd, (void *)&a, sizeof a) ? errno : 0;
}
static void *fail(void *unused)
{
    failed += bind_to(80) != 0;
    return unused;
}
int main(void)
{
    fd = socket(AF_INET, SOCK_STREAM, 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, fail, 0) != 0)
            return 1;
        pthread_join(thread, 0);
    }
    printf("%d %d\n", failed, LAST ? bind_to(LAST) : 0);
}
"""
