# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares pybind's helper with authbind's: worker.py SEED FIRST STEP CASES, as root.

    tools/sandbox unshare --mount --net /usr/bin/python3 tests/lib/worker.py SEED 17 1 1

tries configuration 17 of a seed again; comparing.py says what the arguments are. The worker
needs its own mount and network namespaces: it mounts a tmpfs on /etc and makes every address
local.
"""

import errno
import os
import pathlib
import shutil
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(REPOSITORY)]

import generate  # noqa: E402
import support  # noqa: E402
from answers import is_as_documented  # noqa: E402
from ask import start_drivers  # noqa: E402
from comparing import Tally  # noqa: E402
from differences import (  # noqa: E402
    DIFFERENCES,
    ERRNO,
    GRANTS,
    REFUSES,
    RESULT,
    explanations,
    make_case,
)

TREES = ((support.CONFIG, {}), (pathlib.Path("/etc/authbind"), {"byuser": "byuid"}))
TARGET = ".target"  # suffix of the file that a symlink points to


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
