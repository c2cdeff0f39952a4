# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout shows the architecture: imports point one way."""

import ast
import pathlib
import re

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "pybind"
PAGE = (PACKAGE.parent / "docs/architecture.md").read_text()
# Who may import whom of ours, by module: the rows of the page.
ALLOWED = {
    row[1]: set(re.findall("`([^`]+)`", row[2]))
    for row in re.finditer(r"^\| `([^`]+)` \|[^|]*\|([^|]*)\|$", PAGE, re.MULTILINE)
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.module:
                yield node.module.replace(".", "/")
            else:
                yield from (alias.name for alias in node.names)


REST = ("admin/", "permissions/")
NAMES = sorted(str(p.relative_to(PACKAGE).with_suffix("")) for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_imports(name):
    """Only cli knows the order of the stages; stages do not import each other."""
    found = set(imported(PACKAGE / f"{name}.py"))
    if name == "cli":
        assert "cli" not in found
    elif name.startswith(REST):
        assert not found & {"supervisor", "start"}
    else:
        assert found <= ALLOWED[name]


def test_page_names_what_is_there():
    """docs/architecture.md has a row for each module, and none without one."""
    assert set(ALLOWED) == {n for n in NAMES if n != "cli" and not n.startswith(REST)}


def test_page_has_no_edge_too_many():
    """What a row allows is also imported somewhere in that module."""
    unused = {n: ALLOWED[n] - set(imported(PACKAGE / f"{n}.py")) for n in ALLOWED}
    assert {n: edges for n, edges in unused.items() if edges} == {}


def test_supervise_is_loaded_on_demand():
    """No module of the other modes imports the supervised mode at its top."""
    tree = ast.parse((PACKAGE / "cli.py").read_text())
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not any("supervise" in (node.module or "") for node in top)
