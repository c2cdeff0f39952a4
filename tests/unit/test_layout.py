# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports point one way, as docs/architecture.md says."""

import ast
import collections
import importlib.machinery
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pybind"


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


def test_names_of_test_files_are_unique():
    """pytest imports test files by their names alone, and collects nothing where two are alike."""
    names = collections.Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_wheel_has_every_folder():
    """pyproject.toml lists packages by name: pip does not install one that is missing there."""
    text = (ROOT / "pyproject.toml").read_text()
    listed = set(re.findall(r'^    "(pybind[\w.]*)",$', text, re.MULTILINE)) - {"pybind.source"}
    assert listed == {f"pybind/{folder(name)}".strip("/").replace("/", ".") for name in NAMES}
