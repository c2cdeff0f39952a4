# SPDX-License-Identifier: GPL-3.0-or-later
"""A supervised program finds its process as without pybind, but for the limits of pybind(1).

The programs are those of tests/programs/test_transparency.py: src/launch.c sets up a
process, and src/world.c reports it.
"""

import itertools
import json
import os
import re
import signal
import subprocess

import pytest
import supervising
import support
from supervising import COMMON, build, under_pybind

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
    return build(COMMON / "world.c", "-static")


@pytest.fixture(scope="module")
def launch():
    """Return the program that sets up its process and executes another program."""
    return supervising.need_launch()


def report(launch, argv, changes):
    """Return the program's report as lines, in an order that closed descriptors do not change."""
    folder = support.scratch_dir()
    words = [os.fsdecode(word) for word in changes]
    process = support.as_user(
        [launch, *words, "--", *argv, "report"], cwd=folder, stdout=subprocess.DEVNULL
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
    """Return arguments of launch.c: the option and number of each signal."""
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

    with supervising.started([launch, *changes, "--", *under_pybind(agent)]) as (_, talk):
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
