# SPDX-License-Identifier: GPL-3.0-or-later
"""With -v every refused bind gets a line, in both modes, and its repair works."""

import errno
import os
import platform
import socket
import struct
import subprocess

import printed
import pytest
import support
from support import PYBIND, UID

from pybind import _wire

# prepare: code that the program runs before it binds port 80 (or the port of its argv).
PROGRAM = """
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
kind, port, prepare = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sock = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
exec(prepare)
try:
    sock.bind(("127.80.3.1", port))
    print("bound")
except OSError as error:
    print(error.errno)
"""
NO_NEW_PRIVS = "assert libc.prctl(38, 1, 0, 0, 0) == 0"
BY_SYSTEM_CALL = "assert libc.syscall({prctl}, 38, 1, 0, 0, 0) == 0"
IN_A_THREAD = """
import threading
thread = threading.Thread(target=lambda: libc.prctl(38, 1, 0, 0, 0))
thread.start()
thread.join()
"""
CHROOT = """
os.mkdir("/tmp/told") if not os.path.isdir("/tmp/told") else None
assert libc.unshare(0x10000000) == 0, ctypes.get_errno()
os.chroot("/tmp/told")
"""
USER_NAMESPACE = "assert libc.unshare(0x10000000) == 0, ctypes.get_errno()"
CALLS = {
    "x86_64": {"prctl": 157, "clone": 56, "execve": 59, "bind": 49},
    "aarch64": {"prctl": 167, "clone": 220, "execve": 221, "bind": 200},
    "riscv64": {"prctl": 167, "clone": 220, "execve": 221, "bind": 200},
}[platform.machine()]
KILL, EPERM, ENOSYS = 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


def seccomp(call, action, first="", flags=0):
    """Return code that installs a seccomp filter with an action for one call.

    flags: only calls of clone(2) with all these flags get the action.
    """
    number = CALLS[call]
    rows = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, action), (0x06, 0, 0, 0x7FFF0000)]
    text = b"".join(struct.pack("=HBBI", *row) for row in rows)
    return f"""
{first or NO_NEW_PRIVS}
rows = ctypes.create_string_buffer({text!r})
filter = struct.pack("@HP", {len(rows)}, ctypes.addressof(rows))
seccomp = {{"x86_64": 317}}.get(os.uname().machine, 277)
assert libc.syscall(seccomp, 1, 0, filter) == 0, ctypes.get_errno()
"""


def bind(*options, kind="tcp", port=80, prepare="", mode="preload"):
    """Run the program under pybind -v; return (its output, the lines of pybind)."""
    program = ["/usr/bin/python3", "-c", PROGRAM, kind, port, prepare]
    done = support.run([PYBIND, "--mode", mode, "-v", *options, "--", *program])
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if ": bind of port" in line]
    return done.stdout.strip(), lines


def line(word, kind="tcp", port=80, more=""):
    """Return the expected line, with a text of protocol.h."""
    return [f"pybind: bind of port {port}/{kind} (IPv4): {_wire.WORD_TEXTS[word]}{more}"]


MODES = pytest.mark.parametrize("mode", ["preload", "supervise"])
REFUSED = str(int(errno.EACCES))
UNLISTED = {
    "port": (("--port", "80"), "tcp", 81, _wire.WORD_PORT, "WORD_PORT: --port ..."),
    "protocol": (
        ("--port", "80/tcp"),
        "udp",
        80,
        _wire.WORD_PROTOCOL,
        "WORD_PROTOCOL: --port ...",
    ),
    "address": (
        ("--port", "127.80.3.9:80"),
        "tcp",
        80,
        _wire.WORD_ADDRESS,
        "WORD_ADDRESS: --port ...",
    ),
}


@MODES
@pytest.mark.parametrize("what", UNLISTED)
def test_unlisted(mode, what):
    """For a granted port that --port does not list, the line names the option to add."""
    support.rules(f"byuser/{UID}", "any,80-81")
    options, kind, port, word, name = UNLISTED[what]
    told = bind(*options, kind=kind, port=port, mode=mode)
    assert told == (REFUSED, line(word, kind, port, f"{port}/{kind}"))
    repair = printed.said(told[1][0], name).split()
    assert repair == ["--port", f"{port}/{kind}"]
    assert bind(*options, *repair, kind=kind, port=port, mode=mode)[0] == "bound"


@MODES
def test_no_grant(mode):
    """Without a grant the line names the command that grants; after it the port is served."""
    told = bind(mode=mode)
    assert told == (REFUSED, line(_wire.WORD_NO_GRANT, more=f"{UID} 80/tcp"))
    printed.typed(told[1][0], "WORD_NO_GRANT: sudo pybindctl grant ...")
    assert bind(mode=mode)[0] == "bound"


@MODES
def test_busy(mode, grant80):
    """For a busy port the line names a command that shows the holder."""
    with socket.socket() as holder:
        holder.bind(("127.80.3.1", 80))
        holder.listen()
        told = bind(mode=mode)
        assert told == (str(int(errno.EADDRINUSE)), line(_wire.WORD_BUSY, more="80"))
        shown = printed.typed(told[1][0], "WORD_BUSY: sudo ss -Hltunp sport = :...")
        assert f"pid={os.getpid()}," in shown


OF_THE_PROGRAM = {
    "no_new_privs": (NO_NEW_PRIVS, _wire.WORD_NO_NEW_PRIVS),
    "no_new_privs, by the system call": (
        BY_SYSTEM_CALL.format(**CALLS), _wire.WORD_NO_NEW_PRIVS,
    ),
    "filter that fails clone": (seccomp("clone", EPERM), _wire.WORD_NO_NEW_PRIVS),
    "filter that kills for clone": (seccomp("clone", KILL), _wire.WORD_NO_NEW_PRIVS),
    "filter that kills for prctl": (seccomp("prctl", KILL), _wire.WORD_NO_NEW_PRIVS),
    "filter that kills for execve": (seccomp("execve", KILL), _wire.WORD_NO_NEW_PRIVS),
    "user namespace": (USER_NAMESPACE, _wire.WORD_USER_NAMESPACE),
    "root directory": (CHROOT, _wire.WORD_NO_HELPER),
}  # fmt: skip
NAMES = {
    _wire.WORD_NO_NEW_PRIVS: "WORD_NO_NEW_PRIVS: pybind --mode supervise",
    _wire.WORD_USER_NAMESPACE: "WORD_USER_NAMESPACE: pybind --mode supervise",
    _wire.WORD_NO_HELPER: "WORD_NO_HELPER: pybind --mode supervise",
}


@pytest.mark.hostile(65)
@pytest.mark.parametrize("what", OF_THE_PROGRAM)
def test_what_the_program_did_to_itself(what, grant80):
    """The line names the reason and ends with --mode supervise, which serves the program."""
    prepare, word = OF_THE_PROGRAM[what]
    told = bind(prepare=prepare)
    assert told == (REFUSED, line(word))
    assert printed.said(told[1][0], NAMES[word]) == "pybind --mode supervise"
    assert bind(prepare=prepare, mode="supervise")[0] == "bound"


def test_other_threads_are_served(grant80):
    """no_new_privs of one thread does not stop the binds of other threads."""
    assert bind(prepare=IN_A_THREAD)[0] == "bound"


STDERR = {
    "full pipe": """
reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while os.write(writing, bytes(65536)):
        pass
except BlockingIOError:
    os.set_blocking(writing, True)
keep = reading
""",
    "pipe without a reader": """
reading, writing = os.pipe()
os.close(reading)
""",
}


@pytest.mark.hostile(66)
@pytest.mark.parametrize("what", STDERR)
@pytest.mark.parametrize("granted", [True, False], ids=["granted", "not"])
def test_nobody_reads(what, granted):
    """A line that would block or raise SIGPIPE is dropped, but the bind works."""
    if granted:
        support.flag("byport/80")
    # Programs that start with an unusual descriptor 2.
    again = ["/usr/bin/python3", "-c", PROGRAM, "tcp", "80", "pass"]
    start = f"import os\nkeep = None\n{STDERR[what]}\nos.dup2(writing, 2)\n"
    start += "if keep: os.set_inheritable(keep, True)\n"
    start += f"os.execv({again[0]!r}, {again!r})"
    environment = ["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", "PYBIND_VERBOSE=1"]
    done = support.run([*environment, "/usr/bin/python3", "-c", start])
    assert (done.returncode, done.stdout) == (0, "bound\n" if granted else f"{REFUSED}\n")


@pytest.mark.parametrize(
    "prepare", ["os.dup2(file, 2)", "os.close(2); os.dup(file)", "os.close(2)"]
)
@pytest.mark.parametrize("more", ["", NO_NEW_PRIVS])
def test_a_file_at_descriptor_two(grant80, prepare, more):
    """A file that the program opens as descriptor 2 gets no line of pybind."""
    path = support.scratch_dir() / "data"
    opens = f"file = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT)"
    printed, told = bind(prepare=f"{opens}\n{prepare}\n{more}")
    assert (printed, told) == (REFUSED if more else "bound", [])
    assert path.read_bytes() == b""


def test_no_descriptor_two(grant80):
    """A program that starts without descriptor 2 and opens a file there gets no line."""
    path = support.scratch_dir() / "data"
    opens = f"file = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT)"
    opens += "; import fcntl; sock = socket.socket(fileno=fcntl.fcntl(sock, fcntl.F_DUPFD, 10))"
    opens += "; os.dup2(file, 2)"
    program = ["/usr/bin/python3", "-c", PROGRAM, "tcp", "80", opens]
    environment = ["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", "PYBIND_VERBOSE=1"]
    done = support.run(["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *environment, *program])
    assert (done.returncode, done.stdout, path.read_bytes()) == (0, "bound\n", b"")


NO_PROCESS = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))"


def test_no_process_and_a_file(grant80):
    """Nothing breaks if no process can be made and descriptor 2 is a file."""
    path = support.scratch_dir() / "data"
    opens = f"os.dup2(os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT), 2)"
    assert bind(prepare=f"{opens}\n{NO_PROCESS}") == (REFUSED, [])
    assert path.read_bytes() == b""


def test_silent_about_no_new_privs(grant80):
    """Without -v no line about no_new_privs appears."""
    program = ["/usr/bin/python3", "-c", PROGRAM, "tcp", "80", NO_NEW_PRIVS]
    done = support.run([PYBIND, "--mode", "preload", "--", *program])
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, REFUSED, "")


def test_no_new_privs_that_failed(grant80):
    """A prctl(2) that fails changes nothing, and the program gets its error."""
    fails = "assert (libc.prctl(38, 2, 0, 0, 0), ctypes.get_errno()) == (-1, 22)"
    assert bind(prepare=fails)[0] == "bound"


def test_child_has_no_new_privs_too(grant80):
    """A child inherits no_new_privs, and its bind gets the same line."""
    forks = f"{NO_NEW_PRIVS}\nif os.fork(): os._exit(os.waitstatus_to_exitcode(os.wait()[1]))"
    assert bind(prepare=forks) == (REFUSED, line(_wire.WORD_NO_NEW_PRIVS))


def test_child_by_vfork_keeps_it_to_itself(grant80):
    """If a vfork child sets no_new_privs, its parent is still served."""
    source = r"""
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <arpa/inet.h>
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
    pid_t child = vfork();
    if (child == 0)
        _exit(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    int status, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (waitpid(child, &status, 0) != child || status != 0)
        return 1;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
        return perror("bind"), 1;
    return puts("bound") < 0;
}
"""
    done = support.run([PYBIND, "--mode", "preload", "--", support.compile_c(source)])
    assert (done.returncode, done.stdout) == (0, "bound\n"), done.stderr


def test_no_process_left_to_tell_with(grant80):
    """If no process can be made, the program's own thread writes the line."""
    printed, told = bind(prepare=NO_PROCESS)
    again = os.strerror(errno.EAGAIN)
    assert printed == REFUSED
    assert told == [
        f"pybind: bind of port 80/tcp (IPv4): cannot start a process, errno 11 ({again})"
    ]


FILTERS_OF_OTHERS = {
    "clone": (seccomp("clone", EPERM, "pass"), _wire.WORD_SECCOMP),
    "clone, as if there were none": (seccomp("clone", ENOSYS, "pass"), _wire.WORD_SECCOMP),
    "execve": (seccomp("execve", KILL, "pass"), _wire.WORD_SECCOMP),
    "prctl": (seccomp("prctl", KILL, "pass"), _wire.WORD_SECCOMP),
}


@pytest.mark.parametrize("call", FILTERS_OF_OTHERS)
def test_filter_without_no_new_privs(call, grant80):
    """The line names a filter, installed by root, that forbids to start the helper."""
    install, word = FILTERS_OF_OTHERS[call]
    drop = f"os.setgroups([]); os.setresgid({UID}, {UID}, {UID}); os.setresuid({UID}, {UID}, {UID})"
    program = ["/usr/bin/python3", "-c", PROGRAM, "tcp", "80", f"{install}\n{drop}"]
    environment = [f"LD_PRELOAD={support.LIBRARY}", "PYBIND_VERBOSE=1"]
    done = subprocess.run(
        ["/usr/bin/env", *environment, *program],
        capture_output=True, text=True, cwd="/", timeout=support.PATIENCE_S,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr.splitlines()) == (REFUSED, line(word))
