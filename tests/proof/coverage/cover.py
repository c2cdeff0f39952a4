# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the lines and branches of the helper or the preload library that tests reach.

    tools/sandbox /usr/bin/python3 tests/proof/coverage/cover.py helper|library [PYTEST ARGUMENT...]

Builds the subject for gcov, installs it in place of the real one, and runs the tests
that use it, or those of the arguments. Then compares the unreached lines and branches
with exceptions.py. Prints one line of JSON. Exits 1 if exceptions.py lacks an unreached
one, or lists a reached one that does not depend on chance.
"""

import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import List, NamedTuple

TESTS = pathlib.Path(__file__).resolve().parents[2]
REPOSITORY = TESTS.parent
sys.path[1:1] = [str(TESTS / "lib"), str(REPOSITORY)]

import support  # noqa: E402
from exceptions import BY_CHANCE, FUNCTION, NEVER  # noqa: E402

COUNTERS = ["--coverage", "-fprofile-update=atomic"]
COMMON = ["-O0", "-g", "-D_GNU_SOURCE", "-std=c11", f'-DCONFIG_DIR="{support.CONFIG}"', *COUNTERS]


class Subject(NamedTuple):
    """A subject. dump: flags of dump.c, which writes the counters and is built without them."""

    folder: pathlib.Path
    flags: List[str]
    dump: List[str]
    link: List[str]
    installed: str
    capability: str
    tests: List[str]


# gcov's own code needs glibc. The cases 61 and 62 are about programs that the library does not serve.
CHOSEN = "not musl and not case_61 and not case_62"
SUBJECTS = {
    "helper": Subject(
        folder=REPOSITORY / "helpers" / "helper",
        flags=[],
        dump=[],
        link=["-static", "-Wl,--wrap=_exit"],
        installed=support.HELPER,
        capability="cap_net_bind_service=p",
        tests=["tests/helper", "tests/proof/faults/test_helper_faults.py"],
    ),
    "library": Subject(
        folder=REPOSITORY / "helpers" / "preload",
        flags=[
            *["-fPIC", "-ffreestanding", "-fvisibility=hidden", "-fno-stack-protector"],
            *[f'-DHELPER_PATH="{support.HELPER}"', f'-DLIBRARY_PATH="{support.LIBRARY}"'],
        ],
        dump=["-DOF_LIBRARY"],
        link=["-shared", "-Wl,--wrap=progress_stop"],
        installed=support.LIBRARY,
        capability="",
        tests=[
            *["tests/proof/faults", "tests/programs", "tests/command"],
            "tests/proof/hostile/test_61_programs.py",
            *["--ignore", "tests/proof/faults/test_helper_faults.py", "-k", CHOSEN],
        ],
    ),
}


def build(subject, folder):
    """Build with counters, which every process that runs the binary writes to folder."""
    objects = []
    sources = {source: [*COMMON, *subject.flags] for source in sorted(subject.folder.glob("*.c"))}
    sources[TESTS / "proof/coverage/dump.c"] = ["-fPIC", *subject.dump]
    for source, flags in sources.items():
        objects.append(folder / f"{source.stem}.o")
        subprocess.run(["gcc", *flags, "-c", source, "-o", objects[-1]], check=True)
    binary = folder / "binary"
    subprocess.run(["gcc", "--coverage", *subject.link, *objects, "-o", binary], check=True)
    return binary


def install(subject, binary):
    """Put a binary in place of the installed one, with its capability."""
    new = pathlib.Path(subject.installed + ".new")
    shutil.copy(binary, new)
    new.chmod(0o755)
    if subject.capability:
        subprocess.run(["setcap", subject.capability, new], check=True)
    new.rename(subject.installed)


def run_tests(arguments):
    """Run the tests; return whether they passed."""
    environment = dict(os.environ, PYBIND_COMPAT_CASES="6000")
    pytest = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(pytest, cwd=REPOSITORY, env=environment, stdout=2).returncode == 0


def read_counters(subject, folder):
    """Return {(file, number of a line, function): [count of the line, of its first branch, ...]}.

    A header's function is in several objects, and counts as reached if one object reached
    it. The function is None where gcov names none.
    """
    found = {}
    for source in sorted(subject.folder.glob("*.c")):
        command = ["gcov", "--json-format", "--branch-probabilities", f"{source.stem}.o"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (path,) = folder.glob(f"{source.stem}*.gcov.json.gz")
        for file in json.loads(gzip.decompress(path.read_bytes()))["files"]:
            if pathlib.Path(file["file"]).parent != subject.folder:
                continue
            for line in file["lines"]:
                counts = [line["count"], *(branch["count"] for branch in line["branches"])]
                place = (pathlib.Path(file["file"]).name, line["line_number"])
                key = (*place, line.get("function_name"))
                found[key] = [a + b for a, b in zip(counts, found.get(key, [0] * len(counts)))]
    return found


def compare(subject, counters, never):
    """Return the problems that the counters show."""
    counts = {"lines": len(counters), "branches": sum(len(c) - 1 for c in counters.values())}
    called = {(name, function) for (name, _, function), (count, *_) in counters.items() if count}
    missed, used, argued = [], set(), 0
    for (name, number, function), reached in counters.items():
        source = (subject.folder / name).read_text().splitlines()[number - 1].strip()
        for what in (index for index, count in enumerate(reached) if not count):
            reasons = {e for e in never if (e.file, e.text, e.what) == (name, source, what)}
            if (name, function) not in called:
                reasons |= {e for e in never if e[:3] == (name, function, FUNCTION)}
            used |= reasons
            argued += bool(reasons)
            if not reasons:
                missed.append([name, number, what, source])
    unused = [list(e[:3]) for e in never if e not in used and e.why not in BY_CHANCE]
    return {**counts, "argued": argued, "missed": missed, "reached_after_all": unused}


def main(name, *arguments):
    """Build, run, compare."""
    subject = SUBJECTS[name]
    folder = support.scratch_dir()
    install(subject, build(subject, folder))
    passed = run_tests(arguments or subject.tests)
    result = compare(subject, read_counters(subject, folder), NEVER[name])
    print(json.dumps({"subject": name, "passed": passed, **result}))
    sys.exit(0 if passed and not result["missed"] and not result["reached_after_all"] else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
