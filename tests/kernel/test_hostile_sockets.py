# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets, addresses and ports of every kind: case 77."""

import ctypes
import errno
import functools
import os
import pathlib
import socket
import subprocess

import pytest
import support
from running import CLONE_NEWNET, USER, become, enter_network_namespace, run_in, take_places, worker
from support import flag, rules

IPPROTO_MPTCP, IPPROTO_UDPLITE, IPPROTO_SCTP = 262, 136, 132


def _grant(*lines, uid=support.UID):
    rules(f"byuser/{uid}", *(lines or ("any,80",)))


def _inherited(make):
    """Make a socket as root, then become USER; return a function that binds the socket."""
    global _SOCKET  # noqa: PLW0603 # the worker's own
    _SOCKET = make()
    become(USER)


def _bind_inherited(where):
    try:
        _SOCKET.bind(where)
    except OSError as error:
        return error.errno
    return 0


V4, V6 = ("127.0.0.1", 80), ("::1", 80)


def _socket_in_other_network():
    ours = os.open("/proc/self/ns/net", os.O_RDONLY)
    enter_network_namespace()
    made = socket.socket()
    ctypes.CDLL(None).setns(ours, CLONE_NEWNET)
    os.close(ours)
    return made


# (socket, address to bind, expected errno)
SOCKETS = {
    "tcp": (socket.socket, V4, 0),
    "udp": (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), V4, 0),
    "tcp6": (lambda: socket.socket(socket.AF_INET6), V6, 0),
    "mptcp": (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP), V4, 0),
    "mptcp6": (lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP), V6, 0),
    "udplite": (
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, IPPROTO_UDPLITE),
        V4,
        errno.EACCES,
    ),
    "sctp": (
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP),
        V4,
        errno.EACCES,
    ),
    # These families have no ports, so their bind(2) needs no privilege.
    "raw": (lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 6), V4, 0),
    "ping": (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1), V4, 0),
    "other-network": (_socket_in_other_network, ("0.0.0.0", 80), errno.EACCES),
    "mapped": (lambda: socket.socket(socket.AF_INET6), ("::ffff:127.0.0.1", 80), 0),
    "port-0": (socket.socket, ("127.0.0.1", 0), 0),
    "free-port": (socket.socket, ("127.0.0.1", 8080), 0),
}


@pytest.mark.parametrize("name", SOCKETS)
def test_case_77_sockets(daemon, name):
    """Only TCP, UDP and MPTCP are granted; an unprivileged port stays free for all."""
    make, where, expected = SOCKETS[name]
    flag("byport/80", mode=0o755)
    pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 4294967294")
    daemon.sync()
    try:
        if name != "other-network":
            make().close()
    except OSError as error:
        assert error.errno == errno.EPROTONOSUPPORT
        pytest.skip(f"this kernel has no sockets of this kind: {name}")
    with worker(daemon.cgroup, None, prepare=functools.partial(_inherited, make)) as made:
        error = made.call(_bind_inherited, where)
    assert error == expected


def test_case_77_wildcards(daemon, user):
    """:: needs both halves; a mapped address is judged as IPv4, never by an IPv6 rule."""
    _grant("::,80", "0.0.0.0,81", "::/0,82", "any,83", "127.0.0.1,84")
    daemon.sync()
    for address, port, granted in (
        ("::", 80, False),
        ("0.0.0.0", 80, False),
        ("::", 81, False),
        ("0.0.0.0", 81, True),
        ("::", 82, False),
        ("::1", 82, True),
        ("::ffff:127.0.0.1", 82, False),
        ("::", 83, True),
        ("::ffff:127.0.0.1", 84, True),
        ("::ffff:127.0.0.2", 84, False),
    ):
        assert user.may(address, port) == granted, (address, port)


def test_case_77_scope(daemon, user):
    """A link-local address with its scope is judged without it."""
    address = ["ip", "-6", "addr", "add", "fe80::77/64", "dev", "lo", "nodad"]
    subprocess.run(address, check=True)
    try:
        _grant("fe80::77,80")
        daemon.sync()
        index = socket.if_nametoindex("lo")
        assert user.call(_bind_scoped, ("fe80::77", 80, 0, index)) == 0
        assert user.call(_bind_scoped, ("fe80::77", 81, 0, index)) == errno.EACCES
    finally:
        subprocess.run(["ip", "-6", "addr", "del", "fe80::77/64", "dev", "lo"], check=True)


def _bind_scoped(where):
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(where)
        except OSError as error:
            return error.errno
    return 0


ODD = r"""
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
int main(void)
{
    struct sockaddr_in a = {.sin_family = AF_UNSPEC, .sin_port = htons(80)};
    struct sockaddr_storage s = {0};
    struct sockaddr_in6 six = {.sin6_family = AF_INET, .sin6_port = htons(80)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    printf("%d\n", bind(fd, (void *)&a, sizeof a) ? errno : 0);
    a.sin_family = AF_INET;
    memcpy(&s, &a, sizeof a);
    printf("%d\n", bind(fd, (void *)&s, sizeof s) ? errno : 0);
    printf("%d\n", bind(fd, (void *)&s, sizeof s) ? errno : 0);
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    printf("%d\n", bind(fd, (void *)&six, sizeof six) ? errno : 0);
}
"""


def test_case_77_odd_calls(daemon):
    """AF_UNSPEC is refused, a long address is granted, a bound socket keeps its address."""
    _grant()
    daemon.sync()
    program = support.compile_c(ODD)
    said = [int(word) for word in run_in(daemon.cgroup, [program]).split()]
    assert said == [errno.EACCES, 0, errno.EINVAL, errno.EAFNOSUPPORT]


def test_case_77_privileged_by_sysctl(daemon, user):
    """The files decide exactly about the ports that the sysctl makes privileged."""
    flag("byport/6667")
    settings = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    before = settings.read_text()
    daemon.sync()
    try:
        settings.write_text("10000")
        assert user.may("127.0.0.1", 6667)
        assert not user.may("127.0.0.1", 6668)
        settings.write_text("80")
        assert user.may("127.0.0.1", 80)
        assert not user.may("127.0.0.1", 79)
    finally:
        settings.write_text(before)


@pytest.mark.parametrize("places", ["free", "taken"])
def test_case_77_fails_and_tries_again(daemon, user, places):
    """A grant whose bind failed is not kept for the next bind of the socket or the thread."""
    _grant()
    flag("byport/83")
    daemon.sync()
    if places == "taken":
        take_places(daemon)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 80))
        holder.listen()
        assert user.call(_bind_twice, 80, 83) == [errno.EADDRINUSE, 0]
        line = f"granted uid={support.UID} tcp 127.0.0.1:83 by=byport/83"
        support.wait_for(lambda: line in daemon.log, line)
        assert user.call(_bind_twice, 80, 8080) == [errno.EADDRINUSE, 0]
        assert user.call(_bind_twice, 80, 81) == [errno.EADDRINUSE, errno.EACCES]
        assert user.bind("127.0.0.1", 83) == 0


def test_case_77_note_of_another_thread(daemon):
    """If a socket keeps another thread's note, the kernel leaves the bind to the helper.

    That thread's bind may still run, so nothing may take its note away.
    """
    _grant()
    flag("byport/83")
    daemon.sync()
    assert take_places(daemon, port=83) == errno.EACCES


def _bind_twice(*ports):
    found = []
    with socket.socket() as sock:
        for port in ports:
            try:
                sock.bind(("127.0.0.1", port))
                found.append(0)
            except OSError as error:
                found.append(error.errno)
    return found
