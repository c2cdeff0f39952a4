# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares kernel, helper and manual: judging.py SEED FIRST STEP CASES CGROUP, as root.

    tools/sandbox unshare --mount --net /usr/bin/python3 tests/kernel/judging.py SEED 17 1 1 CGROUP

tries configuration 17 of a seed again; tests/lib/comparing.py says what the first arguments
are. CGROUP is a new folder below the unified hierarchy. pybindd's own modules make the table
and keep it up to date with the files.

The rules are those of tests/lib/reference.py. Added are access control lists, callers in their
own user namespace, and files that the table leaves to the helper (pybind.5 and pybindd.8). For
each caller a driver becomes that caller for good. For each request the driver binds a plain
socket, which the kernel judges, and asks pybind-helper too, unless it is in a user namespace.
"""

import contextlib
import errno
import multiprocessing
import os
import pathlib
import random
import socket
import struct
import sys
import time
from typing import Dict, NamedTuple, Tuple

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(REPOSITORY / part) for part in ("", "tests/lib")]

import ask  # noqa: E402
import generate  # noqa: E402
import reference  # noqa: E402
import support  # noqa: E402
from comparing import Tally, prepare_namespaces, write_files  # noqa: E402
from reference import EXECUTE, FOLDERS, READ, Caller, Entry, Request, judge  # noqa: E402
from running import become, enter_user_namespace  # noqa: E402

from pybind.kernel.bpf import Libbpf  # noqa: E402
from pybind.kernel.files import Files  # noqa: E402
from pybind.kernel.program import Program  # noqa: E402
from pybind.kernel.table import Numbers  # noqa: E402
from pybind.kernel.watch import Watch  # noqa: E402
from pybind.paths import BPF_OBJECT  # noqa: E402

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NO_ID = 0xFFFFFFFF
ACL = "system.posix_acl_access"
REFUSED = errno.EACCES
# Errors of bind(2) that come only after the privilege check has passed.
ALLOWED = {0, errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EINVAL}


class List(NamedTuple):
    """An access control list: named users and groups, the file's group, the mask."""

    users: Dict[int, int]
    groups: Dict[int, int]
    group: int
    mask: int

    def pack(self, mode: int) -> bytes:
        """Return the list as setxattr(2) takes it (linux/posix_acl_xattr.h)."""
        entries = [(USER_OBJ, mode >> 6 & 7, NO_ID)]
        entries += [(USER, perm, uid) for uid, perm in sorted(self.users.items())]
        entries += [(GROUP_OBJ, self.group, NO_ID)]
        entries += [(GROUP, perm, gid) for gid, perm in sorted(self.groups.items())]
        entries += [(MASK, self.mask, NO_ID), (OTHER, mode & 7, NO_ID)]
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


class Listed(Entry):
    """An entry with a list; the group bits of its mode show the mask."""

    acl: List


def listed(entry: Entry, acl: List) -> Listed:
    """Return the entry with this list."""
    made = Listed(*entry._replace(mode=entry.mode & ~0o070 | acl.mask << 3))
    made.acl = acl
    return made


class Foreign(Caller):
    """A caller in a user namespace that is not pybindd's."""


def may(entry: Entry, caller: Caller, right: int) -> bool:
    """Tell whether owner, list and mode of entry give caller the right."""
    acl = getattr(entry, "acl", None)
    groups = {caller.gid, *caller.groups}
    if entry.uid == caller.uid:
        return bool(entry.mode >> 6 & right)
    if acl is not None and acl.mask:  # with an empty mask the kernel ignores the list
        if caller.uid in acl.users:
            return bool(acl.users[caller.uid] & acl.mask & right)
        found = [perm for gid, perm in acl.groups.items() if gid in groups]
        found += [acl.group] if entry.gid in groups else []
        if found:
            # A refused user may come from another namespace under a subordinate id.
            foreign = isinstance(caller, Foreign) and entry.kind == "file"
            users = acl.users.values() if foreign else ()
            nobody_is_refused = all(perm & acl.mask & right for perm in users)
            return nobody_is_refused and any(perm & acl.mask & right for perm in found)
    elif entry.gid in groups:
        return bool(entry.mode >> 3 & right)
    if isinstance(caller, Foreign) and entry.kind == "file":
        return right == READ and _nobody_is_refused(entry, acl, right)
    return bool(entry.mode & right)


def _nobody_is_refused(entry, acl, right) -> bool:
    bits = [entry.mode >> 6, entry.mode >> 3, entry.mode]
    if acl is not None and acl.mask:
        bits += [acl.group & acl.mask]
        bits += [perm & acl.mask for perm in (*acl.users.values(), *acl.groups.values())]
    return all(bit & right for bit in bits)


reference.may = may


def is_left(files: reference.Files) -> bool:
    """Tell whether the table leaves everything to the helper: some cannot search a folder."""
    present = [files[folder] for folder in ("", *FOLDERS) if folder in files]
    return any(not entry.mode >> shift & EXECUTE for entry in present for shift in (0, 3, 6))


def in_kernel(files: reference.Files, left: Tuple[str, ...]) -> reference.Files:
    """Return the files as the table has them: a file that is left to the helper refuses all."""
    return {
        name: entry._replace(kind="left") if name in left else entry
        for name, entry in files.items()
    }


MANY = tuple(range(30000, 30300))
CALLERS = (
    *generate.CALLERS,
    Caller(0, 0),
    Caller(1000, 100, (*MANY, 65534, 2000, 50)),
    Foreign(1000, 100, (65534, 2000, 50)),
    Foreign(1000, 100),
    Foreign(100000, 100000),
)
NO_MORE_THAN = {6: 1, 7: 1}  # a caller in a user namespace -> the same caller outside of it
EACH = 3  # callers for each request
LAST_PRIVILEGED = 65533
SO_NETNS_COOKIE = 71


def bind_plainly(request: Request) -> bool:
    """Bind as this process; tell whether the kernel allowed the port."""
    family = socket.AF_INET if len(request.address) == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if request.protocol == "tcp" else socket.SOCK_DGRAM
    text = socket.inet_ntop(family, request.address)
    where = (
        (text, request.port) if family == socket.AF_INET else (text, request.port, 0, request.scope)
    )
    with socket.socket(family, kind) as sock:
        try:
            sock.bind(where)
        except OSError as error:
            if error.errno not in ALLOWED | {REFUSED}:
                raise AssertionError(f"bind: {error}") from None
            return error.errno != REFUSED
    return True


def _answer(request: Request, helper: bool):
    try:
        kernel = bind_plainly(request)
        return kernel, ask.ask_pybind(request) if helper else None
    except (AssertionError, OSError) as error:
        return f"{type(error).__name__}: {error}"


def _drive(caller: Caller, cgroup: str, connection) -> None:
    pathlib.Path(cgroup, "cgroup.procs").write_text("0")
    if isinstance(caller, Foreign):
        enter_user_namespace()
    become(caller)
    connection.send("ready")
    helper = not isinstance(caller, Foreign)
    with contextlib.suppress(EOFError):
        while True:
            connection.send([_answer(request, helper) for request in connection.recv()])


def start_drivers(callers, cgroup):
    """Return a connection for each caller, which takes requests and gives (kernel, Answer).

    Start the drivers before the programs are loaded: a forked copy of a link would keep
    the programs alive.
    """
    context = multiprocessing.get_context("fork")
    connections = []
    for caller in callers:
        ours, end = context.Pipe()
        context.Process(target=_drive, args=(caller, cgroup, end), daemon=True).start()
        end.close()
        assert ours.recv() == "ready"
        connections.append(ours)
    return connections


def _list(rng):
    ids = [caller.uid for caller in CALLERS]
    groups = [gid for caller in CALLERS for gid in (caller.gid, *caller.groups[-3:])]
    users = {rng.choice(ids): rng.randrange(8) for _ in range(rng.choice((0, 1, 1, 2)))}
    named = {rng.choice(groups): rng.randrange(8) for _ in range(rng.choice((0, 1, 1, 2, 40)))}
    return List(users, named, rng.randrange(8), rng.choice((0, 1, 4, 5, 5, 5, 7, 7)))


def vary(files, rng):
    """Return the files with lists and hard links added, and the names of those with links."""
    plain = [name for name, entry in files.items() if entry.kind == "file" and "/" in name]
    lists = [name for name in plain if rng.random() < 0.25]
    files = {
        name: listed(entry, _list(rng)) if name in lists else entry for name, entry in files.items()
    }
    return files, tuple(name for name in plain if rng.random() < 0.03)


def write(files, left):
    """Write a configuration as tests/lib/comparing.py does, then its lists and links."""
    write_files(files)
    if support.CONFIG.is_symlink():
        return
    for name, entry in files.items():
        acl = getattr(entry, "acl", None)
        if acl is not None:
            os.setxattr(support.CONFIG / name, ACL, acl.pack(entry.mode))
    for number, name in enumerate(left):
        os.link(support.CONFIG / name, f"/etc/link-{number}")


def remove_links(left):
    """Remove the hard links that write() made outside of the permission folders."""
    for number, _ in enumerate(left):
        pathlib.Path(f"/etc/link-{number}").unlink(missing_ok=True)  # none where all is refused


class Judge:
    """pybindd's programs, attached to our control group."""

    def __init__(self, cgroup):
        self.program = Program(Libbpf(), BPF_OBJECT)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            cookie = own.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        self.program.identify(
            int.from_bytes(cookie, sys.byteorder), os.stat("/proc/self/ns/user").st_ino
        )
        fd = os.open(cgroup, os.O_RDONLY)
        self.program.attach(fd)
        os.close(fd)
        self.files = Files(Watch(), self.program.end_lease)
        self.numbers = Numbers()

    def keep_up(self):
        """Put the present files in force."""
        assert self.files.catch_up(time.monotonic() + 60)
        self.program.put_in_force(self.files.table(self.numbers))
        self.program.renew_lease(time.clock_gettime_ns(time.CLOCK_MONOTONIC))


class Findings(Tally):
    """Counts of the comparisons, and the failures."""

    def __init__(self):
        super().__init__("explained")

    def compare(self, configuration, left, request, answer):
        """Compare the kernel's answer with the manual, and with the helper's if there is one."""
        self.cases += 1
        if isinstance(answer, str):
            self.fail("broken run", configuration, request, answer)
            return
        kernel, helper = answer
        files = configuration.files
        own, half = judge(in_kernel(files, left), request)
        expected = own.granted and half.granted and not is_left(files)
        said = (
            f"kernel {kernel}, manual {expected}",
            f"left {left}",
            f"helper {helper}",
            own,
            half,
        )
        details = (configuration, request, *said)
        if kernel != expected:
            self.fail(f"kernel {kernel}, but the manual {expected}", *details)
        if helper is None:
            self.verdicts[f"other user namespace: kernel {kernel}"] += 1
            return
        self.verdicts[f"kernel {kernel}, helper {helper.granted}"] += 1
        own, half = judge(files, request)
        if helper.granted != (own.granted and half.granted):
            self.fail("helper is not as the manual", *details)
        if kernel and not helper.granted:
            self.fail("kernel grants more", *details)
        if helper.granted and not kernel:
            self.explained["kernel-left"] += 1

    def compare_twins(self, configuration, request, answers):
        """Check that a caller in a user namespace is granted no more than outside of it."""
        for inside, outside in NO_MORE_THAN.items():
            if inside in answers and outside in answers:
                kernel, helper = answers[inside][0], answers[outside][1]
                if kernel and not helper.granted:
                    self.fail("user namespace grants more", configuration, request, helper)
                if helper.granted and not kernel:
                    self.explained["kernel-others"] += 1


def _fails_before(request):
    """Tell whether bind(2) fails before it looks at the port: a TCP socket, a multicast address."""
    return request.address[0] == 0xFF and len(request.address) == 16 and request.protocol == "tcp"


def _ask(drivers, requests):
    """Return {index of the request: {index of the caller: answer}}."""
    answers = {number: {} for number in range(len(requests))}
    for who, connection in enumerate(drivers):
        numbers = [n for n, (_, callers) in enumerate(requests) if who in callers]
        connection.send([requests[n][0]._replace(caller=CALLERS[who]) for n in numbers])
        for number, answer in zip(numbers, connection.recv()):
            answers[number][who] = answer
    return answers


def main(seed, first, step, cases, cgroup):
    """Compare until `cases` requests are done; print the findings as JSON."""
    drivers = start_drivers(CALLERS, cgroup)
    prepare_namespaces()
    settings = pathlib.Path("/proc/sys/net/ipv4")
    (settings / "ip_local_port_range").write_text("65534 65535")  # must lie above the other
    (settings / "ip_unprivileged_port_start").write_text("65534")
    judge_ = Judge(cgroup)
    findings = Findings()
    number = first
    while findings.cases < cases:
        rng = random.Random(f"kernel/{seed}/{number}")
        configuration = generate.configuration(seed, number)
        files, left = vary(configuration.files, rng)
        configuration = configuration._replace(files=files)
        write(files, left)
        judge_.keep_up()
        requests = []
        for request in configuration.requests:
            if request.port <= LAST_PRIVILEGED and not _fails_before(request):
                callers = {CALLERS.index(request.caller), *rng.sample(range(len(CALLERS)), EACH)}
                requests.append((request, callers | set(rng.choice(((), (6, 1), (7, 1))))))
        for n, answers in _ask(drivers, requests).items():
            for who, answer in answers.items():
                request = requests[n][0]._replace(caller=CALLERS[who])
                findings.compare(configuration, left, request, answer)
            if not any(isinstance(answer, str) for answer in answers.values()):
                findings.compare_twins(configuration, requests[n][0], answers)
        remove_links(left)
        number += step
    findings.print()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]), sys.argv[5])
