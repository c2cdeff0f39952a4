# SPDX-License-Identifier: GPL-3.0-or-later
"""The one list of the deliberate differences between pybind's judgement and authbind's.

pybind.5 shows the list, and tests/proof/compat allows no other difference. Each
predicate looks only at the file that decides: a wide excuse would hide a fault of
the helper.

Two differences of the manual are missing here, because no question to the two helpers
shows them. One is the address lengths that bind(2) accepts, which the preload library
checks. The other is user names as file names, which neither helper reads.
"""

from typing import Callable, List, NamedTuple

from reference import Decision, Files, Request, flag_names, is_mapped, judge

GRANTS = "grants more"
REFUSES = "refuses more"
RESULT = "binds more"  # both grant, but bind(2) succeeds only for pybind
ERRNO = "other errno"  # both refuse

LAST_RESERVED = 1023


class Case(NamedTuple):
    """One request, with the decision of the documented rules."""

    files: Files
    request: Request
    own: Decision  # for the address itself
    half: Decision  # for 0.0.0.0 if the address is ::, else the same as `own`

    @property
    def granted(self) -> bool:
        """Tell whether pybind has to grant the request."""
        return self.own.granted and self.half.granted


class Difference(NamedTuple):
    """A named excuse; applies(case) tells whether the case falls under it."""

    identifier: str
    direction: str
    text: str
    applies: Callable[[Case], bool]


def make_case(files: Files, request: Request) -> Case:
    """Judge a request by the documented rules."""
    return Case(files, request, *judge(files, request))


def _protocol_file(case: Case, granted: bool) -> bool:
    suffixed = case.own.name.endswith((",tcp", ",udp"))
    return case.own.why in ("flag", "flag-kind") and suffixed and case.own.granted == granted


def _user_file(case: Case, why: str) -> bool:
    """Tell whether the caller's byuser file decides, and refuses for this reason."""
    return case.own.why == why and case.own.name.startswith("byuser/")


def _unreadable(case: Case) -> bool:
    return _user_file(case, "unreadable") or _user_file(case, "unreachable")


def _broken(fault: str) -> Callable[[Case], bool]:
    return lambda case: _user_file(case, "broken") and fault in case.own.faults


def _extension(name: str) -> Callable[[Case], bool]:
    """Return a predicate: authbind can read no covering line, and one uses this extension."""

    def applies(case: Case) -> bool:
        rules = case.own.rules
        return (
            case.granted
            and case.own.name.startswith("byuser/")
            and all(rule.extensions for rule in rules)
            and any(name in rule.extensions for rule in rules)
        )

    return applies


def _mapped(case: Case, granted: bool) -> bool:
    """Tell whether a mapped address is judged by a file whose answer depends on the address."""
    before = case.own.why in ("folder", "missing") or case.own.name.startswith("byport/")
    return is_mapped(case.request) and not before and case.granted == granted


def _high_bang_file(case: Case) -> bool:
    request = case.request
    names = [*flag_names(request, "!"), f"byuser/!{request.caller.uid}"]
    exists = any(name in case.files for name in names)
    return request.port > LAST_RESERVED and not case.granted and exists


DIFFERENCES: List[Difference] = [
    Difference(
        "refusal-errno",
        ERRNO,
        "A refusal is always EACCES, where authbind answers EPERM, ENOENT or EACCES by the "
        "step that refused.",
        lambda case: not case.granted,
    ),
    Difference(
        "scope-id",
        RESULT,
        "The scope id of an IPv6 address reaches bind(2), so that link-local addresses can be "
        "bound.",
        lambda case: case.request.scope != 0 and case.granted,
    ),
    Difference(
        "mapped-granted",
        GRANTS,
        "An IPv4-mapped IPv6 address is judged as the IPv4 address that it takes, so an entry "
        "for that grants it.",
        lambda case: _mapped(case, granted=True),
    ),
    Difference(
        "mapped-refused",
        REFUSES,
        "An IPv4-mapped IPv6 address is judged as the IPv4 address that it takes, so no IPv6 "
        "entry grants it.",
        lambda case: _mapped(case, granted=False),
    ),
    Difference(
        "wildcard-needs-both",
        REFUSES,
        "The address :: is refused unless 0.0.0.0 is granted too, whatever IPV6_V6ONLY says.",
        lambda case: case.own.granted and not case.half.granted,
    ),
    Difference(
        "folder-unsafe",
        REFUSES,
        "Everything is refused while the permission directory, a folder above it or one of its "
        "four folders is not a real directory of root's that nobody else can write.",
        lambda case: case.own.why in ("folder", "missing"),
    ),
    Difference(
        "flag-not-regular",
        REFUSES,
        "A byport or byaddr entry that is a symbolic link, a directory or anything but a "
        "regular file refuses.",
        lambda case: case.own.why == "flag-kind",
    ),
    Difference(
        "rules-unsafe",
        REFUSES,
        "A rule file that is a symbolic link, not root's, or writable by others refuses.",
        lambda case: _user_file(case, "unsafe"),
    ),
    Difference(
        "rules-unreadable",
        REFUSES,
        "A rule file that the user it names cannot read refuses: the helper has no right over "
        "files.",
        _unreadable,
    ),
    Difference(
        "rules-too-big",
        REFUSES,
        "A rule file larger than 1 MiB refuses.",
        lambda case: _user_file(case, "too-big"),
    ),
    Difference(
        "line-too-long",
        REFUSES,
        "A line longer than 255 bytes, a comment too, makes the whole rule file refuse.",
        _broken("too-long"),
    ),
    Difference(
        "line-byte",
        REFUSES,
        "A NUL, a carriage return or another control byte, or a non-ASCII byte outside a "
        "comment, makes the whole rule file refuse.",
        _broken("byte"),
    ),
    Difference(
        "line-number",
        REFUSES,
        "A port above 65535 or a prefix longer than the address makes the whole rule file refuse.",
        _broken("number"),
    ),
    Difference(
        "line-host-bits",
        REFUSES,
        "An address with bits set beyond its prefix length makes the whole rule file refuse.",
        _broken("host-bits"),
    ),
    Difference(
        "line-order",
        REFUSES,
        "A range of addresses or ports whose minimum is above its maximum, or of two address "
        "families, makes the whole rule file refuse.",
        _broken("order"),
    ),
    Difference(
        "line-syntax",
        REFUSES,
        "A line of no documented form (numbers with a sign or leading zeros and blanks at "
        "other places included) makes the whole rule file refuse, instead of being skipped or "
        "guessed at.",
        _broken("syntax"),
    ),
    Difference(
        "high-port-plain-name",
        GRANTS,
        "From port 1024 on, file names carry no '!', so an entry without it grants.",
        lambda case: case.request.port > LAST_RESERVED and case.granted,
    ),
    Difference(
        "high-port-bang-name",
        REFUSES,
        "From port 1024 on, an entry whose name has a '!' does not count.",
        _high_bang_file,
    ),
    Difference(
        "protocol-file-grants",
        GRANTS,
        "A byport or byaddr file whose name ends in ,tcp or ,udp grants that protocol.",
        lambda case: _protocol_file(case, granted=True),
    ),
    Difference(
        "protocol-file-refuses",
        REFUSES,
        "A byport or byaddr file whose name ends in ,tcp or ,udp decides for that protocol, "
        "before the file without.",
        lambda case: _protocol_file(case, granted=False),
    ),
    Difference(
        "line-protocol",
        GRANTS,
        "A rule line may end in /tcp or /udp.",
        _extension("protocol"),
    ),
    Difference("line-any", GRANTS, "`any` stands for 0.0.0.0/0 and ::/0.", _extension("any")),
    Difference(
        "line-comment", GRANTS, "A comment may follow a rule on its line.", _extension("comment")
    ),
    Difference(
        "bygroup",
        GRANTS,
        "Where the user's file grants nothing, the files of their groups may.",
        lambda case: case.granted and case.own.name.startswith("bygroup/"),
    ),
]


def explanations(case: Case, direction: str) -> List[str]:
    """Return the identifiers of the differences that excuse this case."""
    return [d.identifier for d in DIFFERENCES if d.direction == direction and d.applies(case)]


class KernelDifference(NamedTuple):
    """A named difference of pybindd's table from the helper; pybindd.8 shows the list."""

    identifier: str
    direction: str
    text: str


# Differences that grant more cannot be compared in one case; each has a test of its own.
KERNEL_DIFFERENCES: List[KernelDifference] = [
    KernelDifference(
        "kernel-left",
        REFUSES,
        "A file or folder that the table cannot hold exactly grants nothing in the kernel.",
    ),
    KernelDifference(
        "kernel-others",
        REFUSES,
        "In a user namespace that is not pybindd's, what a flag file's mode gives to all others "
        "does not count, nor does a group where the list refuses a user by name.",
    ),
    KernelDifference(
        "kernel-user-namespace",
        GRANTS,
        "A user is the same user inside a user namespace of theirs.",
    ),
    KernelDifference(
        "kernel-own-mounts",
        GRANTS,
        "The /etc/pybind of pybindd's mount namespace counts, not the caller's.",
    ),
    KernelDifference(
        "kernel-no-new-privs",
        GRANTS,
        "No_new_privs, a seccomp filter, a tracer and a reduced bounding set do not matter.",
    ),
    KernelDifference(
        "kernel-security-module",
        GRANTS,
        "A policy that denies CAP_NET_BIND_SERVICE or hides the files does not matter.",
    ),
    KernelDifference(
        "kernel-io-uring",
        GRANTS,
        "A bind through io_uring is judged by the credentials that the ring uses.",
    ),
    KernelDifference(
        "kernel-inner-socket",
        GRANTS,
        "A protocol that binds a TCP socket of its own for the user, such as SMC, is granted what "
        "that socket is.",
    ),
    KernelDifference(
        "kernel-helper-missing",
        GRANTS,
        "The helper need not be there or have its capability.",
    ),
]
