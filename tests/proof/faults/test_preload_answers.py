# SPDX-License-Identifier: GPL-3.0-or-later
"""The library's reaction to an answer: errno, and a line with PYBIND_VERBOSE=1.

A stand-in for the helper gives the answers; nothing is granted here.
"""

import errno
import os
import re

import pytest
import support
from faulting import answering, other_helper, reply, script

from pybind import _wire as w

BIND = """
import os, socket, sys
host, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
real = socket.AF_INET6 if "false family" in sys.argv else family
sock = socket.socket(family, fileno=socket.socket(real).detach())
if number not in (-1, sock.fileno()):
    os.dup2(sock.fileno(), number)
    first, sock = sock, socket.socket(fileno=number)
try:
    sock.bind((host, port))
    status = 0
except OSError as error:
    status = error.errno
sys.exit(status)
"""
IPV4, IPV6 = "127.80.0.1", "::1"
DIED = "the helper died before it answered"


def bind(host=IPV4, port=80, number=-1, preload=support.LIBRARY, words=()):
    """Bind a socket at descriptor NUMBER; return (errno or 0, output of the library)."""
    environment = [f"LD_PRELOAD={preload}", "PYBIND_VERBOSE=1"]
    program = ["/usr/bin/python3", "-c", BIND, host, str(port), str(number), *words]
    done = support.run([*environment, *program])
    return done.returncode, done.stderr


def line(text, family="IPv4", port=80):
    """Return the line that the library writes."""
    return f"pybind: bind of port {port}/tcp ({family}): {text}\n"


def told(number):
    """Return the words of an error."""
    return f", errno {int(number)} ({os.strerror(number)})"


@pytest.mark.parametrize("reason", [*w.REASON_TEXTS, max(w.REASON_TEXTS) + 1, 65535])
def test_each_reason(reason):
    """The words are those of protocol.h, even for a reason that this library does not know."""
    text = w.REASON_TEXTS.get(reason, "unknown reason")
    if reason == w.REASON_NO_RULE:
        text = f"{w.WORD_TEXTS[w.WORD_NO_GRANT]}{support.UID} 80/tcp"
    with other_helper(answering(reply(reason, errno.EACCES))):
        assert bind() == (errno.EACCES, line(text))


LONGEST = b"byaddr/" + b"x" * (w.NAME_MAX - 7)
DETAILS = {
    "name": ({"name": b"byport/80"}, ", /etc/pybind/byport/80"),
    "longest name": ({"name": LONGEST}, f", /etc/pybind/{LONGEST.decode()}"),
    "line": ({"line": 7}, " line 7"),
    "largest line": ({"line": 2**32 - 1}, " line 4294967295"),
    "half": ({"flags": w.FLAG_V4_HALF}, " (the 0.0.0.0 half of ::)"),
    "other flags": ({"flags": 0xFFFF & ~w.FLAG_V4_HALF}, ""),
    "cause": ({"cause": errno.ELOOP}, f", errno {int(errno.ELOOP)}"),
    "all": (
        {"name": b"byuser/7", "line": 10, "flags": w.FLAG_V4_HALF, "cause": 2},
        ", /etc/pybind/byuser/7 line 10 (the 0.0.0.0 half of ::)" + told(errno.ENOENT),
    ),
}


@pytest.mark.parametrize("what", DETAILS)
@pytest.mark.parametrize(("host", "family"), [(IPV4, "IPv4"), (IPV6, "IPv6")])
def test_details(what, host, family):
    """The line has file, line, half and cause if the answer has them."""
    fields, expected = DETAILS[what]
    with other_helper(answering(reply(w.REASON_RULES_BROKEN, errno.EACCES, **fields))):
        text = w.REASON_TEXTS[w.REASON_RULES_BROKEN] + expected
        assert bind(host) == (errno.EACCES, line(text, family))


def test_busy():
    """For a busy port the line has a command that shows the holder."""
    with other_helper(answering(reply(w.REASON_KERNEL, errno.EADDRINUSE, errno.EADDRINUSE))):
        assert bind() == (errno.EADDRINUSE, line(w.WORD_TEXTS[w.WORD_BUSY] + "80"))


@pytest.mark.parametrize("error", [errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM])
def test_other_errors_of_the_kernel(error):
    """Other errors are told by number and text, as by the supervisor."""
    with other_helper(answering(reply(w.REASON_KERNEL, error, error))):
        text = w.REASON_TEXTS[w.REASON_KERNEL] + told(error)
        assert bind() == (error, line(text))


@pytest.mark.parametrize(
    "error", [0, errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EINVAL, errno.EACCES]
)
def test_errno_of_the_answer(error):
    """The program's bind gets the errno of the helper's bind(2)."""
    with other_helper(answering(reply(w.REASON_KERNEL, error, error))):
        assert bind()[0] == error


OTHER_VERSION = reply(w.REASON_VERSION, version=w.VERSION + 1)
VERSION = w.REASON_TEXTS[w.REASON_VERSION]
GRANTED = reply(w.REASON_GRANTED)
MESSAGES = {
    "version, 8 bytes": (OTHER_VERSION[:8], VERSION),
    "version, in the place of success": (OTHER_VERSION, VERSION),
    "version, longer than ours": (OTHER_VERSION + bytes(1000), VERSION),
    "version, 7 bytes": (OTHER_VERSION[:7], DIED),
    "version, no magic": (reply(w.REASON_VERSION, magic=1)[:8], DIED),
    "empty": (b"", DIED),
    "only magic": (GRANTED[:4], DIED),
    "8 bytes": (GRANTED[:8], DIED),
    "a byte short": (GRANTED[:-1], DIED),
    "no magic": (reply(w.REASON_GRANTED, magic=w.MAGIC ^ 1), DIED),
    "other version": (reply(w.REASON_GRANTED, version=w.VERSION + 1), DIED),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_message_that_is_no_answer(what):
    """Only a whole answer of this version can mean success; any other message is EACCES."""
    message, text = MESSAGES[what]
    with other_helper(answering(message)):
        assert bind() == (errno.EACCES, line(text))


def test_helper_that_cannot_start():
    """The line names the helper's path and the error of its execve(2)."""
    with other_helper(b"#!/bin/true\n", 0o644):
        text = f"cannot start {support.HELPER}{told(errno.EACCES)}"
        assert bind() == (errno.EACCES, line(text))
    with other_helper(None, 0):
        assert bind() == (errno.EACCES, line(w.WORD_TEXTS[w.WORD_NO_HELPER]))


@pytest.mark.parametrize("number", [0, 1, 3, 4, 100])
def test_line_with_the_socket_at(grant80, number):
    """Descriptor 2 gets the line and the socket is bound, whatever the socket's number is."""
    assert bind(number=number) == (0, line("granted, /etc/pybind/byport/80"))


def test_socket_at_descriptor_two(grant80):
    """If descriptor 2 is the socket itself, the socket is bound and no line is written."""
    assert bind(number=2) == (0, "")


DENIES = """
#include <errno.h>
int bind(void) { errno = EACCES; return -1; }
"""
# A stand-in has no capability, so it binds an unprivileged port, refused to the program.
PORT, OTHER_PORT = 8080, 8081
BOUND_UNHEARD = {
    "as asked": (IPV4, f"{IPV4} {PORT}", 0),
    "IPv6, as asked": (IPV6, f"{IPV6} {PORT}", 0),
    "not": (IPV4, "", errno.EACCES),
    "IPv6, not": (IPV6, "", errno.EACCES),
    "to another port": (IPV4, f"{IPV4} {OTHER_PORT}", errno.EACCES),
    "to another address": (IPV4, f"127.80.0.2 {PORT}", errno.EACCES),
    "IPv6, to another address": (IPV6, f":: {PORT}", errno.EACCES),
}


@pytest.fixture(scope="module")
def denied():
    """Return an LD_PRELOAD in which another library first refuses every bind."""
    return f"{support.LIBRARY}:{support.compile_c(DENIES, '-shared', '-fPIC', name='denies.so')}"


@pytest.mark.parametrize("what", BOUND_UNHEARD)
def test_helper_that_dies_unheard(denied, what):
    """If the helper dies, only a socket that is bound to the wanted address is success."""
    host, bound, expected = BOUND_UNHEARD[what]
    family = "AF_INET6" if ":" in host else "AF_INET"
    address, _, port = bound.partition(" ")
    binds = [f"socket.socket(socket.{family}, fileno=3).bind(({address!r}, {port}))"] * bool(bound)
    with other_helper(script(*binds)):
        found, written = bind(host, PORT, preload=denied)
    assert (found, re.sub(" .IPv[46].", "", written)) == (
        expected, f"pybind: bind of port {PORT}/tcp: {DIED}\n"
    )  # fmt: skip


def test_helper_that_dies_with_a_socket_of_another_family(denied):
    """A bound IPv6 socket is no success for an IPv4 address, although its bytes look alike."""
    binds = f"socket.socket(socket.AF_INET6, fileno=3).bind(({IPV6!r}, {PORT}))"
    with other_helper(script(binds)):
        found = bind("0.0.0.0", PORT, preload=denied, words=["false family"])
    assert found == (errno.EACCES, line(DIED, port=PORT))
