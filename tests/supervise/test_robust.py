# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that must not stop a tree: an unread stderr, a dying helper, odd addresses, no /dev."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess

import pytest
import supervising
import support
from supervising import started, under_pybind

from pybind.model import Address
from pybind.supervise import reported

PYTHON = "/usr/bin/python3"
EVERY_UID = 12399  # the user of the test that signals all processes of a user
SIGNALS = """
import os, signal, sys
count = 0
def caught(*_):
    global count
    count += 1
signal.signal(signal.SIGUSR1, caught)
for target in (-1, 0):
    count = 0
    os.kill(target, signal.SIGUSR1)
    print(count, flush=True)
    sys.stdin.readline()
    print(count, flush=True)
"""
UNIX = """
import ctypes, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
print(0, flush=True)
sys.stdin.readline()
with socket.socket(socket.AF_UNIX) as sock:
    address = b"\\2\\0" + (80).to_bytes(2, "big") + bytes([127, 90, 0, 1]) + bytes(8)
    print(libc.bind(sock.fileno(), address, 16) and ctypes.get_errno(), flush=True)
with socket.socket() as sock:
    print(sock.connect_ex(("127.90.0.9", 9)), flush=True)
"""
# Binds addresses of each length that end at the end of a page; prints the errnos.
EDGES = """
import ctypes
import mmap
import socket
import struct

PAGE = mmap.PAGESIZE
PROT, FLAGS = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.bind.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]

area = libc.mmap(None, 2 * PAGE, PROT, FLAGS, -1, 0)
libc.munmap(area + PAGE, PAGE)
IN = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", 80, bytes([127, 90, 0, 1]))
IN6 = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16s", 80, 0, bytes(15) + bytes([1]))
for family, address in ((socket.AF_INET, IN), (socket.AF_INET6, IN6 + bytes(4)), (10, IN6)):
    for length in (0, 2, 15, 16, 24, 27, 28, 29, 64, 128, 129, 2**31, 2**32 - 1):
        for at in (area + PAGE - len(address), area + PAGE - 2, area + PAGE, 0):
            ctypes.memmove(at, address, min(len(address), area + PAGE - at)) if at else None
            with socket.socket(family) as sock:
                done = libc.bind(sock.fileno(), at, length)
                print(family, length, at - area if at else 0, done and ctypes.get_errno())
"""
UNDUMPABLE = """
import ctypes, errno, socket
print(ctypes.CDLL(None).prctl(4, 0, 0, 0, 0))
try:
    socket.socket().bind(("127.90.0.1", 80))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.mark.hostile(68)
def test_unread_stderr(grant80, agent):
    """With -v and a full pipe that nobody reads, binds get answers and signals arrive."""
    read, write = os.pipe()
    argv = under_pybind(agent, options=["-v"])
    process = support.as_user(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=write)
    with contextlib.closing(process.stdin), contextlib.closing(process.stdout):
        try:
            talk = supervising.Agent(
                os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
            )
            assert talk.ask("bind tcp 127.90.0.1 80") == 0
            # Opens the pipe anew, because O_NONBLOCK must not change the program's end.
            full = os.open(f"/proc/self/fd/{write}", os.O_WRONLY | os.O_NONBLOCK)
            with contextlib.suppress(BlockingIOError):
                while os.write(full, b"x" * 4096):
                    pass
            with contextlib.suppress(BlockingIOError):
                while os.write(full, b"x"):
                    pass
            for _ in range(2000):  # more lines than pybind keeps
                assert talk.ask("bind tcp 127.90.0.1 80") == 0
            assert talk.ask("bind tcp 127.90.0.1 81") == 13
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(support.PATIENCE_S) == -signal.SIGTERM
            talk.close()
        finally:
            process.kill()
            process.wait()
            for fd in (read, write, full):
                os.close(fd)


def test_dropped_lines_are_counted(grant80, agent):
    """A late reader is told how many lines were dropped."""
    read, write = os.pipe()
    argv = under_pybind(agent, options=["-v"])
    process = support.as_user(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=write)
    os.close(write)
    try:
        talk = supervising.Agent(os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno()))
        for _ in range(3000):
            assert talk.ask("bind tcp 127.90.0.1 80") == 0
        with open(read, "rb", closefd=True) as file:
            lines = iter(file.readline, b"")
            for line in lines:
                if talk.ask("bind tcp 127.90.0.1 80") == 0 and b"lines were dropped" in line:
                    break
            else:
                raise AssertionError("nothing was said of dropped lines")
            talk.close()
            process.stdin.close()
            file.read()
        assert process.wait(support.PATIENCE_S) == 0
    finally:
        process.stdout.close()
        process.kill()
        process.wait()


@pytest.mark.hostile(68)
def test_helper_dies_under_an_unix_socket(grant80):
    """If the helper dies for an AF_UNIX socket with an IPv4 address, only the call fails."""
    argv = under_pybind(PYTHON, "-c", UNIX, mode="supervise")
    with started(argv) as (process, talk):
        assert talk.hear() == 0
        aside = pathlib.Path(support.HELPER).rename(support.HELPER + ".aside")
        try:
            subprocess.run(["cp", "/bin/false", support.HELPER], check=True)
            assert talk.ask("go") == 22  # EINVAL, as without pybind
            assert talk.hear() == 111  # the agent goes on
        finally:
            aside.rename(support.HELPER)
        process.wait(support.PATIENCE_S)
        assert process.returncode == 0


def test_is_bound_of_every_family():
    """is_bound() takes sockets of families without ports or with an interface in the name."""
    address = Address(socket.AF_INET, socket.inet_aton("127.90.0.1"), 0, 8080, udp=False)
    with socket.socket(socket.AF_UNIX) as sock:
        assert not reported.is_bound(sock.fileno(), address)
        sock.bind("\0pybind-test")
        assert not reported.is_bound(sock.fileno(), address)
    with socket.socket() as sock:
        assert not reported.is_bound(sock.fileno(), address)
        sock.bind(("127.90.0.1", 8080))
        assert reported.is_bound(sock.fileno(), address)
    subprocess.run(["ip", "address", "add", "fe80::90/64", "dev", "lo", "nodad"], check=True)
    try:
        index = socket.if_nametoindex("lo")
        local = Address(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "fe80::90"), index,
                        8080, udp=False)  # fmt: skip
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("fe80::90", 8080, 0, index))
            assert reported.is_bound(sock.fileno(), local)
    finally:
        subprocess.run(["ip", "address", "del", "fe80::90/64", "dev", "lo"], check=True)


@pytest.mark.hostile(68)
def test_address_at_the_end_of_a_page(grant80):
    """An address of any length at the end of a page gets the kernel's errno."""
    # Root may bind any port, so root's errnos are those of the kernel.
    plain = subprocess.run([PYTHON, "-c", EDGES], capture_output=True, text=True, check=True)
    served = support.run(under_pybind(PYTHON, "-c", EDGES, mode="supervise"))
    assert served.returncode == 0, served.stderr
    assert served.stdout == plain.stdout
    assert len(set(plain.stdout.split()[3::4])) >= 3  # 0, EFAULT, EINVAL


def test_what_a_program_sends_to_all_does_not_come_back(grant80):
    """kill(-1) does not reach its sender, and kill(0) reaches it once, as without pybind."""
    argv = under_pybind(PYTHON, "-c", SIGNALS, mode="supervise", ports=())
    said = {}
    for name, program in (("plain", [PYTHON, "-c", SIGNALS]), ("supervised", argv)):
        with started(program, uid=EVERY_UID, start_new_session=True) as (_, talk):
            said[name] = [talk.hear(), talk.ask(""), talk.hear(), talk.ask("")]
    assert said["plain"] == [0, 0, 1, 1]
    assert said["supervised"] == said["plain"]


def test_undumpable_program_is_told(grant80):
    """With -v a refused bind of an undumpable program gets a line."""
    done = support.run(under_pybind(PYTHON, "-c", UNDUMPABLE, mode="supervise", options=["-v"]))
    assert done.stdout.split() == ["0", "EACCES"]
    assert "is left to the kernel: the supervisor cannot read its memory, errno 1" in done.stderr


@pytest.mark.hostile(64)
def test_without_dev_null(grant80):
    """With an empty /dev the program is started once, and served."""
    folder = support.scratch_dir()
    code = f"open('{folder}/mark', 'a').write('ran '); import socket; s = socket.socket(); s.bind(('', 80))"
    argv = [*under_pybind(PYTHON, "-c", code, mode="supervise")]
    script = 'mount -t tmpfs -o mode=0755 none /dev && exec setpriv --reuid 65534 --regid 65534 ' \
             '--clear-groups --inh-caps=-all env "$@"'  # fmt: skip
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *argv], cwd="/",
                          stdin=subprocess.PIPE, capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "mark").read_text() == "ran "


def test_nothing_is_started_that_cannot_be_supervised(grant80, marked):
    """If the supervisor cannot start, the program is not started, and the message says why."""
    path, was_started = marked
    limited = ["/usr/bin/prlimit", "--nproc=1:1", "--"]
    done = support.run([*limited, *under_pybind(path, mode="supervise", options=["-v"])])
    assert done.returncode == 125
    assert done.stderr.strip()
    assert not was_started()
