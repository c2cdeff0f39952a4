# SPDX-License-Identifier: GPL-3.0-or-later
"""Reliability: a helper that is stopped or dies, other faults, and unusual programs.

The cases 50 and 51 are attacks of the same user on the helper.
"""

import contextlib
import errno
import os
import pathlib
import signal
import socket
import subprocess

import attacked
import launching
import pytest
import supervising
import support
from attacked import answer, gated_helper, let_bind, waiting_program
from hostile import Outcome, as_uid, ask, with_capability
from support import HELPER

MODES = pytest.mark.parametrize("mode", ["preload", "supervise"])


def library(uid, *argv, **options):
    """Run a program as uid with the library; return a CompletedProcess."""
    return support.run(["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", *argv], uid=uid, **options)


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


# Linked into the helper's sources with -Wl,--wrap.
DIES = """
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t len);
int __real_bind(int fd, const struct sockaddr *addr, socklen_t len);

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags) /* after the bind */
{
    (void)fd, (void)data, (void)len, (void)flags;
    kill(getpid(), SIGKILL);
    return -1;
}

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
#ifdef BEFORE_BIND
    kill(getpid(), SIGKILL);
#endif
    return __real_bind(fd, addr, len);
}
"""


@pytest.fixture(scope="module", params=["before", "after"])
def dying_helper(request):
    """Return (a helper that is killed before or after its bind, the result of bind())."""
    sources = sorted((support.REPOSITORY / "helpers/helper").glob("*.c"))
    flags = [f'-DCONFIG_DIR="{support.CONFIG}"', "-Wl,--wrap=send,--wrap=bind", "-D_GNU_SOURCE"]
    if request.param == "before":
        flags.append("-DBEFORE_BIND")
    binary = with_capability(support.compile_c(DIES, *sources, *flags, name="dying"))
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


@pytest.mark.parametrize("dies", [False, True])
def test_reliability_02_helper_dies_while_a_thread_forks(uid, grant, while_binding, dies):
    """Children that hold copies of every descriptor do not keep bind() waiting."""
    with contextlib.ExitStack() as stack:
        if dies:
            script = "#!/bin/sh\nkill -KILL $$\n"
            stack.enter_context(attacked.in_the_helpers_place(script))
        done = library(uid, while_binding, "forks", "60", str(errno.EACCES if dies else 0))
    assert done.returncode == 0, done.stderr


@MODES
@pytest.mark.parametrize("harm", ["missing", "no capability", "not executable", "not a program"])
def test_reliability_03_unusable_helper(uid, grant, mode, harm):
    """A helper that is missing or has no capability gives EACCES until it is repaired."""
    with waiting_program(uid, mode) as process, contextlib.ExitStack() as stack:
        if harm == "missing":
            aside = pathlib.Path(HELPER).rename(HELPER + ".aside")
            stack.callback(aside.rename, HELPER)
        elif harm == "no capability":
            stack.callback(subprocess.run, ["setcap", "cap_net_bind_service=p", HELPER], check=True)
            subprocess.run(["setcap", "-r", HELPER], check=True)
        elif harm == "not executable":
            stack.callback(os.chmod, HELPER, 0o755)
            os.chmod(HELPER, 0o700)
        else:
            stack.enter_context(attacked.in_the_helpers_place("nothing that can be executed\n"))
        let_bind(process)
        assert answer(process) == (errno.EACCES, 0)


def test_reliability_08_numbers_taken_by_connections(uid, grant):
    """A daemon closes all descriptors and clients reuse them: no client gets a byte of pybind."""
    code = """
os.closerange(0, 100)
server = socket.create_server(("127.0.0.1", 0))
far, near = [], []
for _ in range(40):
    far.append(socket.create_connection(server.getsockname()))
    near.append(server.accept()[0])
sock = socket.socket()
result = [call(sock, sin(80)), name(sock)]
for end in far:
    end.setblocking(False)
    try:
        result.append(end.recv(1000))
    except BlockingIOError:
        pass
os._exit(result != [0, 80])
"""
    assert attacked.under_library(uid, code).returncode == 0


BEFORE = """
served = socket.socket()
print(call(served, sin(80)), name(served))  # control
served.close()
"""
CHROOTS = """
os.chroot(sys.argv[1]); os.chdir("/")
sock = socket.socket()
print(call(sock, sin(80)), name(sock), call(sock, sin(8080)), name(sock))
"""


def test_reliability_10_chroot(uid, grant):
    """A program in a chroot without the helper gets EACCES from the library, and goes on."""
    folder = support.scratch_dir()
    argv = ["/usr/bin/setpriv", "--reuid", str(uid), "--clear-groups", "--inh-caps=-all,+sys_chroot",
            "--ambient-caps=-all,+sys_chroot", "/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}",
            "/usr/bin/python3", "-c", attacked.TARGET + BEFORE + CHROOTS, folder]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.stdout == f"0 80\n{errno.EACCES} 0 0 8080\n", done.stderr


def test_reliability_10_chroot_of_a_supervised_program(uid, grant):
    """For a supervised program in a chroot the helper runs outside, so the bind works."""
    folder = support.scratch_dir()
    words = ["/usr/bin/unshare", "--user", "--map-root-user"]
    if support.run([*words, "/bin/true"], uid=uid).returncode:
        pytest.skip("this system allows a user no namespaces")
    code = CHROOTS.replace("sock, sin(8080)", "socket.socket(), sin(8080)")
    program = [*words, "/usr/bin/python3", "-c", attacked.TARGET + code, folder]
    done = support.run([support.PYBIND, "--mode", "supervise", "--", *program], uid=uid)
    assert done.stdout == "0 80 0 80\n", done.stderr


def test_reliability_11_change_of_uid(uid):
    """Each bind of a program is judged by its uid at that moment."""
    other = support.OTHER_UID if uid == support.UID else support.UID
    support.rules(f"byuser/{other}", "any,80")
    code = """
results = []
for uid in map(int, sys.argv[1:]):
    pid = os.fork()
    if pid == 0:
        os.setgroups([]); os.setresgid(7, 7, 7); os.setresuid(uid, uid, uid)
        sock = socket.socket()
        error = call(sock, sin(80, "127.0.0.%d" % (1 + len(results))))
        os._exit(error if error else 80 if name(sock) == 80 else 1)
    results.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(results)
"""
    argv = ["/usr/bin/python3", "-c", attacked.TARGET + code, str(uid), str(other), str(uid)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd="/",
                          env={"LD_PRELOAD": support.LIBRARY})  # fmt: skip
    assert done.stdout == f"[{errno.EACCES}, 80, {errno.EACCES}]\n", done.stderr


def test_reliability_13_interval_timer(uid, grant):
    """A timer that interrupts every 3 ms breaks no bind of the library."""
    timer = launching.build("disturbed.c")
    done = library(uid, timer, "interrupted", "300")
    assert (done.returncode, done.stdout, done.stderr) == (0, "bound 300\n", "")


def test_reliability_13_cancelled_threads(uid, grant, while_binding):
    """After pthread_cancel a bind still completes, and leaves no descriptor or child."""
    done = library(uid, while_binding, "cancelled")
    assert (done.returncode, done.stderr) == (0, "")


def test_reliability_14_many_binds_at_once(uid, grant):
    """Hundreds of threads in several processes bind at once, without a wrong answer."""
    storm = launching.build("storm.c")
    done = library(uid, storm, "8", "25", "1", input="x", timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ready\nanswers ")
    assert done.stdout.endswith(" wrong 0 failed 0\n")


def test_reliability_14_no_process_left(uid, grant):
    """At RLIMIT_NPROC bind() returns EACCES, and works again when there is room."""
    code = """
sock = socket.socket()
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
print(call(sock, sin(80)), name(sock), call(sock, sin(81)), name(sock))
resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
print(call(sock, sin(80)), name(sock))
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""
    done = attacked.under_library(uid, code)
    refused = f"{errno.EACCES} 0 {errno.EACCES} 0\n"
    assert done.stdout == f"{refused}0 80\nno child\n", done.stderr


@MODES
def test_reliability_15_errors_of_the_kernel(uid, grant, mode):
    """A port in use and an address of another host get the kernel's errors."""
    code = """
busy, away, sock = socket.socket(), socket.socket(), socket.socket()
print(call(busy, sin(80)), name(busy))
print(call(away, sin(80, "192.0.2.1")), name(away))
print(call(sock, sin(80, "127.0.0.2")), name(sock), call(sock, sin(80, "127.0.0.3")), name(sock))
"""
    words = ["/usr/bin/python3", "-c", attacked.TARGET + code]
    with socket.create_server(("127.0.0.1", 80)):
        done = support.run([support.PYBIND, "--mode", mode, "--", *words], uid=uid)
    expected = f"{errno.EADDRINUSE} 0\n{errno.EADDRNOTAVAIL} 0\n0 80 "
    # A second bind of a bound socket: for a privileged port EACCES would come first.
    assert done.stdout == f"{expected}{errno.EINVAL} 80\n", done.stderr


@MODES
def test_reliability_17_no_room_to_write(uid, grant, mode):
    """A program binds although its outputs are on a full disk; descriptor 2 may be a client."""
    code = "s = socket.socket(); sys.exit(0 if call(s, sin(80)) == 0 and name(s) == 80 else 1)"
    words = [support.PYBIND, "-v", "--mode", mode, "--", "/usr/bin/python3", "-c",
             attacked.TARGET + code]  # fmt: skip
    with open("/dev/full", "wb", buffering=0) as full:
        assert support.run(words, uid=uid, stdout=full, stderr=full).returncode == 0
    ours, theirs = socket.socketpair()
    with ours, theirs:
        quiet = [word for word in words if word != "-v"]
        assert support.run(quiet, uid=uid, stderr=theirs).returncode == 0
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)


def test_reliability_17_status_without_an_output(uid, grant):
    """Outputs that cannot be written do not change the exit statuses 125 and 127."""
    words = [support.PYBIND, "-v", "--port"]
    ours, theirs = socket.socketpair()
    ours.close()
    with open("/dev/full", "wb", buffering=0) as full, theirs:
        for err in (full, theirs):
            for rest, status in ((["81", "/bin/true"], 125), (["80", "/nonexistent"], 127),
                                 (["80", "/bin/true"], 0)):  # fmt: skip
                assert support.run([*words, *rest], uid=uid, stderr=err).returncode == status
        check = support.run([*words, "80", "--check", "/bin/true"], uid=uid, stdout=full)
    assert check.returncode == 125
    assert "No space left" in check.stderr


@MODES
def test_reliability_19_signal_to_the_group(uid, grant, mode):
    """SIGINT and SIGTSTP from a terminal reach the program's group, but not its helper."""
    with waiting_program(uid, mode) as process, gated_helper() as (helpers, let_on):
        let_bind(process)
        support.wait_for(helpers, "the helper to start")
        (pid,) = helpers()
        assert os.getpgid(pid) != os.getpgid(process.pid)
        let_on()
        assert answer(process) == (0, 80)


def test_reliability_19_key_while_the_helper_runs(uid, grant):
    """A program that handles SIGINT still binds if its whole group gets the signal."""
    code = """
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
sock = socket.socket()
print("ready", flush=True)
error = call(sock, sin(80))
print(error, name(sock), len(seen), flush=True)
"""
    argv = ["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", "/usr/bin/python3", "-c",
            attacked.TARGET + code]  # fmt: skip
    with gated_helper() as (helpers, let_on):
        process = support.as_user(argv, uid=uid, stdout=subprocess.PIPE, start_new_session=True)
        try:
            assert process.stdout.readline() == b"ready\n"
            support.wait_for(helpers, "the helper to start")
            os.killpg(process.pid, signal.SIGINT)
            let_on()
            assert process.stdout.readline() == b"0 80 1\n"
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
