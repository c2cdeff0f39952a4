# SPDX-License-Identifier: GPL-3.0-or-later
"""README.md, SECURITY.md and docs/: their links, and what they say of tests and their results."""

import ast
import importlib
import pathlib
import re

import printed
import pytest
from programtable import GROUPS

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
README = (ROOT / "README.md").read_text()
FOLDERS = ("docs", "examples", "contrib", "bench/results")
PAGES = [
    *ROOT.glob("*.md"),
    *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")),
]


def names(pages):
    """Return the names of pages, for the ids of tests."""
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links(page):
    """The target of every relative link and picture of a page exists."""
    text = page.read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_readme_is_short():
    """The README has at most 140 lines; the first 25 say what, for whom, and how."""
    lines = README.splitlines()
    assert len(lines) <= 140
    first = "\n".join(lines[:25])
    for words in (
        "ordinary user",
        "port 80",
        "pybindctl grant",
        "pybind --port 80 --",
        "Java, Python",
    ):
        assert words in first


def test_every_page_is_listed():
    """docs/README.md lists each page of docs/; the first words of a page name its readers."""
    listed = (ROOT / "docs/README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "README.md":
            assert f"]({page.name})" in listed, page.name
        opening = page.read_text().split("\n\n")[1]
        assert re.match(r"For ", opening), page.name


# -- SECURITY.md and docs/proof.md: each test that they name exists, and figures are current

PROMISES = (ROOT / "SECURITY.md").read_text()
TRIED = (ROOT / "docs/proof.md").read_text()
TEXT = PROMISES + TRIED
PATHS = sorted(set(re.findall(r"`(tests/[\w/.]+?)(?:::\w+)?`", TEXT)))
FUNCTIONS = sorted(set(re.findall(r"(?:`|::)(test_\w+)`", TEXT)))
ALL_TESTS = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))


@pytest.mark.parametrize("path", PATHS)
def test_path_is_there(path):
    """Each file and folder that a page names exists."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_there(name):
    """Each test that a page names exists."""
    assert f"def {name}(" in ALL_TESTS


def test_each_promise_names_a_test():
    """Each promise, P1 to P9, names a test."""
    promises = re.split(r"\n- \*\*P\d\.\*\*", PROMISES.partition("## What is not promised")[0])[1:]
    assert len(promises) == 9
    assert all("*Held by*" in promise and "`tests/" in promise for promise in promises)


PROOF = (ROOT / "docs/proof.txt").read_text()
FAULTS = ("mutants", "mutants_rules", "mutants_kernel")  # of the helper and pybindd's programs
# The lists of mutants and coverage exceptions follow the source and are newer than the record.
FIGURES = (
    r"^rules +ok +([\d,]+) cases",
    r"^hostile +ok +(\d+) of \1 cases",
    r"parser ([\d,]+) executions",
    r"decoder ([\d,]+) executions",
    r"^faults +ok +([\d,]+) faults in the helper, (\d+) tests",
    r"preload ([\d,]+) binds, 0 wrong; supervise ([\d,]+) binds, 0 wrong",
    r"the longest (\d+) bytes",
)


@pytest.mark.parametrize("pattern", FIGURES)
def test_figures_are_those_of_the_record(pattern):
    """docs/proof.txt, a summary of make prove, has no failure; the pages show its figures."""
    assert PROOF.endswith(" passed, 0 failed\n")
    found = re.search(pattern, PROOF, re.MULTILINE)
    assert found
    table = TRIED.partition("## What was tried")[2]
    missing = [figure for figure in found.groups() if not re.search(rf"\b{figure}\b", table)]
    assert missing == []


def test_mutants_and_exceptions_are_as_many_as_the_table_says(monkeypatch):
    """The pages show the lengths of the lists, because make prove tries every entry."""
    for folder in ("mutation", "coverage"):
        monkeypatch.syspath_prepend(str(ROOT / "tests/proof" / folder))
    helpers = [importlib.import_module(name) for name in FAULTS]
    never = importlib.import_module("exceptions").NEVER
    assert f"| {sum(len(part.MUTANTS) for part in helpers)}, each noticed" in TRIED
    pythons = importlib.import_module("mutants_pybindctl").MUTANTS
    assert f"into pybindctl by hand (the same) | {len(pythons)}, each noticed" in TRIED
    assert f"; {sum(len(part.EQUIVALENT) for part in helpers)} more are argued" in TRIED
    for subject, name in (("helper", "the helper"), ("library", "the preload library")):
        row = re.search(rf"coverage of {name} by .* is argued in (\d+) entries", TRIED)
        assert row and int(row[1]) == len(never[subject])


# -- the lists of faults that docs/proof.md counts follow the sources


def test_each_fault_can_be_put_in(monkeypatch):
    """The text that an entry replaces occurs exactly once in its file."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/proof/mutation"))
    parts = [importlib.import_module(name) for name in (*FAULTS, "mutants_pybindctl")]
    faults = [m for part in parts for m in (*part.MUTANTS, *getattr(part, "EQUIVALENT", ()))]
    wrong = [(m.file, m.old) for m in faults if (ROOT / m.path).read_text().count(m.old) != 1]
    assert wrong == []


def test_each_fault_names_a_test(monkeypatch):
    """Each fault names the comparison, the fuzz targets, or an existing test or file."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/proof/mutation"))
    parts = [importlib.import_module(name) for name in (*FAULTS, "mutants_pybindctl")]
    killers = {m.killer for part in parts for m in part.MUTANTS}
    killers -= {parts[0].COMPAT, parts[0].KERNEL, parts[0].FUZZ}
    missing = []
    for killer in killers:
        file, _, test = killer.partition("::")
        if test and f"def {test.partition('[')[0]}(" not in (ROOT / file).read_text():
            missing.append(killer)
    assert missing == []


# -- docs/programs.md lists exactly the tests that have the mark `program`


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
    page = (ROOT / "docs" / "programs.md").read_text()
    rows = re.findall(
        r"^\| (.*) \| .* \| (.*) \| \[(test_\w+)\]\(\.\./tests/(.*)\) \| .* \|$", page, re.M
    )
    listed = {(file, test): (name, text) for name, text, test, file in rows}
    assert listed == marked(), "run make test-programs"
    assert len(rows) == len(listed)
    assert {file for file, _ in listed} == set(GROUPS)


# -- docs/repairs.md: every command that a message prints is typed by a test

tool = printed.tool()
COMMANDS = {each.name for each in tool.printed()}


def test_each_is_typed():
    """A command without a test, or without a reason for having none, is a repair that is believed."""
    assert sorted(COMMANDS - set(tool.typed()) - set(tool.UNTYPED)) == []


def test_reasons_are_needed():
    """No reason is left for a command that a test types, or that nothing prints any more."""
    assert sorted(set(tool.UNTYPED) - (COMMANDS - set(tool.typed()))) == []


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
    assert name in COMMANDS
    said = "pybind: /x: this user cannot search it\npybind: repair: sudo chmod 0755 /x\n"
    assert printed.said(said, name) == "sudo chmod 0755 /x"
    with pytest.raises(AssertionError):
        printed.said(said.replace("0755", "0644"), name)


def test_no_name_is_stale():
    """A name that a test hands on is that of a command which is printed."""
    shaped = re.compile(r"[\w.]+: (?:sudo|\{\w+\}|pybind|--|ulimit|unshare|mount|df|ip|grep)[ ]?.*")
    stale = {
        node.value
        for path in TESTS.rglob("*.py")
        if path.parent.name != "unit"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and "printed." in ast.unparse(node.func)
        for node in ast.walk(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if shaped.fullmatch(node.value) and node.value not in COMMANDS
    }
    assert stale == set()
