# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout shows the architecture: imports point one way."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "pybind"
# Who may import whom of ours; data flows argv -> request -> helper -> plan -> exec.
ALLOWED = {
    "__init__": set(),
    "_build": set(),
    "_wire": set(),
    "errors": set(),
    "model": set(),
    "paths": {"_build"},
    "request": {"errors", "model"},
    "target": {"errors", "model", "paths"},
    "plan": {"errors", "model"},
    "helper": {"_wire", "errors", "model", "paths"},
    "proof": {"_wire", "helper", "model"},
    "launch": {"errors", "model"},
    "diagnose": {"paths"},
    "explain": {"_wire", "diagnose", "model", "paths", "proof"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.module:
                yield node.module
            else:
                yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("name", sorted(p.stem for p in PACKAGE.glob("*.py")))
def test_imports(name):
    """Only cli knows the order of the stages; stages do not import each other."""
    found = set(imported(PACKAGE / f"{name}.py"))
    if name == "cli":
        assert "cli" not in found
    else:
        assert found <= ALLOWED[name]
