# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what the tests reach in the helper: lines and branches.

    tools/sandbox /usr/bin/python3 tests/coverage/cover.py

Builds the helper for gcov, installs it in the real one's place, runs the tests
that ask it, and holds what was never reached against exceptions.py. Prints one
line of JSON; exits 1 for anything that is not argued there.
"""

import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
REPOSITORY = TESTS.parent
sys.path[1:1] = [str(TESTS), str(REPOSITORY)]

import support  # noqa: E402
from exceptions import NEVER  # noqa: E402

HELPER_SOURCES = sorted((REPOSITORY / "helpers" / "helper").glob("*.c"))
FLAGS = ["-O0", "-g", "-D_GNU_SOURCE", f'-DCONFIG_DIR="{support.CONFIG}"', "--coverage"]
FLAGS += ["-fprofile-update=atomic", "-std=c11"]
ASKING = ["tests/helper", "tests/faults/test_helper_faults.py"]


def build(folder):
    """Build the helper with counters; they are written to folder, by whoever runs it."""
    objects = []
    for source in [*HELPER_SOURCES, TESTS / "coverage" / "dump.c"]:
        target = folder / f"{source.stem}.o"
        flags = FLAGS if source in HELPER_SOURCES else FLAGS[:2]
        subprocess.run(["gcc", *flags, "-c", source, "-o", target], check=True)
        objects.append(target)
    binary = folder / "pybind-helper"
    link = ["gcc", "-static", "--coverage", "-Wl,--wrap=_exit", *objects, "-o", binary]
    subprocess.run(link, check=True)
    return binary


def install(binary):
    """Put a helper in the installed one's place, with its capability."""
    new = pathlib.Path(support.HELPER + ".new")
    shutil.copy(binary, new)
    new.chmod(0o755)
    subprocess.run(["setcap", "cap_net_bind_service=p", new], check=True)
    new.rename(support.HELPER)


def ask():
    """Run the tests; returns whether they passed."""
    environment = dict(os.environ, PYBIND_COMPAT_CASES="6000")
    pytest = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", *ASKING]
    return subprocess.run(pytest, cwd=REPOSITORY, env=environment, stdout=2).returncode == 0


def read_counters(folder):
    """Return {file name: [gcov's description of a line]}."""
    found = {}
    for source in HELPER_SOURCES:
        command = ["gcov", "--json-format", "--branch-probabilities", f"{source.stem}.o"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (path,) = folder.glob(f"{source.stem}*.gcov.json.gz")
        files = json.loads(gzip.decompress(path.read_bytes()))["files"]
        for file in files:
            if pathlib.Path(file["file"]).name == source.name:
                found[source.name] = file["lines"]
    return found


def main():
    """Build, run, compare."""
    folder = support.scratch_dir()
    install(build(folder))
    passed = ask()
    counts = {"lines": 0, "branches": 0, "argued": 0}
    missed, used = [], set()
    for name, lines in read_counters(folder).items():
        text = (REPOSITORY / "helpers" / "helper" / name).read_text().splitlines()
        for line in lines:
            source = text[line["line_number"] - 1].strip()
            never = [not line["count"]] + [not branch["count"] for branch in line["branches"]]
            counts["lines"] += 1
            counts["branches"] += len(line["branches"])
            for what in (index for index, is_never in enumerate(never) if is_never):
                argued = next(
                    (e for e in NEVER if (e.file, e.text, e.what) == (name, source, what)), None
                )
                used.add(argued)
                counts["argued"] += argued is not None
                if argued is None:
                    missed.append([name, line["line_number"], what, source])
    unused = [list(e[:3]) for e in NEVER if e not in used]
    print(json.dumps({**counts, "passed": passed, "missed": missed, "reached_after_all": unused}))
    sys.exit(0 if passed and not missed and not unused else 1)


if __name__ == "__main__":
    main()
