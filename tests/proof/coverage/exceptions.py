# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines and branches that no test reaches, and why none can."""

from typing import NamedTuple

FUNCTION = -1


class Never(NamedTuple):
    """A line of FILE, known by its text. what: 0 for the line itself, N for its Nth branch.

    If what is FUNCTION, the text is the name of a function that is never called.
    """

    file: str
    text: str
    what: int
    why: str


TOO_LONG = "no name is that long: the longest, of an IPv6 address and port 65535, has 57 bytes"
NO_LIBC = "a build with counters always has libc: gcov's own code needs it"
LINE_FITS = "the longest line, with every detail and a name of 64 bytes, fits into 320 bytes"
RETRIES = "five binds in a row that each meet the copies of another thread's"
INTERRUPTED = "the count changes, or a signal comes, within the microsecond before futex(2) sleeps"
EXECUTING = "a handler of a thread that is executing, or a second thread that is"
SLOW_EXECVE = "an execve(2) that itself takes longer than six seconds: a file system that hangs"
OTHER_DEVICE = "a file with the inode number of what it replaces, on another device"
GIVEN_UP = "a bind that others gave up as too slow, and that goes on afterwards"
FORKED = "a child that is forked within another thread's execve(2), and whose counters are not lost"
BY_CHANCE = {
    RETRIES,
    INTERRUPTED,
    EXECUTING,
    FORKED,
    SLOW_EXECVE,
    GIVEN_UP,
}  # may be reached by chance: the kernel chooses when threads run

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
    *(
        Never(
            "bind.c",
            f"}} while (error == EADDRINUSE && progress_had_copies(mark, {own}) && tries-- > 0);",
            6,
            RETRIES,
        )
        for own in (0, 1)
    ),
    Never(
        "bind.c",
        "int none = 0, *errno_at = &__errno_location ? __errno_location() : &none, before = *errno_at;",
        2,
        NO_LIBC,
    ),
    Never(
        "preload.h",
        "return dlsym ? dlsym((void *)-1L, name) : libc_symbol(name); /* RTLD_NEXT, dlsym(3) */",
        2,
        NO_LIBC,
    ),
    Never("exec.c", "libc_symbol", FUNCTION, "of glibc before 2.34, in a program without libdl"),
    Never("exec.c", "if (&__errno_location)", 2, NO_LIBC),
    Never("privileges.c", "if (&__errno_location)", 2, NO_LIBC),
    Never("limits.c", "if (environment_read || !&environ || !environ)", 4, NO_LIBC),
    *(
        Never(
            "progress.c", "(woken == 0 || woken == -EAGAIN || woken == -EINTR))", what, INTERRUPTED
        )
        for what in (2, 3)
    ),
    Never(
        "progress.c",
        "if (tid == 0 || tid == raw(SYS_gettid, 0) || i == BINDS_OVER_MS ||",
        4,
        EXECUTING,
    ),
    Never(
        "progress.c",
        "if (tid == 0 || tid == raw(SYS_gettid, 0) || i == BINDS_OVER_MS ||",
        6,
        SLOW_EXECVE,
    ),
    Never(
        "progress.c",
        "if (tid == 0 || tid == raw(SYS_gettid, 0) || i == BINDS_OVER_MS ||",
        7,
        FORKED,
    ),
    Never(
        "progress.c",
        "__atomic_compare_exchange_n(&executing, &none, (int)raw(SYS_gettid, 0), false,",
        2,
        EXECUTING,
    ),
    Never(
        "progress.c",
        "if (__atomic_exchange_n(&bind->holds_copies, 0, __ATOMIC_ACQ_REL) &&",
        4,
        GIVEN_UP,
    ),
    Never("progress.c", "if (bind->epoch == get(&epoch))", 2, GIVEN_UP),
    Never("report.c", "now.stx_dev_major == stderr_was.stx_dev_major &&", 4, OTHER_DEVICE),
    Never("report.c", "now.stx_dev_minor == stderr_was.stx_dev_minor;", 2, OTHER_DEVICE),
    Never("report.c", "switch (reason) {", 21, "that no file grants it is said in other words"),
    Never(
        "report.c",
        "return len > 0 && memcmp(name, FIRST_USER_NAMESPACE, sizeof name) != 0;",
        2,
        "asked only after a refusal that a system without /proc does not give",
    ),
    Never(
        "report.c",
        "return usual && apart && in_user_namespace() ? PB_WORD_USER_NAMESPACE : 0;",
        4,
        "a process could be made for the helper, and the next one not",
    ),
    Never(
        "report.c",
        "for (size_t i = 0; i < PB_NAME_MAX && reply->name[i] && l->len < sizeof l->text; i++)",
        6,
        LINE_FITS,
    ),
    Never("report.c", "while (*text && l->len < sizeof l->text)", 4, LINE_FITS),
    Never("report.c", "if (l->len == sizeof l->text)", 1, LINE_FITS),
    Never("report.c", "l->len--;", 0, LINE_FITS),
]

NEVER = {"helper": HELPER, "library": LIBRARY}
