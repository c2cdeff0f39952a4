# SPDX-License-Identifier: GPL-3.0-or-later
"""A supervised program finds its process as without pybind, but for the limits of pybind(1).

Then each limit is shown to be real. src/world.c of tests/programs sets up a process, and
reports it.
"""

import errno
import itertools
import json
import os
import re
import signal
import subprocess

import launching
import pytest
import supervising
import support
from supervising import under_pybind
from support import compile_c, pybind

pytestmark = pytest.mark.usefixtures("grant80")

# The fields that differ: the process has the supervisor as its parent, which set a filter
# and a parent-death signal.
OTHER = re.compile(
    r"^(Tgid:|PPid:|NoNewPrivs:|Seccomp:|subreaper \d+ death-signal |environ PYBIND_).*"
)
PATH = b"PATH=/usr/bin:/bin"
STARTED_BY_SYSTEMD = """
import os, sys
pidfd = os.pidfd_open(os.getpid())
inode = os.fstat(pidfd).st_ino
os.close(pidfd)
os.dup2(os.open("/dev/null", os.O_RDONLY), 3, inheritable=True)
os.environ.update(LISTEN_PID=sys.argv[1] or str(os.getpid()), WATCHDOG_PID=str(os.getpid()),
                  LISTEN_PIDFDID=str(inode), LISTEN_FDS="1", OTHER_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
TELL = """
import json, os
names = ("LISTEN_PID", "LISTEN_PIDFDID", "WATCHDOG_PID", "LISTEN_FDS", "OTHER_PID")
inode = os.fstat(os.pidfd_open(os.getpid())).st_ino
found = {name: os.environ[name] for name in names}
print(json.dumps({"pid": str(os.getpid()), "inode": str(inode), **found}))
os.fstat(3)
"""


@pytest.fixture(scope="module")
def world():
    """Return the static program that reports its process."""
    return launching.build("world.c", "-static")


@pytest.fixture(scope="module")
def launch():
    """Return what sets up its process and executes another program."""
    return supervising.need_launch()


def report(launch, argv, changes):
    """Return the program's report as lines, in an order that closed descriptors do not change."""
    folder = support.scratch_dir()
    words = [os.fsdecode(word) for word in changes]
    process = support.as_user(
        [*launch, *words, "--", *argv, "report", "report"], cwd=folder, stdout=subprocess.DEVNULL
    )
    try:
        assert process.wait(support.PATIENCE_S) == 0, f"{argv}: {process.returncode}"
    finally:
        process.kill()
        process.wait(support.PATIENCE_S)
    text = (folder / "report").read_text(encoding="ascii")
    return text.replace(os.fspath(folder), "FOLDER").splitlines()


def same(launch, world, *changes):
    """Assert that both reports are the same; return the one without pybind."""
    without = report(launch, [world], changes)
    supervised = report(launch, under_pybind(world), changes)
    differ = [line for line in supervised if OTHER.match(line)]
    assert {"NoNewPrivs:\t1", "Seccomp:\t2"} <= set(differ)
    kept = [[line for line in lines if not OTHER.match(line)] for lines in (supervised, without)]
    assert kept[0] == kept[1]
    return without


def numbers(option, *signals):
    """Return arguments of launch: the option and number of each signal."""
    return [word for number in signals for word in (option, str(int(number)))]


def test_ordinary_world(launch, world):
    """Ids, privileges, limits, folder, group, session, descriptors and signals are the same."""
    lines = same(launch, world)
    assert "CapPrm:\t0000000000000000" in lines
    assert "children none" in lines


def test_dispositions_and_mask(launch, world):
    """Ignored and blocked signals stay so, even those that CPython and the front change."""
    ignored = numbers("-i", signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)
    ignored += numbers("-i", signal.SIGTERM, signal.SIGXFSZ, signal.SIGTSTP, signal.SIGRTMAX)
    blocked = numbers("-b", signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD, signal.SIGRTMIN + 3)
    lines = same(launch, world, *ignored, *blocked)
    assert "signal 17 ignored flags=0" in lines or "signal 17 ignored flags=4000000" in lines


def test_default_dispositions(launch, world):
    """SIGPIPE and SIGXFSZ, which CPython ignores, have their default action again."""
    lines = same(launch, world, *numbers("-d", signal.SIGPIPE, signal.SIGXFSZ))
    assert any(line.startswith("signal 13 default") for line in lines)


def test_everything_blocked(launch, world):
    """If the caller blocks every signal, the program has all of them blocked."""
    same(launch, world, *numbers("-b", *range(1, 65)))


def test_pending_signal(launch, agent):
    """A blocked pending signal of the caller is pending in the program too."""
    changes = [*numbers("-b", signal.SIGUSR1), *numbers("-r", signal.SIGUSR1)]

    def pending(pid):
        status = supervising.status_of(pid)
        return int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)

    with supervising.started([*launch, *changes, "--", *under_pybind(agent)]) as (_, talk):
        pid = talk.pid()
        support.wait_for(lambda: pending(pid) == 1 << signal.SIGUSR1 - 1, "the signal")
        assert talk.ask("bind tcp 127.90.0.1 80") == 0


CLOSED = [some for count in range(4) for some in itertools.combinations("012", count)]


@pytest.mark.parametrize("closed", CLOSED, ids=lambda some: "".join(some) or "none")
def test_closed_standard_descriptors(launch, world, closed):
    """Closed descriptors of 0, 1 and 2 stay closed, and no file takes their numbers."""
    lines = same(launch, world, *[word for fd in closed for word in ("-c", fd)])
    for fd in closed:
        assert not any(line.startswith(f"fd {fd} ") for line in lines)


def test_more_descriptors(launch, world):
    """A directory as stdin and descriptors above 2 are passed on, and no other is added."""
    lines = same(launch, world, "-n", "3", "-n", "10", "-D", "11", "-n", "200", "-D", "0")
    assert sum(line.startswith("fd ") for line in lines) == 7


def test_odd_environment_entries(launch, world):
    """Order, duplicates, odd entries and any bytes are kept; LD_PRELOAD is not changed."""
    entries = [PATH, b"DUP=1", b"NOEQUALS", b"DUP=2", b"=weird", b"PYTHONHOME=/nonexistent"]
    entries += [b"LC_ALL=C", b"BYTES=\xff\xfe", b"", b"LD_PRELOAD=", b"DUP=1", b"EMPTY="]
    lines = same(launch, world, *[word for entry in entries for word in (b"-e", entry)])
    assert lines.count("environ DUP=1") == 2


def test_empty_environment(launch, world):
    """An empty environment stays empty."""
    assert not [line for line in same(launch, world, "-e", "-") if line.startswith("environ")]


@pytest.mark.parametrize("listen_pid", ["", "1"])
def test_pids_of_systemd(listen_pid):
    """LISTEN_PID, LISTEN_PIDFDID and WATCHDOG_PID name the program; another PID stays."""
    start = ["/usr/bin/python3", "-c", STARTED_BY_SYSTEMD, listen_pid]
    argv = under_pybind("/usr/bin/python3", "-c", TELL, mode="supervise")
    result = support.run([*start, *argv])
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["LISTEN_PID"] == (listen_pid or found["pid"])
    assert found["WATCHDOG_PID"] == found["pid"]
    assert found["LISTEN_FDS"] == "1"
    assert found["OTHER_PID"] != found["pid"]
    if not listen_pid:
        assert found["LISTEN_PIDFDID"] == found["inode"]


def test_stdin_is_left_unread():
    """pybind reads no byte of stdin."""
    data = "line one\n" + "x" * 200000
    result = support.run(under_pybind("/bin/cat", mode="supervise"), input=data)
    assert (result.returncode, result.stdout) == (0, data)


TALKER = """
import signal, sys
seen = []
for number in (signal.SIGUSR1, signal.SIGCHLD):
    signal.signal(number, lambda n, frame: seen.append(n))
print("ready", flush=True)
for line in sys.stdin:
    print(len(seen), flush=True)
"""

EINTR = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
static void handler(int number) { (void)number; }
int main(void)
{
    struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART */
    struct itimerval timer = {{0, 3000}, {0, 3000}};
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(80)};
    char go;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sigaction(SIGALRM, &action, NULL);
    printf("ready\n");
    fflush(stdout);
    read(0, &go, 1);
    setitimer(ITIMER_REAL, &timer, NULL);
    int result = bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&addr, sizeof addr);
    printf("%d\n", result == 0 ? 0 : errno);
    return 0;
}
"""

IO_URING = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#define OP_BIND 56 /* IORING_OP_BIND, Linux 6.11 */
int main(void)
{
    struct io_uring_params params = {0};
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(80)};
    int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
    if (ring < 0)
        return printf("none %d\n", errno) < 0;
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char *queue = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, 0);
    struct io_uring_sqe *sqe = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                                    ring, IORING_OFF_SQES);
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = OP_BIND;
    sqe->fd = socket(AF_INET, SOCK_STREAM, 0);
    sqe->addr = (unsigned long)&addr;
    sqe->addr2 = sizeof addr;
    ((unsigned *)(queue + params.sq_off.array))[0] = 0;
    *(unsigned *)(queue + params.sq_off.tail) = 1;
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
        return printf("enter %d\n", errno) < 0;
    struct io_uring_cqe *cqe = (void *)(queue + params.cq_off.cqes);
    printf("result %d\n", cqe->res);
    return 0;
}
"""


def result_of_io_uring(done):
    """Return the result of IO_URING's bind; skip if the kernel has no such bind."""
    word, number = done.stdout.split()
    if (word, int(number)) in (("none", errno.ENOSYS), ("none", errno.EPERM)):  # missing, or off
        pytest.skip("this kernel has no system calls of io_uring")
    assert word == "result", done.stdout
    if int(number) == -errno.EINVAL and kernel() < (6, 11):
        pytest.skip("this kernel has no system calls of io_uring for binds (before Linux 6.11)")
    return int(number)


def kernel():
    """Return the kernel's version as two numbers."""
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups()))


def supervised(*argv):
    return support.as_user(
        [support.PYBIND, "--mode", "supervise", "--", *argv],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_no_new_privs_is_set():
    """A setuid program gains nothing inside, because no_new_privs is set."""
    done = pybind("--mode", "supervise", "grep", "NoNewPrivs", "/proc/self/status")
    assert done.stdout.split() == ["NoNewPrivs:", "1"]
    assert pybind("--mode", "supervise", "id", "-u").stdout == f"{support.UID}\n"


def test_sigstop_and_sigchld_of_the_front():
    """SIGSTOP stops only the front, and SIGCHLD is not forwarded, unlike SIGUSR1."""
    with supervised("/usr/bin/python3", "-u", "-c", TALKER) as front:
        assert front.stdout.readline() == "ready\n"
        os.kill(front.pid, signal.SIGSTOP)
        support.wait_for(lambda: supervising.is_stopped(front.pid), "the front to stop")
        front.stdin.write("how many\n")
        front.stdin.flush()
        assert front.stdout.readline() == "0\n"
        os.kill(front.pid, signal.SIGCONT)
        os.kill(front.pid, signal.SIGCHLD)
        os.kill(front.pid, signal.SIGUSR1)

        def count():
            front.stdin.write("how many\n")
            front.stdin.flush()
            return int(front.stdout.readline())

        support.wait_for(lambda: count() > 0, "SIGUSR1")
        assert count() == 1
        front.stdin.close()
        assert front.wait(support.PATIENCE_S) == 0


def test_tracer_by_a_filter_sees_no_bind(grant80, agent):
    """What another filter hands to a tracer (SECCOMP_RET_TRACE) is the supervisor's first."""
    log = support.scratch_dir() / "log"
    strace = [launching.need("strace", "strace"), "-f", "-e", "trace=bind", "-o", log]
    for words in ([], ["--seccomp-bpf"]):
        argv = supervising.under_pybind(*strace, *words, agent, mode="supervise")
        with supervising.started(argv) as (_, talk):
            assert talk.ask("bind tcp 127.90.0.1 80") == 0
        seen = "bind(" in log.read_text()
        assert seen == (not words)


@pytest.mark.hostile(59)
def test_eintr_without_sa_restart(grant80):
    """bind may fail with EINTR if a handler without SA_RESTART runs before the supervisor looks."""
    with supervised(compile_c(EINTR)) as front:
        assert front.stdout.readline() == "ready\n"
        (supervisor,) = supervising.children(front.pid)
        os.kill(supervisor, signal.SIGSTOP)
        support.wait_for(lambda: supervising.is_stopped(supervisor), "the supervisor to stop")
        front.stdin.write("x")
        front.stdin.flush()
        result = front.stdout.readline()
        os.kill(supervisor, signal.SIGCONT)
        assert int(result) == errno.EINTR
        front.stdin.close()
        assert front.wait(support.PATIENCE_S) == 0


@pytest.mark.hostile(61)
def test_io_uring_is_not_reported(grant80):
    """The supervisor does not see a bind through io_uring, so the kernel refuses the bind."""
    done = pybind("--mode", "supervise", compile_c(IO_URING))
    assert result_of_io_uring(done) == -errno.EACCES
