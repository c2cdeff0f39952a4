# SPDX-License-Identifier: GPL-3.0-or-later
"""Each step of the preload library fails or is late, in a program that was granted port 80.

The program, binds.c, checks that bind and socket agree, that nothing is left, and that its
next bind works. The tables here have the expected result of bind. In the last tests, strace
delays the process of a bind before it closes its copies of the program's descriptors. Other
binds and execve(2) wait for it, but not for ever.
"""

import collections
import contextlib
import errno
import os
import pathlib
import select
import signal
import socket
import subprocess

import launching
import prctl
import pytest
import support
from faulting import answering, helpers_left, other_helper, reply, script, strace

from pybind import _wire

ADDRESS = "127.80.0.1", 80  # of binds.c
REFUSED, BOUND = f"errno {int(errno.EACCES)}", "bound"
pytestmark = pytest.mark.usefixtures("grant80")


@pytest.fixture(scope="module")
def binds():
    """Return the program under test."""
    return launching.build(pathlib.Path(__file__).resolve().with_name("binds.c"))


def start(program, *injections, verbose=False, more=0, words=()):
    """Start the program with the library as UID, under root's strace.

    more: how many binds must succeed afterwards; a fault in another process than the
    program's own happens in each of them again. words: more arguments of the program.
    """
    options = [word for injection in injections for word in ("-e", f"inject={injection}")]
    environment = ["-E", f"LD_PRELOAD={support.LIBRARY}"] + ["-E", "PYBIND_VERBOSE=1"] * verbose
    log = support.scratch_dir() / "log"
    process = subprocess.Popen(
        [*strace("-f", "-o", str(log), *environment, *options),
         program, "faulted", str(more), *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd="/",
    )  # fmt: skip
    process.log = log
    return process


def finish(process):
    """Return the program's output, after checking its status and that no helper is left."""
    try:
        out, err = process.communicate(timeout=support.PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"hangs: {process.log.read_text(errors='replace')[-3000:]}") from None
    finally:
        process.kill()
    log = process.log.read_text(errors="replace")
    assert process.returncode == 0, f"{out}{err}{log[-3000:]}"
    support.wait_for(lambda: not helpers_left(), "the last helper to end")
    return out.rstrip(), log


@pytest.fixture(scope="module")
def before(binds):
    """Count the program's own calls before its bind, by name: {name: count}."""
    support.flag("byport/80")
    _, log = finish(start(binds))
    lines = [line.split(None, 1) for line in log.splitlines()]
    mine = [text for pid, text in lines if pid == lines[0][0]]
    until = next(number for number, text in enumerate(mine) if text.startswith("bind("))
    return collections.Counter(text.partition("(")[0] for text in mine[:until])


def run_faulted(binds, fault, more, verbose):
    """Run the program with one fault; return its output."""
    out, log = finish(start(binds, fault, verbose=verbose, more=more))
    assert "(INJECTED)" in log or "+++ killed by" in log
    return out


# In the program's own thread: (call, its number since the bind began, error, result of bind).
OWN_STEPS = [
    ("rt_sigprocmask", 1, "EPERM", REFUSED),  # the second: test_mask_cannot_be_restored
    ("clone", 1, "EAGAIN", REFUSED),
    ("clone", 1, "ENOMEM", REFUSED),
    ("wait4", 1, "EINTR", BOUND),
]
# In the processes of a bind: (call, its number in the process, fault, result of bind).
CHILD_STEPS = [
    ("getsockopt", 1, "error=ENOBUFS", REFUSED),  # fails in the program too
    # In the intermediate process.
    ("prctl", 1, "error=EPERM", REFUSED),  # fails in the helper too, which goes on
    ("setpgid", 1, "error=EPERM", BOUND),
    ("rt_sigaction", 1, "error=EINVAL", BOUND),
    ("close_range", 1, "error=ENOSYS", REFUSED),  # fails in the helper too
    ("socketpair", 1, "error=EMFILE", REFUSED),
    ("socketpair", 1, "error=ENFILE", REFUSED),
    ("socketpair", 1, "error=ENOBUFS", REFUSED),
    ("sendto", 1, "error=ENOBUFS", REFUSED),
    ("clone", 1, "error=EAGAIN", REFUSED),
    ("clone", 1, "error=ENOMEM", REFUSED),
    ("wait4", 1, "error=EINTR", BOUND),
    ("recvfrom", 1, "error=EAGAIN", BOUND),
    ("recvfrom", 1, "error=ECONNRESET", BOUND),
    # In the helper's process before its execve(2), then in the helper.
    ("fcntl", 1, "error=EMFILE", REFUSED),
    ("fcntl", 2, "error=EMFILE", REFUSED),
    ("dup3", 1, "error=EBUSY", REFUSED),
    ("dup3", 2, "error=EBUSY", REFUSED),
    ("recvmsg", 1, "error=EIO", REFUSED),
    ("recvmsg", 1, "signal=KILL", REFUSED),
    ("recvmsg", 1, "signal=TERM", REFUSED),
    ("recvmsg", 1, "signal=SEGV", REFUSED),
    ("capset", 1, "signal=KILL", REFUSED),
    ("capset", 3, "error=EPERM", BOUND),
    ("capset", 3, "signal=KILL", BOUND),
]
MODES = pytest.mark.parametrize("verbose", [False, True], ids=["quiet", "verbose"])


@MODES
@pytest.mark.parametrize(("call", "nth", "error", "expected"), OWN_STEPS)
def test_own_step_fails(binds, before, call, nth, error, expected, verbose):
    """bind() returns the truth about the socket, nothing is left, and the next bind works."""
    fault = f"{call}:error={error}:when={before[call] + nth}"
    assert run_faulted(binds, fault, 1, verbose) == expected


@MODES
@pytest.mark.parametrize(("call", "nth", "what", "expected"), CHILD_STEPS)
def test_child_step_fails(binds, call, nth, what, expected, verbose):
    """bind() returns the truth about the socket, and nothing is left."""
    more = int(expected == BOUND)
    assert run_faulted(binds, f"{call}:{what}:when={nth}", more, verbose) == expected


@MODES
def test_descriptors_cannot_be_closed(binds, verbose):
    """If a call fails that closes the intermediate's copies, no helper is started."""
    for nth in (1, 2):
        fault = f"close_range:error=ENOSYS:when={nth}"
        out, log = finish(start(binds, fault, verbose=verbose, words=("high",)))
        assert (out, log.count("(INJECTED)")) == (REFUSED, 1)
        assert "execve(" not in log.partition("bind(")[2]


@pytest.mark.parametrize("error", ["EPIPE", "EAGAIN", "EINTR", "ENOSPC"])
def test_report_cannot_be_written(binds, error):
    """A failed write loses the line of -v, but not the bind."""
    out, log = finish(start(binds, f"write:error={error}:when=1", verbose=True, more=1))
    failed = [line for line in log.splitlines() if "(INJECTED)" in line]
    # The calls of the program itself, and those of the processes of two binds.
    assert (out, len(failed), len({line.split()[0] for line in failed})) == (BOUND, 3, 3)


def test_report_cannot_block_signals(binds, before):
    """If signals cannot be blocked, the line of -v is dropped: a handler could interfere."""
    fault = f"rt_sigprocmask:error=EPERM:when={before['rt_sigprocmask'] + 3}"
    out, log = finish(start(binds, fault, verbose=True))
    assert (out, log.count("(INJECTED)"), "pybind: bind" in log) == (BOUND, 1, False)


def test_mask_cannot_be_restored(binds, before):
    """If the signal mask cannot be restored, bind() still returns the truth about the socket."""
    fault = f"rt_sigprocmask:error=EPERM:when={before['rt_sigprocmask'] + 2}"
    out, log = finish(start(binds, fault, words=("blocked",)))
    assert (out, log.count("(INJECTED)")) == (BOUND, 1)


@pytest.mark.hostile(50)
def test_helper_is_late(binds):
    """bind() waits for a helper that is delayed for seconds and then binds."""
    out, log = finish(start(binds, "recvmsg:delay_enter=3s:when=1"))
    assert (out, "(DELAYED)" in log) == (BOUND, True)


@pytest.mark.parametrize(("sig", "expected"), [("CONT", BOUND), ("KILL", REFUSED)])
def test_helper_is_stopped(binds, sig, expected):
    """bind() waits while the helper is stopped, so it never fails for a later bind."""
    process = start(binds, "recvmsg:signal=STOP:when=1")
    support.wait_for(helpers_left, "the helper")
    (helper,) = helpers_left()
    support.wait_for(lambda: "--- stopped by" in process.log.read_text(), "the helper to stop")
    assert process.poll() is None
    os.kill(helper, getattr(signal, f"SIG{sig}"))
    assert finish(process)[0] == expected


def _parent(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("PPid:"):
            return int(line.split()[1])
    raise AssertionError("no parent")


# No ESRCH: a true ESRCH means that there is no child, so a false one would leave a child.
PIDFD = ["", *(f"pidfd_open:error={error}" for error in ("EMFILE", "ENOSYS", "ESRCH"))]
FURTHER = [(further, (), REFUSED) for further in [*PIDFD, "ppoll:error=ENOMEM"]]
FURTHER += [(further, ("subreaper",), REFUSED) for further in PIDFD[:3]]
# The helper cannot be killed, so bind() waits; then the socket shows that it is bound.
FURTHER += [("kill:error=EPERM", words, BOUND) for words in ((), ("subreaper",))]


@pytest.mark.parametrize(("further", "words", "expected"), FURTHER)
def test_intermediate_is_killed(binds, before, further, words, expected):
    """The helper does not outlive its bind(), even if somebody killed its parent."""
    call = further.partition(":")[0]
    injections = ["recvmsg:delay_enter=2s:when=1"]
    injections += [f"{further}:when={before[call] + 1}"] * bool(further)
    process = start(binds, *injections, words=words)
    support.wait_for(helpers_left, "the helper")
    (helper,) = helpers_left()
    os.kill(_parent(helper), signal.SIGKILL)
    out, log = finish(process)
    assert out == expected
    injected = [line for line in log.splitlines() if "(INJECTED)" in line]
    assert len(injected) == bool(further)
    assert all(call in line for line in injected)


@pytest.fixture
def subreaper():
    """Make this process a subreaper, which reaps no orphan by itself."""
    prctl.set_child_subreaper(True)
    yield
    prctl.set_child_subreaper(False)


def test_helper_is_never_reaped(binds, subreaper):
    """Without a pidfd a zombie looks alive: bind() waits for ten seconds, then refuses."""
    process = start(binds, "recvmsg:delay_enter=2s:when=1", "pidfd_open:error=EMFILE")
    support.wait_for(helpers_left, "the helper")
    (helper,) = helpers_left()
    os.kill(_parent(helper), signal.SIGKILL)
    ready, _, _ = select.select([process.stdout], [], [], support.PATIENCE_S)
    assert ready
    assert os.waitpid(helper, 0) == (helper, signal.SIGKILL)  # nobody else has reaped it
    out, log = finish(process)
    assert (out, log.count("(INJECTED)")) == (REFUSED, 1)


def test_socket_cannot_be_asked(binds):
    """If the helper died silently and getsockname(2) fails, bind() returns EACCES."""
    out, log = finish(start(binds, "recvmsg:signal=KILL", "getsockname:error=ENOBUFS:when=1"))
    assert (out, "getsockname" in log and "(INJECTED)" in log) == (REFUSED, True)


def test_program_is_killed(binds):
    """After a program is killed during a bind, its helper ends soon and the port is free."""
    process = start(binds, "recvmsg:delay_enter=1s:when=1")
    support.wait_for(helpers_left, "the helper")
    (helper,) = helpers_left()
    program = _parent(_parent(helper))
    os.kill(program, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=support.PATIENCE_S)
    support.wait_for(lambda: not helpers_left(), "the helper to end")
    assert process.returncode == -signal.SIGKILL
    with socket.socket() as sock:
        sock.bind(ADDRESS)  # by root, without SO_REUSEADDR


USELESS = {
    "missing": (None, 0),
    "not executable": (b"#!/bin/true\n", 0o644),
    "no program": (b"\x7fELF and nothing", 0o755),
    "empty": (b"", 0o755),
    "silent": (b"#!/bin/true\n", 0o755),
    "dies": (b"#!/bin/sh\nkill -SEGV $$\n", 0o755),
    "short reply": (answering(b"pybd"), 0o755),
    "reply of another version": (answering(reply(0, version=2)), 0o755),
}


@pytest.mark.parametrize("what", USELESS)
def test_helper_is_useless(binds, what):
    """Any other file in place of the helper gives EACCES, and nothing is left."""
    with other_helper(*USELESS[what]):
        program = [binds, "faulted", "0"]
        done = support.run(["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", *program])
    assert (done.returncode, done.stdout, done.stderr) == (0, REFUSED + "\n", "")


PORTS = pytest.mark.parametrize("port", ["8080", "80"], ids=["kernel", "helper"])


def run_delayed(binds, *words, delay):
    """Run the program with the library as UID; it must exit with 0. delay: of the closing."""
    log = support.scratch_dir() / "log"
    options = ["-f", "-o", str(log), "-E", f"LD_PRELOAD={support.LIBRARY}"]
    options += ["-e", f"inject=close_range:delay_enter={delay}:when=2"]
    done = subprocess.run(
        [*strace(*options), binds, *words],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/",
        timeout=support.PATIENCE_S,
    )  # fmt: skip
    text = log.read_text(errors="replace")
    assert done.returncode == 0, f"{done.stderr}{text[-3000:]}"
    assert "(DELAYED)" in text
    return text


@pytest.mark.hostile(66)
def test_closed_socket_is_bound_again(binds):
    """If a copy of a closed socket keeps a port busy, bind waits for the copy and tries again."""
    text = run_delayed(binds, "again", "8080", delay="40ms")
    assert "EADDRINUSE" in text and "FUTEX_WAIT_BITSET_PRIVATE" in text


@pytest.mark.hostile(66)
@PORTS
def test_forked_child_does_not_wait(binds, port):
    """A forked child inherits its parent's count of running binds, but does not wait for them."""
    text = run_delayed(binds, "forked", port, delay="300ms")
    calls = [line.split(None, 1) for line in text.splitlines()]
    begins = ("bind(", "<... bind resumed")  # strace splits a call that another call interrupts
    busy = next(pid for pid, call in calls if call.startswith(begins) and "EADDRINUSE" in call)
    helper = next(pid for pid, call in calls if "EADDRINUSE" in call)
    waits = [call for pid, call in calls if pid in (busy, helper) and call.startswith("futex(")]
    assert [call for call in waits if "WAIT_BITSET" in call] == []


@pytest.mark.hostile(66)
def test_wait_is_bounded(binds):
    """A bind that waits for a copy gives up after a tenth of a second, with the kernel's error."""
    assert "ETIMEDOUT" in run_delayed(binds, "held", "8080", delay="2s")


@pytest.mark.hostile(66)
def test_execve_and_binds_wait_for_each_other(binds):
    """An execve(2) waits for a running bind, and binds that begin later wait for the execve(2)."""
    mark = str(support.scratch_dir() / "mark")
    refusal = reply(_wire.REASON_NO_RULE, error=errno.EACCES)
    held = script(
        "import os, time",
        f"limit = time.monotonic() + {support.PATIENCE_S}",
        f"while not os.path.exists({mark!r}) and time.monotonic() < limit: time.sleep(0.01)",
        f"socket.socket(fileno=0).send({refusal!r})",
    )
    with other_helper(held):
        program = [binds, "executes", mark]
        done = support.run(["/usr/bin/env", f"LD_PRELOAD={support.LIBRARY}", *program])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
