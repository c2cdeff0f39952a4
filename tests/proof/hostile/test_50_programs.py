# SPDX-License-Identifier: GPL-3.0-or-later
"""Library and supervisor: stopped or dying helpers, ways around bind(2), sandboxes."""

import errno
import os
import pathlib
import signal
import subprocess

import attacked
import launching
import pytest
import supervising
import support
from attacked import answer, gated_helper, let_bind, waiting_program
from hostile import Outcome, as_uid, ask, with_capability
from test_world import IO_URING, result_of_io_uring

SRC = pathlib.Path(__file__).resolve().parent / "src"


def state_of(pid):
    return supervising.status_of(pid).get("State", "X")[0]


@pytest.mark.hostile("R1")
@pytest.mark.parametrize("mode", ["preload", "supervise"])
@pytest.mark.parametrize("ends", [False, True], ids=["continued", "killed"])
def test_case_50_stopped_helper(uid, grant, mode, ends):
    """bind() waits while its helper is stopped, and then returns the truth about the socket."""
    with waiting_program(uid, mode) as process, gated_helper() as (helpers, let_on):
        let_bind(process)
        support.wait_for(helpers, "the helper to start")
        (pid,) = helpers()
        as_uid(uid, os.kill, pid, signal.SIGSTOP)
        support.wait_for(lambda: state_of(pid) == "T", "the stop")
        let_on()
        as_uid(uid, os.kill, pid, signal.SIGKILL if ends else signal.SIGCONT)
        assert answer(process) == ((errno.EACCES, 0) if ends else (0, 80))


@pytest.mark.hostile("R1")
def test_case_50_intermediate_killed(uid, grant):
    """If the process between program and helper is killed, no bind follows the refusal."""
    with waiting_program(uid, "preload") as process, gated_helper() as (helpers, let_on):
        let_bind(process)
        support.wait_for(helpers, "the helper to start")
        (pid,) = helpers()
        as_uid(uid, os.kill, pid, signal.SIGSTOP)
        as_uid(uid, os.kill, supervising.parent(pid), signal.SIGKILL)
        assert answer(process) == (errno.EACCES, 0)
        assert state_of(pid) in "XZ"  # gone before bind() returned
        let_on()


@pytest.fixture(scope="module", params=["before", "after"])
def dying_helper(request):
    """Return (a helper that is killed before or after its bind, the result of bind())."""
    binary = support.scratch_dir() / "dying"
    sources = sorted((support.REPOSITORY / "helpers/helper").glob("*.c"))
    flags = [f'-DCONFIG_DIR="{support.CONFIG}"', "-Wl,--wrap=send,--wrap=bind", "-D_GNU_SOURCE"]
    if request.param == "before":
        flags.append("-DBEFORE_BIND")
    subprocess.run(["gcc", "-O1", "-o", binary, *sources, SRC / "wrapped.c", *flags], check=True)
    with_capability(binary)
    return binary, (errno.EACCES, 0) if request.param == "before" else (0, 80)


@pytest.mark.hostile("R1")
@pytest.mark.parametrize("mode", ["preload", "supervise"])
def test_case_51_helper_killed_around_its_bind(uid, grant, dying_helper, mode):
    """A helper killed before its bind gives EACCES; one killed after its bind gives 0."""
    binary, expected = dying_helper
    # Control: the helper sends no reply, with the socket bound or not yet bound.
    assert as_uid(uid, lambda: ask(path=binary)) == Outcome(
        None, None, expected[1], -signal.SIGKILL
    )
    with waiting_program(uid, mode) as process, attacked.in_the_helpers_place(binary):
        let_bind(process)
        assert answer(process) == expected


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


@pytest.fixture(scope="module")
def landlocked():
    """Return the program that forbids itself to bind."""
    program = launching.build(SRC / "landlocked.c", "-I", launching.SRC)
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
