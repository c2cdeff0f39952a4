# SPDX-License-Identifier: GPL-3.0-or-later
"""What -v says of one bind of a supervised program."""

import errno
import os
import socket

from pybind import _wire
from pybind.model import Address, Reply
from pybind.paths import CONFIG_DIR
from pybind.supervise import words

TCP = Address(socket.AF_INET, bytes(4), 0, 81, udp=False)
UDP = Address(socket.AF_INET6, bytes(16), 0, 53, udp=True)


def reply(reason, error=0, cause=0, line=0, v4_half=False, name=""):
    return Reply(reason, error, cause, line, 0, True, v4_half, False, name, ())


def test_granted():
    """The port, its protocol and family, and the file and line that grant."""
    told, *_ = words.of_reply(TCP, reply(_wire.REASON_GRANTED, line=3, name="byuser/1000"))
    assert told == f"bind of port 81/tcp (IPv4): granted, {CONFIG_DIR}/byuser/1000 line 3"


def test_refused():
    """The line has the reason, the file, the refused half of :: and the error behind it."""
    told , *_ = words.of_reply(UDP, reply(_wire.REASON_FLAG_ERROR, cause=errno.EACCES, v4_half=True,
                                     name="byport/53"))  # fmt: skip
    assert told == (
        "bind of port 53/udp (IPv6): permission file could not be examined, "
        f"{CONFIG_DIR}/byport/53 (the 0.0.0.0 half of ::), errno 13 (Permission denied)"
    )


def test_what_is_to_be_typed():
    """The lines for no grant, a busy port and an unlisted port end with what helps."""
    no_rule, *_ = words.of_reply(TCP, reply(_wire.REASON_NO_RULE, errno.EACCES))
    assert no_rule.endswith(f": sudo pybindctl grant {os.getuid()} 81/tcp")
    busy, *_ = words.of_reply(UDP, reply(_wire.REASON_KERNEL, errno.EADDRINUSE))
    assert busy.endswith("the port is in use; to see by whom: sudo ss -Hltunp sport = :53")
    for word in (_wire.WORD_PORT, _wire.WORD_PROTOCOL, _wire.WORD_ADDRESS):
        assert words.of_word(UDP, word).endswith(": --port 53/udp")
    for word in (_wire.WORD_NO_NEW_PRIVS, _wire.WORD_USER_NAMESPACE):
        assert words.of_word(UDP, word).endswith(": pybind --mode supervise")
    filtered = words.of_word(UDP, _wire.WORD_SECCOMP)
    assert filtered.endswith("; start the program where that filter is not")


def test_another_error_of_the_kernel():
    """Any other error of bind(2) is named by number and text."""
    told, *_ = words.of_reply(TCP, reply(_wire.REASON_KERNEL, errno.EADDRNOTAVAIL))
    assert told.endswith("itself failed, errno 99 (Cannot assign requested address)")
