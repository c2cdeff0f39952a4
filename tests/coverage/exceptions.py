# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines and branches of the helper that no test reaches, and why none can."""

from typing import NamedTuple


class Never(NamedTuple):
    """In FILE the line with this text; what: 0 the line itself, N its Nth branch for gcov."""

    file: str
    text: str
    what: int
    why: str


TOO_LONG = "no name is that long: the longest, of an IPv6 address and port 65535, has 57 bytes"

NEVER = [
    Never("names.c", "if (n->len + len >= sizeof n->text)", 1, TOO_LONG),
    Never(
        "names.c",
        "_exit(1); /* a name that does not fit would be a bug, never a grant */",
        0,
        TOO_LONG,
    ),
    Never(
        "socket.c",
        "return getsockopt(fd, SOL_SOCKET, option, value, &got) == 0 && got == len;",
        4,
        "Linux gives an int for these options and 8 bytes for the cookie",
    ),
]
