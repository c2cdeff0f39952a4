# SPDX-License-Identifier: GPL-3.0-or-later
"""What -v says of one bind, in the form and the words of helpers/preload/report.c.

The texts stand in helpers/protocol.h, so that the two modes say the same.
"""

from __future__ import annotations

import errno
import os
import socket

from .. import _wire
from ..model import Address, Reply
from ..paths import CONFIG_DIR


def line(address: Address, text: str) -> str:
    """Return the line about a bind of `address`, without the name of the command."""
    family = "IPv4" if address.family == socket.AF_INET else "IPv6"
    return f"bind of port {_spec(address)} ({family}): {text}"


def of_reply(address: Address, reply: Reply) -> str:
    """Return the line about a bind that the helper answered."""
    if reply.reason == _wire.REASON_NO_RULE:
        return of_word(address, _wire.WORD_NO_GRANT)
    if reply.reason == _wire.REASON_KERNEL and reply.error == errno.EADDRINUSE:
        return of_word(address, _wire.WORD_BUSY)
    text = _wire.REASON_TEXTS.get(reply.reason, "unknown reason")
    if reply.name:
        text += f", {CONFIG_DIR}/{reply.name}"
    if reply.line:
        text += f" line {reply.line}"
    if reply.v4_half:
        text += " (the 0.0.0.0 half of ::)"
    error = reply.cause or (reply.error if reply.reason == _wire.REASON_KERNEL else 0)
    if error:
        text += f", errno {error} ({os.strerror(error)})"
    return line(address, text)


def of_word(address: Address, word: int) -> str:
    """Return the line about a bind for which protocol.h has a text; word: _wire.WORD_*."""
    text = _wire.WORD_TEXTS[word]
    if word in (_wire.WORD_PORT, _wire.WORD_PROTOCOL, _wire.WORD_ADDRESS):
        text += _spec(address)
    elif word == _wire.WORD_NO_GRANT:
        text += f"{os.getuid()} {_spec(address)}"
    elif word == _wire.WORD_BUSY:
        text += str(address.port)
    return line(address, text)


def _spec(address: Address) -> str:
    return f"{address.port}/{'udp' if address.udp else 'tcp'}"
