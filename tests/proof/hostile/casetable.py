# SPDX-License-Identifier: GPL-3.0-or-later
"""The hostile cases, each with its required result, and a pytest plugin that writes docs/hostile.md.

The numbers never change. Tests carry them in their names (test_case_17_...,
test_reliability_03_...) or in a mark (pytest.mark.hostile(17, "R3")).

-p casetable --hostile-table FILE   run only tests that show a case, write the table
-p casetable --hostile-names FILE   write {case: [tests]} as JSON, after collecting

`make test-hostile` writes the page.
"""

import collections
import datetime
import json
import os
import pathlib
import re
from typing import Dict, NamedTuple

import pytest


class Case(NamedTuple):
    """attack: what is tried; required: the result that must follow; note: a remark."""

    attack: str
    required: str
    note: str = ""


ONE_REQUEST = "There is no session: one helper serves one request and ends."
GROUPS = {
    "Execution environment of the helper": range(1, 21),
    "Namespaces and file systems": range(21, 31),
    "Messages and descriptors": range(31, 49),
    "Address policy and rule files": (49, 52, 53, 54, 55, 56),
    "Library and supervisor": (50, 51, 57, 58, 59, 60, 61, 62),
    "Found by review": range(63, 72),
    "The kernel judges (pybindd)": range(72, 85),
}
CASES: Dict[int, Case] = {
    1: Case("A process of the same user looks into the helper: ptrace, memory, /proc, pidfd_getfd",
            "every probe refused"),
    2: Case("The same with fs.suid_dumpable=1, with the capability and without it",
            "every probe refused"),
    3: Case("The same user stops, kills or limits the helper", "nothing is bound that is not told"),
    4: Case("Variables that steer loaders, C libraries and locales", "ignored"),
    5: Case("Caller with no_new_privs", "refused, with that reason"),
    6: Case("CAP_NET_BIND_SERVICE is not in the bounding set", "refused, with that reason"),
    7: Case("Helper on a nosuid mount", "refused, with that reason"),
    8: Case("Helper started under a tracer of the user", "refused, with that reason"),
    9: Case("Caller shares its fs_struct with the helper (CLONE_FS)", "refused"),
    10: Case("execve(2) with no arguments, or with odd ones", "as ever"),
    11: Case("Descriptors 0 to 3 closed, in every combination", "nothing is bound, or as ever"),
    12: Case("RLIMIT_NOFILE of 0, 1 and a few more", "all or nothing"),
    13: Case("No memory, stack or time left to the helper", "nothing is bound, or as ever"),
    14: Case("Limits of 0 that the helper does not need", "as ever"),
    15: Case("Every signal blocked and ignored", "as ever; SIGTERM ends the helper"),
    16: Case("A timer armed before the helper is executed", "disarmed; its own alarm ends it",
             ONE_REQUEST),
    17: Case("Pipes, listeners and terminals that the helper inherits", "closed at its start",
             ONE_REQUEST),
    18: Case("A hard link to the helper", "refused by the kernel, or decides as the helper does"),
    19: Case("A descriptor of the helper kept across an upgrade", "no capability"),
    20: Case("SIGQUIT, with core dumps allowed", "no core dump"),
    21: Case("Root of an own user namespace, with an own /etc/pybind, binds the host's ports",
             "refused"),
    22: Case("The same under the own uid", "refused"),
    23: Case("A socket of a network namespace that the user made", "refused"),
    24: Case("A socket of a network namespace that root made (a container's)", "refused",
             "SO_NETNS_COOKIE needs Linux 5.14; an older kernel refuses every bind."),
    25: Case("A caller with CAP_SYS_CHROOT only shows the helper an own root directory",
             "refused"),
    26: Case("Folders or rule files that others own or can write; symbolic links",
             "refused, the path is named"),
    27: Case("The owner of a flag file opens it to everybody", "documented; lint warns"),
    28: Case("Permission files on a noexec mount", "refused, the mount is named"),
    29: Case("The file system fails with another error than ENOENT, or never answers",
             "refused; no later file is asked", "Faults come from a FUSE file system."),
    30: Case("ip_unprivileged_port_start is 0, 80 or 2000", "the kernel's own answer counts"),
    31: Case("Short, long, random and unknown messages, each single bit flipped", "refused",
             "More of it: the fuzzers."),
    32: Case("Up to 253 descriptors passed with a message", "refused, none is kept", ONE_REQUEST),
    33: Case("A message of no bytes, with a right one behind it", "refused; the second is not read",
             ONE_REQUEST),
    34: Case("A device, directory, pipe or the like in place of the socket", "refused"),
    35: Case("A socket of another family (unix, netlink, packet, alg)", "refused"),
    36: Case("A vsock socket, whose address reads as one of port 80", "refused"),
    37: Case("Raw, ping, UDP-Lite, SCTP and DCCP sockets", "refused",
             "Without a kernel that has SCTP and DCCP they are asked about by number."),
    38: Case("A socket that is bound or connected already", "EINVAL, its name stays"),
    39: Case("AF_UNSPEC with 0.0.0.0, and a family that is not the socket's", "refused"),
    40: Case("Every length of an address", "the kernel's own answer"),
    41: Case("Port 0 and ports that are not privileged", "the helper is not asked, and grants none"),
    42: Case("Another thread rewrites the address meanwhile", "what was judged is what is bound"),
    43: Case("A connection with unsent data and SO_LINGER, whose last owner is the helper",
             "the helper ends", ONE_REQUEST),
    44: Case("The user's descriptors in flight are used up", "bound; or refused, with the reason",
             "Sockets go to the helper by inheritance."),
    45: Case("16 processes that were forked from one bind at once", "each gets its own answer",
             "There is no shared reply stream: each bind has a helper and a socketpair of its own."),
    46: Case("A socket, or a reply socket, in the hands of another user",
             "judged by who starts the helper", ONE_REQUEST),
    47: Case("An unbound socket of root with SO_REUSEPORT, handed to a user", "documented"),
    48: Case("The reply socket is a TCP connection, a file, full or closed",
             "the helper ends; nothing is written to a stranger"),
    49: Case("An IPv4-mapped IPv6 address", "judged as the IPv4 address"),
    50: Case("The helper is stopped, continued late, or killed; so is what started it",
             "bind() never says 'failed' of a bound socket"),
    51: Case("The helper is killed just before or after its bind", "what the socket says"),
    52: Case("`::` with one half granted, while IPV6_V6ONLY is flipped", "refused"),
    53: Case("Scope ids", "no part of the judgement; passed to the kernel"),
    54: Case("A comment longer than a reader's buffer, with a rule as its tail",
             "never read as a rule"),
    55: Case("Lines that parsers read in two ways: overflow, NUL, CR, host bits, ranges",
             "the file is refused"),
    56: Case("Accounts whose names are numbers or paths; a name service that is down",
             "names are not looked up"),
    57: Case("Supervised: threads rewrite the address during the call",
             "what was judged is what is bound"),
    58: Case("Supervised: a timer interrupts every 3 ms (SA_RESTART)", "every answer is right",
             "Needs Linux 5.19; an older kernel is refused."),
    59: Case("Supervised: the same without SA_RESTART", "EINTR is possible, and documented"),
    60: Case("Supervised: threads, programs that are not dumpable, killed ones, a second supervisor",
             "bound; EACCES; forgotten; refused"),
    61: Case("io_uring, raw system calls, bindresvport, static programs and Go",
             "the unprivileged answer, no hang"),
    62: Case("A program sandboxes itself (no_new_privs, Landlock, seccomp), then binds",
             "the sandbox is respected",
             "Supervised, what may be in a Landlock domain is left to the kernel."),
    63: Case("A program forks while its thread binds; another user wants the processor; the child "
             "binds a busy port", "EADDRINUSE at once"),
    64: Case("/dev without a null, where the C library of a program with capabilities looks for it",
             "bound; the helper opens nothing before it has dropped its rights"),
    65: Case("A seccomp filter that kills for prctl, clone or execve, the program's own or root's",
             "EACCES, never SIGSYS",
             "A filter that kills for clone(2) and comes without no_new_privs, or by a raw system "
             "call, cannot be known before: documented."),
    66: Case("A program executes another, closes descriptors or forks while its thread binds",
             "no child and no signal is left; copies are gone after two system calls"),
    67: Case("A start script sets an LD_PRELOAD of its own before it executes the server",
             "served; what was taken out on purpose stays out"),
    68: Case("Supervised: a full standard error that nobody reads; a helper that is killed under a "
             "socket of another family; an address at the end of a page",
             "nobody hangs or dies; the kernel's error"),
    69: Case("A member of a group that may write in byport swaps its files while root changes grants",
             "nothing outside the folder changes; nothing is written below such a folder"),
    70: Case("Default access control lists; group, mode, lists and attributes of files that pybindctl "
             "edits", "what was planned is what is there, and the rest stays"),
    71: Case("pybindctl without CAP_SETUID, with a full standard output, with odd account names",
             "what was done is what is said"),
    72: Case("pybindd is killed, stopped, frozen; another of root's processes holds its links, "
             "or detaches them",
             "killed: nothing is granted any more; stopped: nothing after the lease; detached: attached "
             "again, or said"),
    73: Case("Files change in a storm; the event queue overflows; /etc/pybind is moved, replaced, "
             "linked, mounted over", "never a grant that neither the old nor the new files give"),
    74: Case("The owner of a flag file flips its mode, and tables change, while others bind",
             "each verdict is that of one state of the files"),
    75: Case("Real and effective ids that differ; 65,536 groups; setgroups(2) between two binds",
             "judged by the credentials of that moment; ids that differ: no grant"),
    76: Case("User namespaces (own, nested, subordinate ids, setgroups(2)), network namespaces",
             "the kernel's uid; others of a flag file never count there; no grant in another network"),
    77: Case("Wildcards, mapped addresses, scopes, MPTCP, SCTP, raw and ping sockets, port 0, AF_UNSPEC",
             "as the helper, case by case"),
    78: Case("Another BPF program denies, grants, rewrites the address, or allows none beside it; "
             "Landlock", "denied stays denied; EPERM, never another address"),
    79: Case("A second pybindd; its socket and status imitated; a user who fills the log",
             "refused; not possible; nothing of others is lost"),
    80: Case("No control groups, BTF, libbpf, object file or capability; an old or locked kernel; a "
             "container", "a message of its own for each"),
    81: Case("More rules or entries than the table holds", "left to the helper, and said"),
    82: Case("A hard link elsewhere, a kept descriptor, a shared mapping, a remount noexec or ro",
             "seen, or read again within ten seconds; several links: left to the helper"),
    83: Case("io_uring with a personality or a thread of the kernel; sandboxes; no helper; own mounts",
             "judged by the credentials of that bind; named in pybindd(8)"),
    84: Case("Tables follow each other under binds", "one table for each bind"),
}  # fmt: skip

RELIABILITY: Dict[int, Case] = {
    1: Case("Helper killed before or after its bind", "the socket decides"),
    2: Case("Helper dies while a thread of the program forks", "no wait for copies of descriptors"),
    3: Case("Helper missing, or without its capability", "EACCES; doctor names the cause"),
    4: Case("Supervisor killed", "the program ends, nobody hangs; documented"),
    5: Case("A thousand threads of supervised programs bind at once", "every answer is right"),
    6: Case("Supervisor pauses", "no answer is wrong"),
    7: Case("Program forks", "nothing is shared"),
    8: Case("Program closes all descriptors, or becomes a daemon", "no remembered number is used"),
    9: Case("Program executes others", "served, as --depth says"),
    10: Case("Program changes its root directory", "EACCES; supervised: bound"),
    11: Case("Program changes its uid", "judged by the new one; root is not supervised"),
    12: Case("SIGCHLD and wait in any form", "no stray child or signal"),
    13: Case("Signals, handlers that bind, cancelled threads", "every answer is right"),
    14: Case("Very many binds; no process or descriptor left", "right answers; EACCES"),
    15: Case("Port in use, address of another host", "the kernel's error, unchanged"),
    16: Case("Programs that try things out (port 0, unprivileged ports)", "nobody else is asked"),
    17: Case("Outputs on a full disk; descriptor 2 is a client", "no bind and no status changes"),
    18: Case("Name service down", "not needed"),
    19: Case("Ctrl-C and other signals to the process group", "the helper is not in it"),
    20: Case("Sandboxed units and containers", "refused with the reason, or the plain bind works"),
}

OWN_NAME = re.compile(r"test_(case|reliability)_(\d+)_")
HEAD = """# Hostile cases

For reviewers: attacks and faults, their required results, and the tests that show these results. `make test-hostile`
writes this page. The names of tests (`test_case_17_...`, `test_reliability_03_...`) or their marks
(`pytest.mark.hostile(17)`) have the numbers. Every attack of `tests/proof/hostile` runs as two unprivileged users against
the installed helper. After each attack a normal request must be granted and another be refused.

The results are those of {kernel} on {machine}, {date}.
"""


def pytest_addoption(parser):
    parser.addoption("--hostile-table", metavar="FILE")
    parser.addoption("--hostile-names", metavar="FILE")


def cases_of(item):
    """Return the cases that a test shows, as "17" or "R3"."""
    found = [str(case) for mark in item.iter_markers("hostile") for case in mark.args]
    named = OWN_NAME.match(item.name)
    if named:
        found.append(("R" if named[1] == "reliability" else "") + str(int(named[2])))
    return found


def test_of(nodeid):
    """Return a test's id below tests/ without its parameters."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def sort_tests(tests):
    """Return tests in the order of the table: those of tests/proof/hostile first."""
    return sorted(set(tests), key=lambda test: (not test.startswith("proof/hostile/"), test))


class Plugin:
    """Collects the tests of each case and their results in a session, and writes the page."""

    def __init__(self, config):
        self.config = config
        self.tests = collections.defaultdict(list)  # case -> tests
        self.results = collections.defaultdict(collections.Counter)  # test -> {outcome: count}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        kept = []
        for item in items:
            for case in cases_of(item):
                self.tests[case].append(test_of(item.nodeid))
                kept.append(item)
        names = config.getoption("--hostile-names")
        if names:
            tests = {case: sort_tests(found) for case, found in self.tests.items()}
            pathlib.Path(names).write_text(json.dumps(tests))
        items[:] = dict.fromkeys(kept)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            word = report.outcome
            if hasattr(report, "wasxfail"):
                word = "known fault"
            elif report.skipped:
                word = "not run: " + report.longrepr[2].removeprefix("Skipped: ")
            self.results[test_of(report.nodeid)][word] += 1

    def pytest_terminal_summary(self, terminalreporter):
        shown = [
            case
            for case, tests in self.tests.items()
            if any(self.results[test]["passed"] for test in tests)
        ]
        total = len(CASES) + len(RELIABILITY)
        terminalreporter.write_line(f"hostile: {len(shown)} of {total} cases shown")

    def pytest_sessionfinish(self):
        path = self.config.getoption("--hostile-table")
        if path:
            pathlib.Path(path).write_text(self.render())

    def row(self, label, case, key):
        tests = sort_tests(self.tests[key])
        total = sum((self.results[test] for test in tests), collections.Counter())
        words = [f"{count} {word}" for word, count in sorted(total.items(), key=order)]
        required = case.required + (f" ({case.note})" if case.note else "")
        listed = "<br>".join(f"`{test}`" for test in tests)
        return f"| {label} | {case.attack} | {required} | {listed} | {'; '.join(words)} |"

    def render(self):
        uname = os.uname()
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        kernel = f"Linux {uname.release.partition('-')[0]}"
        lines = [HEAD.format(kernel=kernel, machine=uname.machine, date=today)]
        tables = [(title, [(str(n), CASES[n], str(n)) for n in numbers])
                  for title, numbers in GROUPS.items()]  # fmt: skip
        rows = [(f"R{n}", case, f"R{n}") for n, case in RELIABILITY.items()]
        for title, group in [*tables, ("Reliability", rows)]:
            lines += [f"## {title}", "", "| case | attack or fault | required | tests | result |"]
            lines += ["| --- | --- | --- | --- | --- |"]
            lines += [*(self.row(*entry) for entry in group), ""]
        return "\n".join(lines)


def order(entry):
    """Return a key that sorts `passed` first."""
    return entry[0] != "passed", entry[0]


def pytest_configure(config):
    config.pluginmanager.register(Plugin(config))
