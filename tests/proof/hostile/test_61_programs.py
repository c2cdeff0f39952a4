# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that bind in odd ways: around the library, in a sandbox, while they fork or execute.

The helper before its main(), and the start scripts, are here too (cases 64 and 67).
"""

import contextlib
import errno
import os
import pathlib
import pwd
import re
import signal
import subprocess

import attacked
import launching
import pytest
import support
from test_told import EPERM, KILL, seccomp
from test_world import IO_URING, result_of_io_uring

OTHER = {support.UID: support.OTHER_UID, support.OTHER_UID: support.UID}

# 61: binds that the library does not see.

AROUND = """
import platform
number = {"x86_64": 49, "aarch64": 200, "riscv64": 200}[platform.machine()]
sock = socket.socket()
print(libc.syscall(number, sock.fileno(), sin(80), 16), ctypes.get_errno(), name(sock))
sock = socket.socket()
print(libc.bindresvport(sock.fileno(), None), ctypes.get_errno(), name(sock))
port = ctypes.c_int(1023)
print(libc.rresvport(ctypes.byref(port)), ctypes.get_errno(), 0)
"""


def test_case_61_ways_around_the_library(uid, grant):
    """A raw system call, bindresvport and rresvport get the kernel's EACCES, and do not hang."""
    support.rules(f"byuser/!{uid}", "any,512-1023")
    done = attacked.under_library(uid, AROUND)
    assert done.stdout == f"-1 {errno.EACCES} 0\n" * 3, done.stderr


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_case_61_io_uring(uid, grant, mode):
    """Neither mode sees a bind through io_uring, so the program gets EACCES."""
    done = support.run([support.PYBIND, "--mode", mode, "--", support.compile_c(IO_URING)], uid=uid)
    assert result_of_io_uring(done) == -errno.EACCES


STATIC = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
int main(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(80)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int result = bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&addr, sizeof addr);
    return printf("%d\n", result == 0 ? 0 : errno) < 0;
}
"""


def test_case_61_static_program(uid, grant):
    """A static program with only the library gets EACCES; pybind would supervise it."""
    program = support.compile_c(STATIC, "-static")
    plain = support.run(["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", program], uid=uid)
    assert plain.stdout == f"{errno.EACCES}\n"
    assert support.run([support.PYBIND, "--port", "80", "--", program], uid=uid).stdout == "0\n"


# 62: programs that sandbox themselves.


@pytest.fixture(scope="module")
def landlocked():
    """Return the program that forbids itself to bind."""
    program = launching.build(
        pathlib.Path(__file__).with_name("src") / "landlocked.c", "-I", launching.SRC
    )
    if subprocess.run([program], capture_output=True, text=True).stdout == "none\n":
        pytest.skip("this kernel has no system calls of Landlock for binds (before Linux 6.7)")
    return program


def run_landlocked(uid, mode, landlocked):
    return support.run([support.PYBIND, "--mode", mode, "--", landlocked], uid=uid).stdout


def test_case_62_landlock(uid, grant, landlocked):
    """A program that has forbidden itself binds by Landlock cannot bind with the library."""
    assert run_landlocked(uid, "preload", landlocked) == f"{errno.EACCES} 0\n" * 2


def test_case_62_landlock_of_a_supervised_program(uid, grant, landlocked):
    """The same holds for a supervised program."""
    assert run_landlocked(uid, "supervise", landlocked) == f"{errno.EACCES} 0\n" * 2


BESIDE = """
import os, subprocess, sys
program = sys.argv.pop()
def bind():
    sock = socket.socket()
    print(call(sock, sin(80)), name(sock), flush=True)
bind()
subprocess.run([program], check=True)
bind()
if os.fork() == 0:
    bind()
    os._exit(0)
os.wait()
"""


def test_case_62_landlock_of_another_process(uid, grant, landlocked):
    """A process older than the domain is still served; a later one may be inside the domain."""
    python = ["/usr/bin/python3", "-c", attacked.TARGET + BESIDE, landlocked]
    done = support.run([support.PYBIND, "-v", "--mode", "supervise", "--", *python], uid=uid)
    refused = f"{errno.EACCES} 0\n"
    assert done.stdout == "0 80\n" + refused * 2 + "0 80\n" + refused, done.stderr
    assert "restricted itself by Landlock" in done.stderr


SECCOMP = """
import errno, seccomp
own = seccomp.SyscallFilter(seccomp.ALLOW)
own.add_rule(seccomp.ERRNO(errno.EOPNOTSUPP), "bind")
own.load()
sock = socket.socket()
print(call(sock, sin(80)), name(sock), call(sock, sin(8080)), name(sock))
"""


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_case_62_own_seccomp_filter(uid, grant, mode):
    """A program that has forbidden itself binds by seccomp cannot bind, in both modes."""
    words = ["/usr/bin/python3", "-c", attacked.TARGET + SECCOMP]
    done = support.run([support.PYBIND, "--mode", mode, "--", *words], uid=uid)
    assert done.stdout == f"{errno.EOPNOTSUPP} 0 {errno.EOPNOTSUPP} 0\n", done.stderr


KILLER = """
import prctl, seccomp
prctl.set_no_new_privs(1)
own = seccomp.SyscallFilter(seccomp.ALLOW)
for word in ("clone", "clone3", "fork", "vfork", "execve", "socketpair"):
    own.add_rule(seccomp.KILL_PROCESS, word)
own.load()
sock = socket.socket()
print(call(sock, sin(80)), name(sock))
"""


def test_case_62_filter_that_kills(uid, grant):
    """Under a filter that kills for a new process or an exec, bind() only returns EACCES."""
    done = attacked.under_library(uid, KILLER)
    assert (done.returncode, done.stdout) == (0, f"{errno.EACCES} 0\n"), done.stderr


# 63: a child of a program that binds.


@pytest.fixture
def hogged(uid):
    """Return a processor that another user keeps busy."""
    processor = min(os.sched_getaffinity(0))
    hog = ["/usr/bin/taskset", "-c", processor, "/bin/sh", "-c", "while :; do :; done"]
    process = support.as_user(hog, uid=OTHER[uid], gid=OTHER[uid])
    yield processor
    process.kill()
    process.wait()


def test_case_63_forked_child(uid, grant, hogged, while_binding):
    """300 children of a program with a binding thread get EADDRINUSE at once."""
    command = ["/usr/bin/taskset", "-c", hogged, while_binding, "forked", 300]
    done = support.run(
        ["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", *command],
        uid=uid, gid=uid, timeout=4 * support.PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    print("longest bind, in microseconds:", done.stdout)


# 64: the helper's code before its main().

EMPTY_DEV = """
mount -t tmpfs none /dev
uid=$1
shift
exec setpriv --reuid $uid --regid $uid --clear-groups --inh-caps=-all /usr/bin/env -- "$@"
"""


def in_empty_dev(uid, argv, **options):
    """Start argv as uid with an empty /dev."""
    command = ["unshare", "--mount", "/bin/sh", "-ec", EMPTY_DEV, "sh", str(uid), *argv]
    return subprocess.Popen(command, cwd="/", text=True, start_new_session=True, **options)


@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_case_64_empty_dev(uid, grant, mode):
    """A page is served with an empty /dev: no C library needs its /dev/null."""
    server = [support.PYBIND, "--mode", mode, "--port", "80", "--", "/usr/bin/python3"]
    server += ["-m", "http.server", "80", "--directory", "/proc/self/task"]
    process = in_empty_dev(
        uid, server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        support.wait_for(lambda: process.poll() is not None or support.answers_http(), "an answer")
        assert process.poll() is None, process.stdout.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=support.PATIENCE_S)


def test_case_64_nothing_is_opened_before(grant80):
    """The helper opens nothing before it has dropped all but its capability."""
    log = support.scratch_dir() / "log"
    program = "import socket; socket.socket().bind(('127.0.0.1', 80))"
    command = ["setpriv", "--clear-groups", "--inh-caps=-all", "--", "strace", "-f", "-qq"]
    command += [
        "-u",
        pwd.getpwuid(support.UID).pw_name,
        "-o",
        log,
        "-E",
        f"LD_PRELOAD={support.LIBRARY}",
        "/usr/bin/python3",
        "-c",
        program,
    ]
    subprocess.run(command, check=True, cwd="/", timeout=support.PATIENCE_S)
    text = log.read_text()
    pid = re.search(rf'(\d+) +execve\("{support.HELPER}"', text)[1]
    calls = [line.split(None, 1)[1] for line in text.splitlines() if line.split()[0] == pid]
    mine = calls[next(i for i, call in enumerate(calls) if call.startswith("execve(")) :]
    names = [call.partition("(")[0] for call in mine]
    before = mine[: names.index("capset")]
    opened = [call for call in before if re.match(r"open|creat|socket|pipe|dup|memfd", call)]
    assert opened == []
    assert "prctl(PR_SET_NO_NEW_PRIVS" in mine[names.index("capset") + 1]


# 65: filters that kill. tests/programs/test_told.py has filters of the program itself.

ROOTS_FILTER = """
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
uid, sock = int(sys.argv[1]), socket.socket()
{install}
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
try:
    sock.bind(("127.0.0.1", 80))
    print(0)
except OSError as error:
    print(error.errno)
"""
KILLED = f"status {-signal.SIGSYS}"
ROOTS = {
    "prctl": (seccomp("prctl", KILL, "pass"), "13"),
    "execve": (seccomp("execve", KILL, "pass"), "13"),
    "clone, and fails": (seccomp("clone", EPERM, "pass"), "13"),
    # The filter that cannot be noticed, except by trying.
    "clone": (seccomp("clone", KILL, "pass"), KILLED),
}


@pytest.mark.parametrize("call", ROOTS)
def test_case_65_filter_of_roots(uid, grant, call):
    """Under a filter of root's bind() returns EACCES; a filter on clone(2) kills, as documented."""
    install, expected = ROOTS[call]
    code = ROOTS_FILTER.format(install=install)
    done = subprocess.run(
        ["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", "/usr/bin/python3", "-c", code, str(uid)],
        capture_output=True, text=True, cwd="/", timeout=support.PATIENCE_S,
    )  # fmt: skip
    assert (done.stdout.strip() or f"status {done.returncode}") == expected, done.stderr


# 66: what other threads see. tests/proof/faults/test_preload_faults.py has late closes.


@pytest.mark.parametrize("how", ["execve", "execv", "execvp", "execvpe"])
def test_case_66_exec_during_a_bind(uid, grant, while_binding, how):
    """A program that calls execve(2) while its thread binds leaves no child and no signal."""
    command = ["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", while_binding, how, 15]
    done = support.run(command, uid=uid, gid=uid)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


# 67: start scripts that lose the library.

ASKS = "import socket, sys\ntry: socket.socket().bind(('127.0.0.1', 80)); print(0)\n"
ASKS += "except OSError as error: print(error.errno)"
OTHER_LIBRARY = str(next(pathlib.Path("/lib").glob("*-linux-gnu/libm.so.6")))
START = {
    "sh": f'export LD_PRELOAD={OTHER_LIBRARY}; exec "$@"',
    "sh, a child": f'LD_PRELOAD={OTHER_LIBRARY} "$@"; exit $?',
    "bash": f'exec /bin/bash -c \'export LD_PRELOAD={OTHER_LIBRARY}; exec "$@"\' bash "$@"',
    "env": f'exec env LD_PRELOAD={OTHER_LIBRARY} "$@"',
    "python": 'exec /usr/bin/python3 -c \'import os, sys; os.environ["LD_PRELOAD"] = '
    f'"{OTHER_LIBRARY}"; os.execv(sys.argv[1], sys.argv[1:])\' "$@"',
    "python, a child": "exec /usr/bin/python3 -c 'import os, sys; "
    f'env = dict(os.environ, LD_PRELOAD="{OTHER_LIBRARY}"); '
    'pid = os.posix_spawn(sys.argv[1], sys.argv[1:], env); os.waitpid(pid, 0)\' "$@"',
}
MEANT = {
    "unset": 'unset LD_PRELOAD; exec "$@"',
    "empty": 'LD_PRELOAD= exec "$@"',
    "env -i": f'exec env -i LD_PRELOAD={OTHER_LIBRARY} "$@"',
}


def ask_after(uid, start, *options):
    """Start a shell under pybind that runs these words and starts a program that binds 80."""
    argv = [support.PYBIND, *options, "--", "/bin/sh", "-c", start, "sh", "/usr/bin/python3"]
    done = support.run([*argv, "-c", ASKS], uid=uid, gid=uid)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("start", START)
def test_case_67_replaced_preload(uid, grant, start):
    """If a start script replaces LD_PRELOAD, the library puts itself in front again."""
    assert ask_after(uid, START[start], "--port", "80") == "0\n"
    assert ask_after(uid, START[start]) == "0\n"


@pytest.mark.parametrize("start", MEANT)
def test_case_67_removed_on_purpose(uid, grant, start):
    """If a script removes LD_PRELOAD or all of pybind's variables, they stay removed."""
    assert ask_after(uid, MEANT[start], "--port", "80") == "13\n"


def test_case_67_last_covered(uid, grant):
    """The last program that --depth covers does not bring the library back for its children."""
    assert ask_after(uid, START["sh, a child"], "--depth", "1") == "13\n"
    assert ask_after(uid, START["sh, a child"], "--depth", "2") == "0\n"
