# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares kernel, helper and manual: judging.py SEED FIRST STEP CASES CGROUP, as root.

    tools/sandbox unshare --mount --net /usr/bin/python3 tests/kernel/judging.py SEED 17 1 1 CGROUP

tries configuration 17 of a seed again; tests/lib/comparing.py says what the first arguments
are. CGROUP is a new folder below the unified hierarchy. pybindd's own modules make the table
and keep it up to date with the files.
"""

import os
import pathlib
import random
import socket
import sys
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(REPOSITORY / part) for part in ("", "tests/lib")]

import generate  # noqa: E402
import support  # noqa: E402
from callers import start_drivers  # noqa: E402
from comparing import Tally, prepare_namespaces, write_files  # noqa: E402
from model import ACL, Foreign, List, in_kernel, is_left, listed  # noqa: E402
from reference import Caller, judge  # noqa: E402

from pybind.kernel.bpf import Libbpf  # noqa: E402
from pybind.kernel.files import Files  # noqa: E402
from pybind.kernel.program import Program  # noqa: E402
from pybind.kernel.table import Numbers  # noqa: E402
from pybind.kernel.watch import Watch  # noqa: E402
from pybind.paths import BPF_OBJECT  # noqa: E402

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
