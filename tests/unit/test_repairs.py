# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command that a message prints is typed by a test, and docs/repairs.md says by which."""

import ast
import re

import printed
import pytest

tool = printed.tool()
NAMES = {each.name for each in tool.printed()}


def test_each_is_typed():
    """A command without a test, or without a reason for having none, is a repair that is believed."""
    assert sorted(NAMES - set(tool.typed()) - set(tool.UNTYPED)) == []


def test_reasons_are_needed():
    """No reason is left for a command that a test types, or that nothing prints any more."""
    assert sorted(set(tool.UNTYPED) - (NAMES - set(tool.typed()))) == []


def test_page():
    """docs/repairs.md is what tools/repairs writes."""
    assert tool.PAGE.read_text() == tool.page(), "run tools/repairs"


def test_commands_of_root_begin_with_sudo():
    """What needs root and is printed without sudo is a refusal more."""
    roots = (
        "apt-get",
        "chmod",
        "chown",
        "mv",
        "pybindctl grant",
        "pybindctl setup",
        "setcap",
        "sysctl",
    )
    assert [each.name for each in tool.printed() if tool.command(each.text).startswith(roots)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('def f(): return "repair: sudo rm x"', "sudo rm x"),
        ('def f(p): return f"repair: sudo chmod 0644 {p}; it"', "sudo chmod 0644 ...; it"),
        ('def f(p): return "repair: " + sudo(("mv", p, p + ".old"))', "sudo mv ... ....old"),
        ('def f(p): raise E("x", "repair: sudo " + REINSTALL)', "sudo {REINSTALL}"),
        ('X = "sudo setup"\ndef f(): return g(X)', "sudo setup"),
        ('def f(): return "to see: pybind --help"', "pybind --help"),
        ('def f(): return put_aside("x")', "{put_aside}"),
        ('def f():\n    """Type sudo rm x."""', None),
        ('def f(): return "sudo and ping cannot work"', None),
    ],
)  # fmt: skip
def test_what_is_found(source, found):
    """Strings, joined or formatted, calls and names: each way of printing a command is seen."""
    tree = ast.parse(source)
    texts = tool._Texts({"REINSTALL": "{REINSTALL}", "put_aside": "{put_aside}"}, tree)
    commands = [tool.command(texts.of(node)) for _, node in tool._expressions(tree, "")]
    assert [text for text in commands if text] == ([] if found is None else [found])


def test_taken_from_the_output():
    """A name finds its command in the output, and nothing where the output has another one."""
    name = "files._reveal: sudo chmod 0755 ..."
    assert name in NAMES
    said = "pybind: /x: this user cannot search it\npybind: repair: sudo chmod 0755 /x\n"
    assert printed.said(said, name) == "sudo chmod 0755 /x"
    with pytest.raises(AssertionError):
        printed.said(said.replace("0755", "0644"), name)


def test_no_name_is_stale():
    """A name that a test hands on is that of a command which is printed."""
    shaped = re.compile(r"[\w.]+: (?:sudo|\{\w+\}|pybind|--|ulimit|unshare|mount|df|ip|grep)[ ]?.*")
    stale = {
        node.value
        for path in (tool.ROOT / "tests").rglob("*.py")
        if path.parent.name != "unit"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and "printed." in ast.unparse(node.func)
        for node in ast.walk(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if shaped.fullmatch(node.value) and node.value not in NAMES
    }
    assert stale == set()
