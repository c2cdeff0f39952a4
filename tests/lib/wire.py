# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper's messages for tests: a dict -> the bytes of a request, a reply -> a dict.

pybind/helper.py has an encoder too, but tests must also send malformed requests.
"""

import socket
import struct

from pybind import _wire

REPLY_LEN = struct.calcsize(_wire.REPLY_FORMAT)
FIELDS = ("magic", "version", "reason", "error", "cause", "line", "fault", "flags", "name")


def encode(request):
    """Return the bytes of a request: its `raw` bytes unchanged, or its encoded fields."""
    if "raw" in request:
        return request["raw"]
    family = request.get("family", socket.AF_INET)
    addr = request.get("addr", "0.0.0.0" if family == socket.AF_INET else "::")
    return struct.pack(
        _wire.REQUEST_FORMAT,
        request.get("magic", _wire.MAGIC),
        request.get("version", _wire.VERSION),
        request.get("op", _wire.OP_CHECK),
        family,
        request.get("protocol", 6 if request.get("op") != _wire.OP_BIND else 0),
        socket.htons(request.get("port", 80)),
        0,
        0,
        request.get("scope", 0),
        socket.inet_pton(family if family in (2, 10) else 2, addr),
    )


def decode(data):
    """Return the fields of a reply, with its length as `len` and its trace as `steps`."""
    answer = dict(zip(FIELDS, struct.unpack_from(_wire.REPLY_FORMAT, data)))
    answer["name"] = answer["name"].rstrip(b"\0").decode()
    answer["len"] = len(data)
    answer["steps"] = []
    if len(data) > REPLY_LEN:
        (count,) = struct.unpack_from("=I", data, REPLY_LEN)
        size = struct.calcsize(_wire.STEP_FORMAT)
        for at in range(count):
            result, half, line, name = struct.unpack_from(
                _wire.STEP_FORMAT, data, REPLY_LEN + 4 + at * size
            )
            answer["steps"].append((name.rstrip(b"\0").decode(), result, half, line))
    return answer
