# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout shows the architecture: imports point one way."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "pybind"
# Who may import whom of ours; data flows argv -> request -> helper -> plan -> exec.
ALLOWED = {
    "__init__": set(),
    "_lean": set(),
    "_wire": set(),
    "errors": set(),
    "model": {"_lean"},
    "log": set(),
    "paths": set(),
    "request": {"_lean", "errors", "model"},
    "options": {"_lean", "errors", "model", "plan", "request"},
    "commandline": {"__version__", "errors", "model", "options", "request"},
    "target": {"errors", "model", "paths"},
    "plan": {"_lean", "errors", "model"},
    "helper": {"_lean", "_wire", "errors", "model", "paths"},
    "proof": {"_lean", "_wire", "helper", "model"},
    "launch": {"_lean", "errors", "model"},
    "output": set(),
    "user": {"errors", "model"},
    "drop": {"diagnose", "errors", "model"},
    "diagnose": {"paths"},
    "explain": {"_lean", "_wire", "diagnose", "model", "paths", "proof"},
    "proving": {
        "errors", "explain", "model", "output", "plan", "proof",
    },
    "listening": {"_lean", "errors", "explain", "model", "output", "proof", "proving"},
    # Loaded only in the supervised mode; what it takes from the package above.
    "supervise/__init__": set(),
    "supervise/kernel": set(),
    "supervise/messages": set(),
    "supervise/filter": {"errors"},
    "supervise/request": {"kernel"},
    "supervise/sockets": {"model", "request"},
    "supervise/front": {"messages"},
    "supervise/preflight": {"diagnose", "errors", "filter", "kernel", "model"},
    "supervise/supervisor": {
        "_wire", "errors", "explain", "helper", "kernel", "messages", "model", "plan", "proof",
        "request", "sockets",
    },
    "supervise/start": {
        "errors", "filter", "front", "kernel", "launch", "messages", "model", "preflight",
        "supervisor",
    },
}  # fmt: skip


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.module:
                yield node.module
            else:
                yield from (alias.name for alias in node.names)


NAMES = sorted(str(p.relative_to(PACKAGE).with_suffix("")) for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_imports(name):
    """Only cli knows the order of the stages; stages do not import each other."""
    found = set(imported(PACKAGE / f"{name}.py"))
    if name == "cli":
        assert "cli" not in found
    elif name.startswith("admin/"):
        assert not found & {"supervisor", "start"}
    else:
        assert found <= ALLOWED[name]


def test_supervise_is_loaded_on_demand():
    """No module of the other modes imports the supervised mode at its top."""
    tree = ast.parse((PACKAGE / "cli.py").read_text())
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not any("supervise" in (node.module or "") for node in top)
