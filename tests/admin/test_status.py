# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl status: granted ports, and who holds them."""

import contextlib
import os
import re
import socket
import subprocess

import ctl
import printed
import pytest
import support
from support import OTHER_UID, PYBIND, UID, flag, rules

from pybind import holders


@contextlib.contextmanager
def bound(family, kind, address, listen=True):
    """Hold a socket as root."""
    with socket.socket(family, kind) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if kind == socket.SOCK_STREAM and listen:
            sock.listen()
        yield sock


def grants(*args):
    """Return {(ports, protocol, addresses): grant} of the JSON answer."""
    answer = ctl.as_json("status", *args)
    return {
        ("-".join(map(str, dict.fromkeys(g["ports"]))), g["protocol"], g["addresses"]): g
        for g in answer["grants"]
    }


def test_nothing_granted():
    """Without grants, status says so with the command that grants."""
    assert "pybindctl grant" in ctl.done("status")
    assert grants() == {}


def test_nothing_granted_yet():
    """Status with nothing to show says how to grant a port."""
    command = printed.said(
        ctl.done("status"), "status.status_command: sudo pybindctl grant USER PORT"
    )
    printed.type_as_root(command.replace("USER", "nobody").replace("PORT", "80"))
    assert ctl.served("80")


def test_free():
    """Every granted port is listed as free, with its file and line."""
    flag("byport/80")
    flag("byaddr/127.0.0.1,53,udp")
    rules(f"byuser/{UID}", "# mine", "any,443/tcp", "192.0.2.0/24,8000-8010")
    rules(f"byuser/!{UID}", "any,600-2000/udp")
    found = grants()
    assert {key: grant["granted_by"] for key, grant in found.items()} == {
        ("80", "tcp", "any"): ["byport/80"],
        ("80", "udp", "any"): ["byport/80"],
        ("53", "udp", "127.0.0.1"): ["byaddr/127.0.0.1,53,udp"],
        ("443", "tcp", "any"): [f"byuser/{UID}:2"],
        ("8000-8010", "tcp", "192.0.2.0/24"): [f"byuser/{UID}:3"],
        ("8000-8010", "udp", "192.0.2.0/24"): [f"byuser/{UID}:3"],
        ("600-1023", "udp", "any"): [f"byuser/!{UID}:1"],
    }
    assert all(grant["free"] for grant in found.values())
    assert "held" not in ctl.done("status")


def test_held_by_a_users_server():
    """A held port shows the uid; only root sees the process."""
    flag("byport/80")
    argv = [PYBIND, "/usr/bin/python3", "-m", "http.server", "80"]
    with support.server(argv, ready=support.answers_http) as process:
        found = grants()[("80", "tcp", "any")]
        assert not found["free"]
        assert [(s["address"], s["uid"], s["user"]) for s in found["held"]] == [
            ("0.0.0.0", UID, "nobody")
        ]
        assert found["held"][0]["processes"] == [{"pid": process.pid, "name": "python3"}]
        assert grants()[("80", "udp", "any")]["free"]
        assert f"nobody, python3 ({process.pid})  @nogroup" in ctl.done("status")
        other = support.run([ctl.PYBINDCTL, "status"], uid=OTHER_UID, gid=OTHER_UID)
        assert other.returncode == 0
        assert "80/tcp  any      nobody   @nogroup" in other.stdout
        assert str(process.pid) not in other.stdout


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "::")],
)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_protocols_and_families(family, address, kind):
    """TCP, UDP, IPv4 and IPv6 sockets are found, with this process as the holder."""
    flag("byport/80")
    with bound(family, kind, (address, 80)):
        found = grants()
        mine, other = ("tcp", "udp") if kind == socket.SOCK_STREAM else ("udp", "tcp")
        assert found[("80", other, "any")]["free"]
        held = found[("80", mine, "any")]["held"]
        assert [(s["address"], s["port"]) for s in held] == [(address, 80)]
        assert [p["pid"] for p in held[0]["processes"]] == [os.getpid()]


def test_a_holder_that_closes_descriptors_is_seen(monkeypatch):
    """A process that closes one descriptor while it is looked at is still found by the others."""

    class Closing:
        def __getattr__(self, name):
            return getattr(os, name)

        def readlink(self, path):
            if path.endswith("/0"):
                raise FileNotFoundError(2, "closed meanwhile", path)
            return os.readlink(path)

    with bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 80)) as sock:
        inode = os.fstat(sock.fileno()).st_ino
        monkeypatch.setattr(holders, "posix", Closing())
        assert [one.pid for one in holders.processes([inode])[inode]] == [os.getpid()]


def test_ports_of_a_range():
    """A range is one row, with its held ports below."""
    rules(f"byuser/{UID}", "any,80-90/tcp")
    with (
        bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 82)),
        bound(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 82)),
        bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 90)),
    ):
        held = grants()[("80-90", "tcp", "any")]["held"]
        assert [(s["address"], s["port"]) for s in held] == [
            ("127.0.0.1", 82),
            ("::1", 82),
            ("127.0.0.1", 90),
        ]
        lines = ctl.done("status").splitlines()
        here = f"root, python3 ({os.getpid()})"
        assert [" ".join(line.split()) for line in lines[1:]] == [
            "80-90/tcp any 2 of 11 ports nobody",
            f"82/tcp {here} on 127.0.0.1; {here} on ::1",
            f"90/tcp {here} on 127.0.0.1",
        ]


@pytest.mark.parametrize(
    ("rule", "held", "free"),
    [
        ("127.0.0.1,80/tcp", "127.0.0.1", "127.0.0.2"),
        ("127.0.0.0/24,80/tcp", "127.0.0.9", "127.0.1.1"),
        ("127.0.0.2,80/tcp", "0.0.0.0", "127.0.0.1"),
        ("0.0.0.0,80/tcp", "127.0.0.1", None),
    ],
)
def test_addresses_that_meet(rule, held, free):
    """Only a socket that conflicts with the granted address counts; a wildcard always does."""
    rules(f"byuser/{UID}", rule)
    for address, expected in ((held, False), (free, True)):
        if address is not None:
            with bound(socket.AF_INET, socket.SOCK_STREAM, (address, 80)):
                assert [grant["free"] for grant in grants().values()] == [expected], address


def test_what_is_never_asked_is_not_shown():
    """A line for mapped addresses grants nothing: the helper judges them as IPv4."""
    rules(f"byuser/{UID}", "::ffff:192.0.2.1,80/tcp", "192.0.2.1,81/tcp")
    assert list(grants()) == [("81", "tcp", "192.0.2.1")]


def test_connections_are_not_holders():
    """Only a listening socket holds a port; an accepted connection does not."""
    flag("byport/80")
    listening = bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 80))
    with listening as sock, socket.create_connection(("127.0.0.1", 80)), sock.accept()[0]:
        assert len(grants()[("80", "tcp", "any")]["held"]) == 1


def test_broken_files_are_noted():
    """A note names a broken file, which grants nothing; the rest is shown."""
    flag("byport/80")
    rules(f"byuser/{UID}", "any,443", "rubbish")
    rules(f"byuser/{OTHER_UID}", "any,22", mode=0o666)
    process = ctl.pybindctl("status")
    assert process.returncode == 3
    assert f"error: refuses: /etc/pybind/byuser/{UID} line 2" in process.stderr
    assert f"error: refuses: /etc/pybind/byuser/{OTHER_UID}" in process.stderr
    assert len(process.stdout.splitlines()) == 2
    assert len(ctl.as_json("status", status=3)["refusing"]) == 2


def test_columns_on_a_terminal_with_colours():
    """Colours do not shift columns: each column begins where its head begins."""
    flag("byport/80", mode=0o755)
    rules(f"byuser/{UID}", "any,443/tcp")
    with bound(socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 443)):
        shown = subprocess.run(
            ["script", "-qec", f"{ctl.PYBINDCTL} status", "/dev/null"], capture_output=True,
            text=True, stdin=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm", "NO_COLOR": ""},
        ).stdout  # fmt: skip
    assert "\x1b[" in shown
    head, *rows = re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()
    assert [row[head.index("GRANTED TO") :] for row in rows] == ["everyone", "nobody"]
