# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares judges: pybind's helper with authbind's, by comparing.py SEED FIRST STEP CASES, as root.

    tools/sandbox unshare --mount --net /usr/bin/python3 tests/lib/comparing.py SEED 17 1 1

tries configuration 17 of a seed again. Such a program is a worker. It takes the configurations
FIRST, FIRST + STEP and so on of generate.py, until CASES requests were compared. At the end
it prints its Tally as JSON. run_workers() starts several, and returns the sum of their findings. A worker
needs its own mount and network namespaces: it mounts a tmpfs on /etc and makes every address
local. The comparison of the kernel with the helper is a worker too (tests/kernel/judging.py).
"""

import collections
import errno
import ipaddress
import json
import os
import pathlib
import shutil
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(REPOSITORY)]

import generate  # noqa: E402
import support  # noqa: E402
from ask import Answer, start_drivers  # noqa: E402
from differences import (  # noqa: E402
    DIFFERENCES,
    ERRNO,
    GRANTS,
    REFUSES,
    RESULT,
    explanations,
    make_case,
)
from reference import Decision  # noqa: E402

from pybind import _wire as w  # noqa: E402

CONTENT_SHOWN = 400
FAILURES_SHOWN = 3  # of each kind, by each worker
ISOLATED = ["unshare", "--mount", "--net", "--propagation", "private", "--"]
TREES = ((support.CONFIG, {}), (pathlib.Path("/etc/authbind"), {"byuser": "byuid"}))
TARGET = ".target"  # suffix of the file that a symlink points to
REASONS = {
    "folder": w.REASON_CONFIG_UNSAFE,
    "missing": w.REASON_CONFIG_MISSING,
    "flag-kind": w.REASON_FLAG_KIND,
    "unsafe": w.REASON_RULES_UNSAFE,
    "unreadable": w.REASON_RULES_UNREADABLE,
    "too-big": w.REASON_RULES_TOO_BIG,
    "broken": w.REASON_RULES_BROKEN,
    "none": w.REASON_NO_RULE,
}
# A line that breaks the grammar may have two faults, and the manual does not say
# which of them is reported.
UNGRAMMATICAL = set(range(w.FAULT_SYNTAX, w.FAULT_PROTOCOL + 1))
FAULTS = {
    "": {w.FAULT_NONE},
    "too-long": {w.FAULT_TOO_LONG},
    "byte": {w.FAULT_BYTE},
    "syntax": UNGRAMMATICAL,
    "number": {w.FAULT_LENGTH, w.FAULT_PORT},
    "host-bits": {w.FAULT_HOST_BITS},
    "order": {w.FAULT_ORDER},
}


class Tally:
    """Counts of one worker's comparisons, and its failures."""

    def __init__(self, *counters):
        self.cases = 0
        self.failures = []
        for name in ("verdicts", "failure_counts", *counters):
            setattr(self, name, collections.Counter())

    def fail(self, what, configuration, request, *said):
        """Count a failure of the kind `what`, and keep the first ones in words."""
        self.failure_counts[what] += 1
        if self.failure_counts[what] <= FAILURES_SHOWN:
            self.failures.append(f"{what}: {describe(configuration, request, *said)}")

    def print(self):
        """Print the findings as JSON."""
        json.dump(vars(self), sys.stdout)


def describe(configuration, request, *said):
    """Return everything that is needed to repeat one case."""
    lines = [f"configuration {configuration.number}"]
    for name, entry in configuration.files.items():
        content = repr(entry.content[:CONTENT_SHOWN]) if entry.content else ""
        mode = f"{entry.mode:04o} {entry.uid}:{entry.gid}"
        lines.append(f"  {name or '.'}: {entry.kind} {mode} {content}")
    address, caller = ipaddress.ip_address(request.address), request.caller
    lines.append(
        f"  request: {address} port {request.port} {request.protocol} scope {request.scope} "
        f"by uid {caller.uid} gid {caller.gid} groups {list(caller.groups)}"
    )
    return "\n".join([*lines, *(f"  {what}" for what in said)])


def run_workers(program, seed, cases, more, give_up_s):
    """Run a worker for each entry of `more`, its last arguments; return the sum of the findings.

    Each worker has its own mount and network namespaces. The sum is a dict, with a Counter for
    each counter of the Tally.
    """
    share = -(-cases // len(more))
    workers = [
        subprocess.Popen(
            [*ISOLATED, sys.executable, program, *map(str, (seed, n, len(more), share, *words))],
            stdout=subprocess.PIPE,
        )
        for n, words in enumerate(more)
    ]
    try:
        outputs = [worker.communicate(timeout=give_up_s)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    total = {}
    for name, value in (item for found in map(json.loads, outputs) for item in found.items()):
        if isinstance(value, dict):
            total.setdefault(name, collections.Counter()).update(value)
        else:
            total[name] = total[name] + value if name in total else value
    return total


def assert_none_failed(findings, again):
    """Fail with the workers' failures, and with the command that repeats one configuration."""
    text = "\n\n".join(findings["failures"])
    assert not findings["failure_counts"], (
        f"{dict(findings['failure_counts'])}\n\n{text}\n\n"
        f"once more, configuration NUMBER: tools/sandbox unshare --mount --net /usr/bin/python3 {again}"
    )


def prepare_namespaces():
    """Make /etc private and empty, and make every address local."""
    mount = ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/etc"]
    for command in (mount, ["ip", "link", "set", "lo", "up"]):
        subprocess.run(command, check=True)
    for family in ("ipv4", "ipv6"):
        pathlib.Path(f"/proc/sys/net/{family}/ip_nonlocal_bind").write_text("1")


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


def _write_entry(path, entry, is_folder):
    if entry.kind in ("symlink", "dangling"):
        target = path.with_name(path.name + TARGET)
        path.symlink_to(target.name)
        path = target
    if entry.kind == "dangling":
        return
    if entry.kind == "directory" or (entry.kind == "symlink" and is_folder):
        path.mkdir()
    elif entry.kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(entry.content)
    os.chown(path, entry.uid, entry.gid)
    path.chmod(entry.mode)  # after chown(2), which removes setuid bits


def write_files(files):
    """Write a configuration for both programs, with equal owners and modes."""
    for root, renamed in TREES:
        for path in (root, root.with_name(root.name + TARGET)):
            _remove(path)
        for name, entry in sorted(files.items()):
            folder, _, rest = name.partition("/")
            path = root / renamed.get(folder, folder) / rest
            _write_entry(path, entry, is_folder=not rest)


def _reason(decided: Decision) -> int:
    if decided.why == "unreachable":
        folder, _, file = decided.name.partition("/")
        if not file:
            return w.REASON_CONFIG_ERROR
        is_flag = folder in ("byport", "byaddr")
        return w.REASON_FLAG_ERROR if is_flag else w.REASON_RULES_UNREADABLE
    if decided.granted:
        return w.REASON_GRANTED
    return REASONS.get(decided.why, w.REASON_FLAG_DENIED)


def is_as_documented(ours: Answer, decided: Decision) -> bool:
    """Tell whether the reply has the deciding file, line and reason that pybind.5 demands."""
    reason = w.REASON_GRANTED if ours.reason == w.REASON_KERNEL else ours.reason
    said = (ours.granted, ours.name, reason, ours.line)
    return (
        said == (decided.granted, decided.name, _reason(decided), decided.line)
        and ours.fault in FAULTS[decided.fault]
    )


def difference(theirs, ours):
    """Return the direction in which our answer differs from authbind's, or None."""
    if ours.granted != theirs.granted:
        return GRANTS if ours.granted else REFUSES
    if ours.error == theirs.error:
        return None
    if ours.granted:
        return RESULT if ours.error == 0 else "binds less"  # which nothing excuses
    return ERRNO


class Findings(Tally):
    """Counts of the comparisons, and the failures."""

    def __init__(self):
        # How often each predicate held, explained a difference, and was the only explanation.
        super().__init__("held", "explained", "alone")

    def compare(self, configuration, request, answers):
        """Compare the answers (authbind's, ours) with each other and with the documented rules."""
        self.cases += 1
        if isinstance(answers, str):
            self.fail("broken run", configuration, request, answers)
            return
        theirs, ours = answers
        case = make_case(configuration.files, request)
        details = (configuration, request, f"authbind {theirs}", f"pybind {ours}", case[2:])
        self.verdicts[f"authbind {theirs.granted}, pybind {ours.granted}"] += 1
        direction = difference(theirs, ours)
        names = explanations(case, direction)
        self.held.update(d.identifier for d in DIFFERENCES if d.applies(case))
        self.explained.update(names)
        self.alone.update(names if len(names) == 1 else ())
        if direction and not names:
            self.fail(f"unexplained, pybind {direction}", *details)
        if not ours.granted and ours.error != errno.EACCES:
            self.fail("refusal that is not EACCES", *details)
        decided = case.half if case.own.granted else case.own
        if not is_as_documented(ours, decided):
            self.fail("not as documented", *details)


def main(seed, first, step, cases):
    """Compare until `cases` requests are done; print the findings as JSON."""
    drivers = start_drivers(generate.CALLERS)
    prepare_namespaces()
    findings = Findings()
    number = first
    while findings.cases < cases:
        configuration = generate.configuration(seed, number)
        write_files(configuration.files)
        for caller, connection in drivers.items():
            requests = [r for r in configuration.requests if r.caller == caller]
            connection.send(requests)
            for request, answers in zip(requests, connection.recv()):
                findings.compare(configuration, request, answers)
        number += step
    findings.print()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
