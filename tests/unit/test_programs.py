# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/programs.md lists exactly the tests that have the mark `program`."""

import ast
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parent.parent

from programtable import GROUPS  # noqa: E402


def marked():
    """Return {(file, test): (name, docstring)} of every marked test, read from the sources."""
    found = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for call in getattr(node, "decorator_list", ()):
                if ast.unparse(call).startswith("pytest.mark.program("):
                    text = ast.get_docstring(node).splitlines()[0]
                    found[str(path.relative_to(TESTS)), node.name] = (call.args[0].value, text)
    return found


def test_table_lists_the_marked_tests():
    """Program, docstring and test of each row are those of a marked test."""
    page = (TESTS.parent / "docs" / "programs.md").read_text()
    rows = re.findall(
        r"^\| (.*) \| .* \| (.*) \| \[(test_\w+)\]\(\.\./tests/(.*)\) \| .* \|$", page, re.M
    )
    listed = {(file, test): (name, text) for name, text, test, file in rows}
    assert listed == marked(), "run make test-programs"
    assert len(rows) == len(listed)
    assert {file for file, _ in listed} == set(GROUPS)
