# SPDX-License-Identifier: GPL-3.0-or-later
"""Each limit that pybind(1) lists for supervised programs is real."""

import errno
import os
import re
import signal
import subprocess

import launching
import pytest
import supervising
import support
from support import compile_c, pybind

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
