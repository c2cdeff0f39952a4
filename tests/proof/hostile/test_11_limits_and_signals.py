# SPDX-License-Identifier: GPL-3.0-or-later
"""Execution environment: inherited descriptors, limits, signals and timers."""

import errno
import itertools
import os
import resource
import signal
import socket
import subprocess

import attacked
import hostile
import pytest
from hostile import Helper, as_uid, ask, bind_request, granted, python

from pybind import _wire as w

SUBSETS = [some for count in range(5) for some in itertools.combinations(range(4), count)]


def start_without(closed):
    """Run by a uid: the outcome with these descriptors closed."""
    null = os.open("/dev/null", os.O_RDWR)
    return ask(fds={1: null, 2: null}, closed=closed)


@pytest.mark.parametrize("closed", SUBSETS, ids=lambda some: "".join(map(str, some)) or "none")
def test_case_11_closed_descriptors(uid, grant, closed):
    """Without descriptor 0 the helper ends, without 3 it refuses; 1 and 2 do not matter."""
    outcome = as_uid(uid, start_without, closed)
    if 0 in closed:
        assert outcome.denied
        assert (outcome.reason, outcome.status) == (None, 1)
    elif 3 in closed:
        assert outcome == hostile.refused(w.REASON_SOCKET_KIND)
    else:
        assert outcome == granted()


def lower(name, value):
    """Return a function that sets one resource limit, soft and hard."""
    return lambda: resource.setrlimit(getattr(resource, name), (value, value))


def with_limits(name, values):
    """Run by a uid: the outcome for each value of the limit."""
    return [ask(prepare=lower(name, value)) for value in values]


def test_case_12_few_descriptors(uid, grant):
    """With RLIMIT_NOFILE 0 or 1 nothing is bound; with a few more the answer is right."""
    outcomes = as_uid(uid, with_limits, "RLIMIT_NOFILE", range(12))
    assert all(outcome.denied for outcome in outcomes[:2])  # musl's start-up crashes there
    assert all(outcome == granted() or outcome.denied for outcome in outcomes)
    assert outcomes[-1] == granted()


def test_case_12_few_descriptors_in_a_program(uid, grant):
    """A program without room for a descriptor gets EACCES, and no descriptor is left."""
    code = """
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
sock, later = socket.socket(), socket.socket()
before = os.listdir("/proc/self/fd")
for limit in (0, 1, 2, 3):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    print(call(sock, sin(80)), name(sock))
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert os.listdir("/proc/self/fd") == before
print(call(later, sin(80)), name(later))
"""
    done = attacked.under_library(uid, code)
    assert done.stdout == f"{errno.EACCES} 0\n" * 4 + "0 80\n", done.stderr


@pytest.mark.parametrize(
    ("name", "values", "dies"),
    [("RLIMIT_DATA", [0, 4096], False), ("RLIMIT_STACK", [0, 4096, 65536], False),
     ("RLIMIT_AS", [0, 65536], True), ("RLIMIT_CPU", [0], False), ("RLIMIT_RSS", [0], False)],
)  # fmt: skip
def test_case_13_no_memory(uid, grant, name, values, dies):
    """Without memory or time the helper dies and binds nothing, or answers rightly."""
    outcomes = as_uid(uid, with_limits, name, values)
    assert all(outcome == granted() or outcome.denied for outcome in outcomes)
    if dies:
        assert all(outcome.reason is None and outcome.status < 0 for outcome in outcomes)


@pytest.mark.parametrize(
    "name", ["FSIZE", "CORE", "MEMLOCK", "SIGPENDING", "NPROC", "MSGQUEUE", "NICE", "RTPRIO"]
)
def test_case_14_limits_that_do_not_matter(uid, grant, name):
    """Limits of files, processes and signals do not matter, because the helper needs none."""
    assert as_uid(uid, with_limits, f"RLIMIT_{name}", [0]) == [granted()]


def block_everything():
    """Ignore and block every signal that can be ignored or blocked."""
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):  # the C library owns 32 and 33
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def mask_of(status):
    """Return the blocked and the ignored signals."""
    return int(status["SigBlk"], 16), int(status["SigIgn"], 16)


def terminate_blocking():
    """Run by a uid: a helper's masks when it is ready, and its status after SIGTERM."""
    with socket.socket() as sock:
        helper = Helper(sock, prepare=block_everything).wait_ready()
        masks = mask_of(helper.status())
        os.kill(helper.pid, signal.SIGTERM)
        return masks, helper.outcome()


def ordinary_survives():
    """Run by a uid: tell whether an ordinary program survives SIGTERM after such a start."""
    target = subprocess.Popen(python(), preexec_fn=block_everything)  # noqa: PLW1509
    with open(f"/proc/{target.pid}/status") as file:
        blocked, _ = mask_of(dict(line.split(":\t", 1) for line in file if ":\t" in line))
    target.kill()
    target.wait()
    return bool(blocked & 1 << signal.SIGTERM - 1)


def test_case_15_blocked_and_ignored_signals(uid, grant):
    """The helper works with all signals blocked and ignored, but SIGTERM still ends it."""
    assert as_uid(uid, ordinary_survives)  # control: the masks are really inherited
    assert as_uid(uid, lambda: ask(prepare=block_everything)) == granted()
    (blocked, ignored), outcome = as_uid(uid, terminate_blocking)
    assert blocked == 0
    assert not ignored & (1 << signal.SIGTERM - 1 | 1 << signal.SIGALRM - 1)
    assert outcome.denied
    assert outcome.status == -signal.SIGTERM


def arm_timer():
    """Let SIGALRM come soon. The other two timers do not run in a waiting helper."""
    signal.setitimer(signal.ITIMER_REAL, 0.25, 0.25)


def outlive_an_alarm():
    """Run by a uid: (status of an ordinary program, outcome of a helper) with that alarm."""
    with socket.socket() as sock:
        helper = Helper(sock, prepare=arm_timer)
        later = subprocess.Popen(python(), preexec_fn=arm_timer)  # noqa: PLW1509
        status = later.wait()  # the helper's alarm would have come earlier
        helper.send(bind_request())
        return status, helper.outcome()


def test_case_16_inherited_timer(uid, grant):
    """A real-time timer that was armed before execve(2) does not end the helper."""
    assert as_uid(uid, outlive_an_alarm) == (-signal.SIGALRM, granted())


def never_ask():
    """Run by a uid: the outcome of a helper without a request, with SIGALRM ignored and blocked."""
    with socket.socket() as sock:
        return Helper(sock, prepare=block_everything).outcome()


def test_case_16_helper_gives_up(uid):
    """A helper without a request ends by its own alarm, which no caller can block."""
    outcome = as_uid(uid, never_ask)
    assert outcome.denied
    assert outcome.status == -signal.SIGALRM


def inherit(run):
    """Run by a uid: tell whether a pipe, a listener and a terminal close when only run() has them.

    run(fds): starts a process with {number: descriptor}; returns a function that ends it.
    """
    reading, writing = os.pipe()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    master, slave = os.openpty()
    address = listener.getsockname()
    mine = [writing, listener.detach(), slave]
    end = run(dict(zip((1, 2, 5, 6, 200, 400), mine * 2)))
    for fd in mine:
        os.close(fd)
    found = []
    os.set_blocking(reading, False)
    try:
        found.append(os.read(reading, 1) == b"")
    except BlockingIOError:
        found.append(False)
    with socket.socket() as again:
        found.append(again.connect_ex(address) == errno.ECONNREFUSED)
    os.set_blocking(master, False)
    try:
        os.read(master, 1)
        found.append(False)
    except BlockingIOError:
        found.append(False)
    except OSError as error:  # EIO: nobody has the other side open
        found.append(error.errno == errno.EIO)
    return found, end()


def inherited_by_a_helper(fds):
    sock = socket.socket()
    helper = Helper(sock, fds=fds).wait_ready()

    def end():
        helper.send(bind_request())
        return helper.outcome()

    return end


def inherited_by_an_ordinary_program(fds):
    def place():
        high = {at: os.dup(fd) for at, fd in fds.items()}
        for at, fd in high.items():
            os.dup2(fd, at)

    target = subprocess.Popen(python(), preexec_fn=place, close_fds=False)  # noqa: PLW1509

    def end():
        target.kill()
        target.wait()

    return end


def test_case_17_inherited_descriptors(uid, grant):
    """A waiting helper keeps no pipe, listener or terminal of its caller open."""
    # Control: an ordinary program keeps all three open.
    assert as_uid(uid, inherit, inherited_by_an_ordinary_program) == ([False] * 3, None)
    assert as_uid(uid, inherit, inherited_by_a_helper) == ([True] * 3, granted())
