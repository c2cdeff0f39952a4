# SPDX-License-Identifier: GPL-3.0-or-later
"""The front as the first process of a container: kernel rules for it are others (pid_namespaces(7))."""

import os
import signal
import subprocess

import pytest
import supervising
import support
from supervising import under_pybind

pytestmark = pytest.mark.usefixtures("grant80")


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
def test_exit_status(status):
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
