# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines and branches that no test reaches, and why none can."""

from typing import NamedTuple

FUNCTION = -1


class Never(NamedTuple):
    """In FILE the line with this text; what: 0 the line itself, N its Nth branch for gcov.

    With FUNCTION the text is the name of one that is never called.
    """

    file: str
    text: str
    what: int
    why: str


TOO_LONG = "no name is that long: the longest, of an IPv6 address and port 65535, has 57 bytes"
NO_LIBC = "a build with counters always has libc: gcov's own code needs it"
COMPILER = "only the compiler may call it, for a large object set to nought; which one it decides"
LINE_FITS = "the longest line, with every detail and a name of 64 bytes, has 236 of 256 bytes"

HELPER = [
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

LIBRARY = [
    Never("bind.c", "if (dlsym)", 2, NO_LIBC),
    Never(
        "bind.c",
        "int none = 0, *errno_at = &__errno_location ? __errno_location() : &none, before = *errno_at;",
        2,
        NO_LIBC,
    ),
    Never("limits.c", "if (environment_read || !&environ || !environ)", 4, NO_LIBC),
    Never("memory.c", "memset", FUNCTION, COMPILER),
    Never("report.c", "while (*text && l->len < sizeof l->text)", 4, LINE_FITS),
    Never(
        "report.c",
        "for (size_t i = 0; i < PB_NAME_MAX && reply->name[i] && l.len < sizeof l.text; i++)",
        6,
        LINE_FITS,
    ),
]

NEVER = {"helper": HELPER, "library": LIBRARY}
