# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for the helper, which do what the helper itself never does."""

import contextlib
import pathlib
import struct

import support

from pybind import _wire


@contextlib.contextmanager
def other_helper(content, mode=0o755):
    """Replace the helper by a file with this content, or by nothing if content is None."""
    path = pathlib.Path(support.HELPER)
    kept = path.rename(path.with_name("kept"))
    try:
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
        yield
    finally:
        path.unlink(missing_ok=True)
        kept.rename(path)


def script(*lines):
    """Return a stand-in for the helper, written in Python."""
    return "\n".join(["#!/usr/bin/python3", "import socket", *lines, ""]).encode()


def answering(message):
    """Return a stand-in that answers every request with this message."""
    return script(f"socket.socket(fileno=0).send({message!r})")


def reply(reason, error=0, cause=0, line=0, flags=0, name=b"", **false):
    """Return the bytes of a reply; `false` may replace its magic or version."""
    head = (false.get("magic", _wire.MAGIC), false.get("version", _wire.VERSION), reason)
    return struct.pack(_wire.REPLY_FORMAT, *head, error, cause, line, 0, flags, name)
