# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of a port that nothing grants, that is busy, or whose address the host does not have.

The tests take the repair from the message, type it as root, and try again.
"""

import contextlib
import os
import pathlib
import re
import subprocess

import printed
import pytest
import support
from refusing import refused, repair
from support import CONFIG, UID, pybind, rules

GRANT = "explain._ungranted: sudo {command_to_grant}"
ME = f"nobody (uid {UID})"
HOLD = """
import socket, time
held = socket.create_server(("127.0.0.1", 8080))
print("held", flush=True)
time.sleep(600)
"""


def test_no_grant(marked):
    """No grant: the message says which port, for whom, and the command that grants it."""
    path, started = marked
    message = refused(
        pybind("--port", "80", path), f"{ME} may not bind port 80/tcp: nothing in /etc/pybind"
    )
    assert not started()
    repair(message, GRANT)
    assert (CONFIG / "byuser" / str(UID)).read_text() == "any,80/tcp\n"
    assert pybind("--port", "80", path).returncode == 0
    assert started()


@pytest.mark.parametrize(
    "spec", ["127.0.0.1:80/udp", "[::1]:443", "631", "[::ffff:127.0.0.1]:80", "[::]:80", "53/udp"]
)
def test_no_grant_repairs(spec):
    """The proposed command works for every form of --port."""
    repair(refused(pybind("--port", spec, "true"), "sudo pybindctl grant nobody"), GRANT)
    assert pybind("-q", "--port", spec, "true").returncode == 0


def test_repair_of_a_file_without_a_last_newline():
    """The proposed rule gets a line of its own."""
    rules(f"byuser/{UID}").write_text("any,443")
    repair(refused(pybind("--port", "80", "true"), "sudo pybindctl grant nobody"), GRANT)
    assert pybind("--port", "80", "--port", "443", "true").returncode == 0


@pytest.mark.parametrize("way", [[], ["--listen"], ["--check"]], ids=["start", "listen", "check"])
def test_all_refused_ports_in_one_command(grant80, way):
    """Every refused port is named, and one command grants them all."""
    ports = ["-p", "443", "-p", "80", "-p", "[::1]:631", "-p", "53/udp"]
    done = pybind(*way, *ports, "true")
    done.stdout = ""  # --check prints what is granted there
    message = refused(done, f"{ME} may not bind port 443/tcp, ",
                      "[::1]:631/tcp and 53/udp: nothing in /etc/pybind grants them")  # fmt: skip
    assert message.count("sudo ") == 1
    assert "sudo pybindctl grant nobody 443/tcp '[::1]:631/tcp' 53/udp" in message
    repair(message, GRANT)
    assert pybind("-q", *way, *ports, "true").returncode == 0


def test_refused_and_busy_ports_together(grant80):
    """One refusal names both the ports in use and the ports without a grant."""
    with contextlib.closing(support.socket.socket()) as listener:
        listener.bind(("127.0.0.1", 80))
        listener.listen()
        done = pybind("-p", "80", "-p", "443", "true")
    refused(done, f"{ME} may not bind port 443/tcp", "port 80/tcp is held by root (uid 0)")


@pytest.mark.parametrize("before", [None, "any,22\n", "any,22"])
def test_by_hand(before):
    """-v adds the repair without pybindctl. Where there is no pybindctl, every refusal has it."""
    if before is not None:
        rules(f"byuser/{UID}").write_text(before)
    assert "by hand" not in refused(pybind("-p", "80", "true"))
    message = refused(pybind("-v", "-p", "80", "-p", "631", "true"))
    by_hand = re.findall(r"without pybindctl: (sudo .*)", message)
    assert len(by_hand) == 2
    last = message.splitlines()[-1]
    assert printed.said(last, "explain._ungranted: sudo {command_by_hand}") == by_hand[1]
    tool = pathlib.Path(support.PREFIX + "/bin/pybindctl")
    moved = tool.rename(f"{tool}.aside")
    try:
        only = refused(pybind("-p", "80", "-p", "631", "true"))
        assert re.findall(r"by hand: (sudo .*)", only) == by_hand
        assert "pybindctl" not in only
    finally:
        moved.rename(tool)
    for command in by_hand:
        subprocess.run(command, shell=True, check=True)
    assert pybind("-p", "80", "-p", "631", "true").returncode == 0
    text = (CONFIG / "byuser" / str(UID)).read_text()
    assert text == ("" if before is None else "any,22\n") + "any,80/tcp\n" or before == "any,22"


def test_missing_half():
    """The message names the missing half of ::; for an optional half it is only a note."""
    rules(f"byuser/{UID}", "::/0,80")
    refused(pybind("--port", "[::]:80", "true"), "[::]:80/tcp", "other half, 0.0.0.0")
    rules(f"byuser/{UID}", "0.0.0.0/0,80")
    done = pybind("--port", "80", "true")
    assert done.returncode == 0
    assert "may not bind [::]:80/tcp: nothing" in done.stderr
    assert pybind("-q", "--port", "80", "true").stderr == ""


def test_busy_by_oneself(grant80, marked):
    """The caller's own process is named, and the proposed command closes the port."""
    path, started = marked
    holder = support.as_user(["/usr/bin/python3", "-c", HOLD], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        holder.stdout.close()
        words = f"port 8080/tcp is held by {ME}: python3 ({holder.pid})"
        said = refused(pybind("--port", "8080", path), words)
        assert not started()
        assert said.endswith(f"pybind: to close it: kill {holder.pid}\n")
        support.run(["sh", "-c", said.rpartition(": ")[2]])
        holder.wait(support.PATIENCE_S)
        assert pybind("--port", "8080", path).returncode == 0
    finally:
        holder.kill()
        holder.wait()


def test_busy(grant80, marked):
    """The message names the holder of a busy port; with --check it is only a note."""
    path, started = marked
    with support.server(["/usr/bin/socat", "TCP4-LISTEN:8081,bind=127.0.0.1", "-"]):
        pass
    listener = support.socket.socket()
    with contextlib.closing(listener):
        listener.bind(("127.0.0.1", 80))
        listener.listen()
        message = refused(pybind("--port", "80", path), "held by root (uid 0)")
        shown = printed.typed(message, "explain._busy: sudo ss -Hl...np sport = :...")
        assert f"pid={os.getpid()}," in shown
        assert not started()
        done = pybind("--check", "--port", "80", path)
        assert done.returncode == 0
        assert "note: 0.0.0.0:80/tcp is granted but busy now" in done.stderr
        assert pybind("--port", "127.0.0.2:80", path).returncode == 0


def test_busy_by_a_program_of_ones_own(grant80):
    """Who holds the port themselves is told which process, and what ends it."""
    argv = [support.PYBIND, "/usr/bin/python3", "-m", "http.server", "80"]
    with support.server(argv, ready=support.answers_http) as process:
        message = refused(pybind("--port", "80", "true"), f"({process.pid})")
        support.run(printed.said(message, "explain._busy: kill ...").split())
        process.wait(support.PATIENCE_S)
    assert pybind("--port", "80", "true").returncode == 0


def test_address_of_another_host(grant80):
    """An address that the host does not have gets another message than a missing grant."""
    message = refused(pybind("--port", "192.0.2.1:80", "true"), "this host has no such address")
    assert "127.0.0.1" in printed.typed(message, "explain._kernel: ip address")
