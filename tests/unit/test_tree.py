# SPDX-License-Identifier: GPL-3.0-or-later
"""The source tree holds together: imports, the wire format, the Makefile, and the tests' files."""

import ast
import collections
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import struct
import subprocess
import sys

import pytest

from pybind import _wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"


# -- imports point one way, as docs/architecture.md says


def load(path):
    """Return a script as a module."""
    loader = importlib.machinery.SourceFileLoader("imports", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("imports", loader))
    loader.exec_module(module)
    return module


page = load(ROOT / "tools/imports")
ROWS = page.rows()
NAMES = page.modules()
# Folder -> the other folders that it may import from; "" is pybind/ itself.
FOLDERS = {
    row[1].strip("./"): {word.strip("./") for word in re.findall("`([^`]+)/`", row[2])}
    for row in re.finditer(r"^\| `([^`]+/)` \|[^|]*\|([^|]*)\|$", page.PAGE.read_text(), re.M)
}


def folder(name):
    return name.rpartition("/")[0]


def all_imports(name):
    """Yield the names of all modules that a module imports by an absolute name."""
    for node in ast.walk(page.parse(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@pytest.mark.parametrize("name", NAMES)
def test_imports(name):
    """A module imports exactly what its row names."""
    if name in page.NO_ROW:
        assert not page.imported(name) & page.NO_ROW
    else:
        assert page.imported(name) == ROWS[name][1], "see tools/imports"


def test_page_names_what_is_there():
    """docs/architecture.md has one row for each module and each folder, and no other row."""
    assert set(ROWS) == set(NAMES) - page.NO_ROW
    assert set(FOLDERS) == {folder(name) for name in NAMES}
    assert all(job or name.endswith("__init__") for name, (job, _) in ROWS.items())


def test_rows_point_upwards():
    """A row names only rows above it, so imports have no circle and never point upwards."""
    order = {name: at for at, name in enumerate(ROWS)}
    wrong = [
        (name, other)
        for name, (_, others) in ROWS.items()
        for other in others - page.NO_ROW
        if order[other] >= order[name]
    ]
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_folders(name):
    """A folder imports from itself, and from the folders that its row names."""
    others = {folder(other) for other in page.imported(name)} - {folder(name)}
    assert others <= FOLDERS[folder(name)]


def test_supervise_is_loaded_on_demand():
    """No module outside supervise/ imports the supervised mode at its top."""
    top = [node for node in page.parse("cli").body if isinstance(node, ast.ImportFrom)]
    assert not any("supervise" in (node.module or "") for node in top)


def test_who_speaks_to_a_terminal():
    """Only the fronts of pybindctl and pybind's own command line import click."""
    with_click = {name for name in NAMES if "click" in set(all_imports(name))}
    fronts = {name for name in with_click if folder(name) == "admin/commands"}
    assert fronts
    assert with_click - fronts == {"admin/cli", "admin/output", "commandline"}


def test_permissions_ask_nobody():
    """The modules of permissions/ start neither the helper nor any other process."""
    for name in NAMES:
        if name.startswith("permissions/"):
            assert not page.imported(name) & {"helper", "binding", "listed", "listening"}, name
            assert "subprocess" not in set(all_imports(name)), name


def test_nobody_imports_a_command():
    """Only the command line loads a command, by name, when the command is typed."""
    importing = {
        (name, other)
        for name in NAMES
        for other in page.imported(name)
        if folder(other) == "admin/commands"
    }
    assert importing == set()


def test_folders_have_room():
    """A folder that is full has more than one job."""
    counts = collections.Counter(map(folder, NAMES))
    assert counts.pop("") > 0  # pybind/ itself is the launch, stage by stage
    assert counts.pop("admin") <= 6
    assert max(counts.values()) <= 14


def test_wheel_has_every_folder():
    """pyproject.toml lists packages by name: pip does not install one that is missing there."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = set(re.findall(r'^    "(pybind[\w.]*)",$', text, re.MULTILINE)) - {"pybind.source"}
    assert listed == {f"pybind/{folder(name)}".strip("/").replace("/", ".") for name in NAMES}


# -- protocol.h and _wire.py define the same wire format


def test_generated_file_is_current():
    """_wire.py is what tools/gen_wire.py makes from the header."""
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "gen_wire.py"], capture_output=True, text=True, check=True
    )
    assert made.stdout == (ROOT / "pybind" / "_wire.py").read_text()


def test_compiler_agrees(tmp_path):
    """The compiler lays the structures out as the struct module does."""
    source = tmp_path / "sizes.c"
    source.write_text(
        '#include <stdio.h>\n#include <stddef.h>\n#include "protocol.h"\n'
        'int main(void){printf("%zu %zu %zu %zu %zu %zu", sizeof(struct pb_request),'
        "sizeof(struct pb_reply), sizeof(struct pb_step), offsetof(struct pb_request, addr),"
        "offsetof(struct pb_reply, name), sizeof(struct pb_trace)); return 0;}\n"
    )
    subprocess.run(["cc", "-I", ROOT / "helpers", "-o", tmp_path / "sizes", source], check=True)
    sizes = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True)
    request = struct.calcsize(_wire.REQUEST_FORMAT)
    reply = struct.calcsize(_wire.REPLY_FORMAT)
    step = struct.calcsize(_wire.STEP_FORMAT)
    expected = [request, reply, step, request - 16, reply - 64, 4 + _wire.TRACE_MAX * step]
    assert [int(size) for size in sizes.stdout.split()] == expected


# -- what make tells a newcomer

INNER = {"FORCE", "no-bpf"}  # targets that nobody types


def test_help_has_a_line_for_each_target():
    """Each phony target of the Makefile has a line in `make help`, and nothing else has."""
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = set(phony[1].replace("\\", "").split()) - INNER
    shown = subprocess.run(["make", "-C", ROOT, "-s", "help"], capture_output=True, text=True)
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    assert shown.returncode == 0, shown.stderr
    assert sorted(name for name, _ in lines) == sorted(targets)
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_a_build_without_clang_says_so_once():
    """What is left out is said with the command that helps; the installation after it is silent."""
    command = ["make", "-C", ROOT, "-s", "no-bpf", "BPF_CLANG=no-such-clang"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert said.endswith("to build them too: sudo apt-get install clang libbpf-dev\n")
    again = subprocess.run([*command, "QUIET=1"], capture_output=True, text=True, check=True)
    assert again.stderr == again.stdout == ""


# -- faults that end a run of all tests before the first test starts


def test_names_of_test_files_are_unique():
    """pytest imports test files by their names alone, and collects nothing where two are alike."""
    names = collections.Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_files_have_one_name():
    """pytest puts each folder on sys.path, so it finds only the first of two equal names."""
    names = collections.Counter(p.name for p in TESTS.rglob("*.py") if "src" not in p.parts)
    assert {name for name, count in names.items() if count > 1} <= {"conftest.py", "__init__.py"}


def test_each_file_can_be_collected(tmp_path):
    """A file that cannot be imported would end the run."""
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only"]
    done = subprocess.run(
        [*command, TESTS], env={**os.environ, "PYBIND_SANDBOX": str(tmp_path)},
        capture_output=True, text=True, cwd=ROOT, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
