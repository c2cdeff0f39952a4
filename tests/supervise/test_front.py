# SPDX-License-Identifier: GPL-3.0-or-later
"""The front ends as the program does, daemons outlive it, and orphans are adopted.

The last tests start the front as the first process of a container: the kernel's rules for
such a process are others (pid_namespaces(7)).
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess

import launching
import pytest
import supervising
import support
from supervising import parent, started, under_pybind, wait_gone

pytestmark = pytest.mark.usefixtures("grant80")

EACCES = 13


def raw_status(argv):
    """Run argv as UID; return (wait status as of waitpid(2), stdout and stderr)."""
    process = support.as_user(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out, _ = process.communicate(timeout=support.PATIENCE_S)
    finally:
        process.kill()
        process.wait(support.PATIENCE_S)
    return process.returncode, out


SCRIPTS = ["exit 0", "exit 3", "exit 255", "kill -TERM $$", "kill -SEGV $$", "kill -KILL $$"]
SCRIPTS += ["kill -INT $$", "kill -PIPE $$", "kill -HUP $$", "kill -ABRT $$"]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("shell", ["static", "dynamic"])
def test_exit_status(script, shell):
    """The caller sees the program's own wait status, and no message of pybind."""
    command = {
        "static": [launching.need("busybox", "busybox-static"), "sh", "-c", script],
        "dynamic": ["/bin/sh", "-c", script],
    }[shell]
    mode = "auto" if shell == "static" else "supervise"
    assert raw_status(under_pybind(*command, mode=mode)) == raw_status(command)


@pytest.mark.parametrize("number", [32, 33])
def test_ended_by_a_signal_of_the_c_library(number):
    """A signal that glibc keeps for itself is the program's end, and the front's, all the same.

    Whoever started the tests may have left such a signal ignored, and glibc gives no way to
    undo that: then the program goes on to its end, with and without pybind.
    """
    command = ["/usr/bin/python3", "-c", f"import os; os.kill(os.getpid(), {number})"]
    masks = re.findall(r"Sig(?:Blk|Ign):\s*(\w+)", pathlib.Path("/proc/self/status").read_text())
    left = any(int(mask, 16) >> (number - 1) & 1 for mask in masks)
    expected = (0 if left else -number, b"")
    assert raw_status(under_pybind(*command, mode="supervise")) == expected
    assert raw_status(command) == expected


@pytest.mark.parametrize(("path", "status"), [("/nonexistent", 127), ("/etc/passwd", 126)])
def test_program_that_cannot_be_started(path, status):
    """The statuses 126 and 127 are those of the other modes."""
    result = support.run(under_pybind(path, mode="supervise"))
    assert (result.returncode, result.stdout) == (status, "")
    assert path in result.stderr


def test_names_of_the_processes(agent):
    """ps(1), top(1) and pstree(1) show pybind, not python3; ps(1) also the part and the program."""
    with started(under_pybind(agent)) as (front, talk):
        pid, supervisor, *_ = talk.ask("pid")
        for other, part in ((front.pid, "front"), (supervisor, "supervisor")):
            proc = pathlib.Path(f"/proc/{other}")
            support.wait_for(lambda: (proc / "comm").read_text() == "pybind\n", "the name")  # noqa: B023 # used at once
            shown = (proc / "cmdline").read_bytes().rstrip(b"\0").decode()
            assert shown == f"pybind: {part} of {agent}"[: len(shown)]
            assert len(shown) > len("pybind: supervisor of ")
        assert pathlib.Path(f"/proc/{pid}/comm").read_text() == f"{pathlib.Path(agent).name}\n"


def test_interpreter_that_is_missing():
    """If execve(2) fails after the filter was loaded, the status is 126 and no process is left."""
    broken = launching.build("agent.c", "-Wl,--dynamic-linker=/nonexistent/ld.so")
    result = support.run(under_pybind(broken, mode="supervise"))
    assert (result.returncode, result.stdout) == (126, "")
    assert f"cannot start '{broken}'" in result.stderr


@pytest.mark.hostile("R8")
def test_daemon(agent):
    """The front returns when the daemon's parent does; the daemon goes on binding."""
    with started(under_pybind(agent)) as (front, talk):
        daemon = talk.ask("daemon")
        assert front.wait(support.PATIENCE_S) == 0
        pid, supervisor, _, session = talk.ask("pid")
        assert pid == daemon
        assert session not in (daemon, front.pid)
        assert talk.ask("bind tcp 127.90.0.1 80") == 0
        assert talk.ask("bind tcp 127.90.0.1 81") == EACCES
        assert talk.ask("serve 0.0.0.0 80") == 0
        assert support.http_get().decode() == f"agent {daemon}"
        assert supervising.status_of(supervisor)
    wait_gone(daemon, supervisor)


def links(pid):
    """Return the targets of a process's descriptors and of its working directory."""
    folder = f"/proc/{pid}/fd"
    found = {os.readlink(f"/proc/{pid}/cwd")}
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile: the start may go on
            found.add(os.readlink(f"{folder}/{fd}"))
    return found


def test_front_and_supervisor_hold_nothing_of_the_programs(agent):
    """Front and supervisor keep no descriptor and no folder of the program open."""
    reading, writing = os.pipe()
    folder = support.scratch_dir()
    with started(under_pybind(agent), pass_fds=[writing], cwd=folder) as (front, talk):
        os.close(writing)
        pid, supervisor, *_ = talk.ask("pid")
        theirs = links(pid)
        assert {os.readlink(f"/proc/self/fd/{reading}"), os.fspath(folder)} <= theirs
        for other in (front.pid, supervisor):
            support.wait_for(
                lambda other=other: not theirs & links(other), f"{other} to hold nothing"
            )
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_orphans_are_adopted(agent):
    """An orphan becomes the supervisor's child, can still bind, and is reaped."""
    with started(under_pybind(agent)) as (_, talk):
        supervisor = parent(talk.pid())
        orphans = [talk.ask("orphan") for _ in range(5)]
        assert [parent(pid) for pid in orphans] == [supervisor] * 5
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        wait_gone(*orphans)
        assert talk.ask("bind tcp 127.90.0.1 80") == 0


def test_many_orphans_leave_no_zombie():
    """A thousand orphans that end at once are all reaped while the program goes on."""
    script = "i=0; while [ $i -lt 1000 ]; do (/bin/true &); i=$((i+1)); done; echo done; read x"
    argv = under_pybind("/bin/sh", "-c", script, mode="supervise")
    process = support.as_user(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        supervising.wait_line(process.stdout, 60)
        assert process.stdout.readline() == b"done\n"
        support.wait_for(
            lambda: not [1 for _, state in supervising.processes().values() if state[0] == "Z"],
            "the zombies to be reaped",
        )
    finally:
        process.stdin.close()
        process.stdout.close()
        supervising.end(process)


@pytest.mark.usefixtures("grant80")
def test_ps_tells_them_apart(agent):
    """In ps(1) the two processes beside the program have telling names."""
    with started(under_pybind(agent)) as (front, talk):
        for name, pid in (("front", front.pid), ("supervisor", parent(talk.pid()))):
            words = f"pybind: {name} of {agent}".encode()
            path = pathlib.Path(f"/proc/{pid}/cmdline")
            support.wait_for(lambda p=path, w=words: p.read_bytes().rstrip(b"\0") == w, words)


@pytest.mark.usefixtures("grant80")
def test_exit_status_after_very_many_stops(agent):
    """A front that was stopped many times still learns the program's exit status."""
    with started(under_pybind(agent)) as (front, talk):
        pid = talk.pid()
        os.kill(front.pid, signal.SIGSTOP)
        for _ in range(400):
            talk.tell(f"raise {signal.SIGSTOP.value}")
            support.wait_for(lambda: supervising.is_stopped(pid), "the program to stop")
            os.kill(pid, signal.SIGCONT)
            assert talk.hear() == 0
        talk.tell("exit 7")
        wait_gone(pid)
        os.kill(front.pid, signal.SIGCONT)
        assert front.wait(support.PATIENCE_S) == 7


def talking_container(agent):
    """Return a container's parent, and the agent (owned) that is its program."""
    container = supervising.in_container(
        *under_pybind(agent), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with container.stdin as stdin, container.stdout as stdout:
        return container, supervising.Agent(os.dup(stdin.fileno()), os.dup(stdout.fileno()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL], ids=str)
def test_program_that_dies_of_a_signal(number):
    """The container does not end as if all were well: no signal from inside ends its first process."""
    argv = under_pybind("/bin/sh", "-c", f"kill -{int(number)} $$", mode="supervise")
    container = supervising.in_container(*argv)
    try:
        assert container.wait(support.PATIENCE_S) == 128 + number
    finally:
        container.kill()
        container.wait()


@pytest.mark.parametrize("status", [0, 3, 255])
def test_exit_status_of_a_container(status):
    """The program's own exit status is the container's."""
    argv = under_pybind("/bin/sh", "-c", f"exit {status}", mode="supervise")
    container = supervising.in_container(*argv)
    try:
        assert container.wait(support.PATIENCE_S) == status
    finally:
        container.kill()
        container.wait()


def test_orphans_of_others_are_reaped(agent):
    """Who is started in the container from outside, and loses its parent, leaves no zombie."""
    container, talk = talking_container(agent)
    try:
        assert talk.ask("bind tcp 127.90.0.1 80") == 0
        front = supervising.only_child(container.pid)
        supervisor = supervising.only_child(front)
        enter = ["/usr/bin/nsenter", "--target", str(front), "--pid"]
        subprocess.run([*enter, "/bin/sh", "-c", "/bin/true & /bin/true & exit"], check=True)
        support.wait_for(lambda: supervising.children(front) == {supervisor}, "the orphans to go")
    finally:
        talk.close()
        assert container.wait(support.PATIENCE_S) == 0


def test_stop_from_outside(agent):
    """docker stop: SIGTERM from outside reaches the program, and the container ends by it."""
    container, talk = talking_container(agent)
    try:
        assert talk.ask("bind tcp 127.90.0.1 80") == 0
        os.kill(supervising.only_child(container.pid), signal.SIGTERM)
        assert container.wait(support.PATIENCE_S) == 128 + signal.SIGTERM
    finally:
        talk.close()
        container.wait(support.PATIENCE_S)
