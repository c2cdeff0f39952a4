# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts each listed fault in, installs what has it, and shows that a test notices.

    tools/sandbox /usr/bin/python3 tests/proof/mutation/mutate.py SUBJECT [search] [NUMBER | FIRST/STEP]...

FIRST/STEP: every STEPth mutant from FIRST on. Only the test that an entry names runs
against its mutant. With `search`, for a new mutant of the helpers, every test that could
notice runs. Prints a line for each survivor and a line of JSON. Exits 1 if a mutant
survives or does not apply.

SUBJECT is helpers (the helper and pybindd's programs) or pybindctl. If the kernel takes no
such programs, their mutants are left out. Some tests call pybindctl, and others import it.
So a fault of pybindctl is put into the installed package, and into a copy of the repository
from which the tests run.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parents[2]
REPOSITORY = TESTS.parent
sys.path[1:1] = [str(TESTS / "lib"), str(REPOSITORY)]

import mutants  # noqa: E402
import mutants_kernel  # noqa: E402
import mutants_pybindctl  # noqa: E402
import mutants_rules  # noqa: E402
import support  # noqa: E402
from mutants import COMPAT, FUZZ, KERNEL  # noqa: E402

from pybind.kernel import obstacles  # noqa: E402
from pybind.paths import BPF_OBJECT  # noqa: E402

HELPERS = (mutants, mutants_rules, mutants_kernel)
INSTALLED = pathlib.Path(support.PREFIX) / "share/pybind/pybind"
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
COMPAT_CASES = "6000"
KERNEL_CASES = "4000"
COMPARISONS = {
    COMPAT: "tests/proof/compat/test_authbind.py::test_only_named_differences",
    KERNEL: "tests/kernel/test_verdicts.py::test_only_named_differences",
}
EVERYTHING_OF_KERNEL = (KERNEL, "tests/kernel")
EVERYTHING = ("tests/helper", COMPAT, FUZZ, "tests/proof/faults/test_helper_faults.py")


def make_tree(folder):
    """Copy what a build of the helper and the fuzz targets needs."""
    for name in ("helpers", "pybind", "tests", "tools"):
        shutil.copytree(REPOSITORY / name, folder / name, dirs_exist_ok=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder)


def texts(mutant):
    """Return the text of a file, and with the fault; raise AssertionError unless it fits once."""
    text = (REPOSITORY / mutant.path).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file}: {mutant.old!r} {text.count(mutant.old)}x"
    return text, text.replace(mutant.old, mutant.new)


def build_and_install(folder, in_kernel):
    """Build what is mutated in folder and install it."""
    if in_kernel:
        install_programs(folder)
    else:
        install_helper(folder)


def install_programs(folder):
    """Build the programs of folder and install them."""
    command = ["make", "-s", "-C", folder, "WERROR=", "build/pybind.bpf.o"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    shutil.copy(folder / "build" / "pybind.bpf.o", BPF_OBJECT)
    # A program that the kernel does not take would be noticed by every test.
    why = not_loaded()
    assert why is None, f"a mutant is not loaded: {why}"


def not_loaded():
    """Return why pybindd cannot load its programs here; None where it can."""
    try:
        command = [f"{support.PREFIX}/sbin/pybindd", "--trial", "--cgroup", obstacles.find_cgroup()]
    except obstacles.CannotRun as error:
        return str(error)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stderr if done.returncode else None


def install_helper(folder):
    """Build the helper of folder and install it."""
    # Warnings are not errors here, because a mutant may leave a variable unused.
    flags = "-O1 -Wno-error"
    command = ["make", "-s", "-C", folder, f"CFLAGS={flags}", "build/pybind-helper"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    new = pathlib.Path(support.HELPER + ".new")
    shutil.copy(folder / "build" / "pybind-helper", new)
    new.chmod(0o755)
    subprocess.run(["setcap", "cap_net_bind_service=p", new], check=True)
    new.rename(support.HELPER)


def fails(nodes, where, **environment):
    """Run tests from a folder; tell whether one failed."""
    done = subprocess.run(
        [*PYTEST, *nodes],
        cwd=where,
        env={**os.environ, "PYBIND_PATIENCE": "30", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    if done.returncode not in (0, 1):  # 1: a test failed; any other status: no test ran
        raise AssertionError(f"{nodes}: {done.stdout.decode()[-500:]}")
    return done.returncode == 1


def notices(killer, folder):
    """Run one test of a helper; tell whether it failed."""
    if killer == FUZZ:
        node, where = "tests/proof/fuzz", folder  # compiles the mutant itself
    else:
        node, where = COMPARISONS.get(killer, killer), REPOSITORY
    cases = {"PYBIND_COMPAT_CASES": COMPAT_CASES, "PYBIND_KERNEL_CASES": KERNEL_CASES}
    return fails([node], where, **cases)


def check_baseline(chosen, folder):
    """Check that the tests of these mutants pass with the unchanged helper."""
    killers = {mutant.killer for mutant in chosen}
    nodes = sorted(killers - {COMPAT, KERNEL, FUZZ})
    if nodes:
        done = subprocess.run([*PYTEST, *nodes], cwd=REPOSITORY, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, "a test fails without any mutant"
    for killer in killers & {COMPAT, KERNEL, FUZZ}:
        assert not notices(killer, folder), f"{killer} fails without any mutant"


def choose(words, count):
    """Return the numbers that the command line asks for, of a list of `count` mutants."""
    chosen = []
    for word in words or ["0/1"]:
        first, _, step = word.partition("/")
        last = count if step else int(first) + 1
        chosen += range(int(first), last, int(step or 1))
    return chosen


def try_helpers(words, folder):
    """Try the mutants of the helper and of pybindd's programs; return the result."""
    search = "search" in words
    listed = [mutant for part in HELPERS for mutant in part.MUTANTS]
    equivalent = [mutant for part in HELPERS for mutant in part.EQUIVALENT]
    chosen = choose([word for word in words if word != "search"], len(listed))
    why = not_loaded()
    left_out = len([mutant for mutant in listed if mutant.in_kernel]) if why else 0
    if why:
        print(f"the faults of pybindd's programs are left out: {why}", flush=True)
        chosen = [number for number in chosen if not listed[number].in_kernel]
    check_baseline([listed[number] for number in chosen], folder)
    alive = []
    for number in chosen:
        mutant = listed[number]
        text, mutated = texts(mutant)
        (folder / mutant.path).write_text(mutated)
        try:
            build_and_install(folder, mutant.in_kernel)
            every = EVERYTHING_OF_KERNEL if mutant.in_kernel else EVERYTHING
            killers = every if search else [mutant.killer]
            by = next((killer for killer in killers if killer and notices(killer, folder)), None)
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"mutant {number} does not build: {error.stderr}") from None
        (folder / mutant.path).write_text(text)
        alive += [number] * (by is None)
        if by is None or search:
            print(f"{number}: {mutant.file}: {mutant.old!r} -> {mutant.new!r}: {by}", flush=True)
    for mutant in equivalent:
        texts(mutant)
    for in_kernel in {listed[number].in_kernel for number in chosen}:
        build_and_install(folder, in_kernel)
    found = result(len(listed) - left_out, chosen, alive)
    return {**found, "left_out": left_out, "equivalent": len(equivalent)}


def is_noticed(mutant, folder):
    """Put a fault into pybindctl for a while; tell whether its test fails."""
    text, mutated = texts(mutant)
    places = (INSTALLED / mutant.file, folder / mutant.path)
    for place in places:
        place.write_text(mutated)
    try:
        return fails([mutant.killer], folder)
    finally:
        for place in places:
            place.write_text(text)


def try_pybindctl(words, folder):
    """Try the mutants of pybindctl; return the result."""
    listed = mutants_pybindctl.MUTANTS
    chosen = choose(words, len(listed))
    killers = sorted({listed[number].killer for number in chosen})
    assert not fails(killers, folder), "a test fails without any mutant"
    alive = [number for number in chosen if not is_noticed(listed[number], folder)]
    for number in alive:
        mutant = listed[number]
        print(f"{number}: {mutant.file}: {mutant.old!r} -> {mutant.new!r}: {mutant.killer}")
    return result(len(listed), chosen, alive)


def result(listed, chosen, alive):
    """Return what is printed of either."""
    killed = len(chosen) - len(alive)
    return {"listed": listed, "mutants": len(chosen), "killed": killed, "alive": alive}


def main(subject, *words):
    """Try the mutants; the words choose some."""
    folder = support.scratch_dir()
    make_tree(folder)
    found = {"helpers": try_helpers, "pybindctl": try_pybindctl}[subject](words, folder)
    print(json.dumps(found))
    sys.exit(1 if found["alive"] else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
