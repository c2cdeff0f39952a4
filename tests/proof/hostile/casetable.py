# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin that writes docs/hostile.md, the cases with their tests (make test-hostile).

-p casetable --hostile-table FILE   run only tests that show a case, write the table
-p casetable --hostile-names FILE   write {case: [tests]} as JSON, after collecting
"""

import collections
import datetime
import json
import os
import pathlib
import re

import pytest
from cases import CASES, GROUPS, RELIABILITY

OWN_NAME = re.compile(r"test_(case|reliability)_(\d+)_")
HEAD = """# Hostile cases

For reviewers: attacks and faults, their required results, and the tests that show these results. `make test-hostile`
writes this page. The names of tests (`test_case_17_...`, `test_reliability_03_...`) or their marks
(`pytest.mark.hostile(17)`) have the numbers. Every attack of `tests/proof/hostile` runs as two unprivileged users against
the installed helper. After each attack a normal request must be granted and another be refused.

The results are those of {kernel} on {machine}, {date}.
"""


def pytest_addoption(parser):
    parser.addoption("--hostile-table", metavar="FILE")
    parser.addoption("--hostile-names", metavar="FILE")


def cases_of(item):
    """Return the cases that a test shows, as "17" or "R3"."""
    found = [str(case) for mark in item.iter_markers("hostile") for case in mark.args]
    named = OWN_NAME.match(item.name)
    if named:
        found.append(("R" if named[1] == "reliability" else "") + str(int(named[2])))
    return found


def test_of(nodeid):
    """Return a test's id below tests/ without its parameters."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def sort_tests(tests):
    """Return tests in the order of the table: those of tests/proof/hostile first."""
    return sorted(set(tests), key=lambda test: (not test.startswith("proof/hostile/"), test))


class Plugin:
    """Collects the tests of each case and their results in a session, and writes the page."""

    def __init__(self, config):
        self.config = config
        self.tests = collections.defaultdict(list)  # case -> tests
        self.results = collections.defaultdict(collections.Counter)  # test -> {outcome: count}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        kept = []
        for item in items:
            for case in cases_of(item):
                self.tests[case].append(test_of(item.nodeid))
                kept.append(item)
        names = config.getoption("--hostile-names")
        if names:
            tests = {case: sort_tests(found) for case, found in self.tests.items()}
            pathlib.Path(names).write_text(json.dumps(tests))
        items[:] = dict.fromkeys(kept)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            word = report.outcome
            if hasattr(report, "wasxfail"):
                word = "known fault"
            elif report.skipped:
                word = "not run: " + report.longrepr[2].removeprefix("Skipped: ")
            self.results[test_of(report.nodeid)][word] += 1

    def pytest_terminal_summary(self, terminalreporter):
        shown = [
            case
            for case, tests in self.tests.items()
            if any(self.results[test]["passed"] for test in tests)
        ]
        total = len(CASES) + len(RELIABILITY)
        terminalreporter.write_line(f"hostile: {len(shown)} of {total} cases shown")

    def pytest_sessionfinish(self):
        path = self.config.getoption("--hostile-table")
        if path:
            pathlib.Path(path).write_text(self.render())

    def row(self, label, case, key):
        tests = sort_tests(self.tests[key])
        total = sum((self.results[test] for test in tests), collections.Counter())
        words = [f"{count} {word}" for word, count in sorted(total.items(), key=order)]
        required = case.required + (f" ({case.note})" if case.note else "")
        listed = "<br>".join(f"`{test}`" for test in tests)
        return f"| {label} | {case.attack} | {required} | {listed} | {'; '.join(words)} |"

    def render(self):
        uname = os.uname()
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        kernel = f"Linux {uname.release.partition('-')[0]}"
        lines = [HEAD.format(kernel=kernel, machine=uname.machine, date=today)]
        tables = [(title, [(str(n), CASES[n], str(n)) for n in numbers])
                  for title, numbers in GROUPS.items()]  # fmt: skip
        rows = [(f"R{n}", case, f"R{n}") for n, case in RELIABILITY.items()]
        for title, group in [*tables, ("Reliability", rows)]:
            lines += [f"## {title}", "", "| case | attack or fault | required | tests | result |"]
            lines += ["| --- | --- | --- | --- | --- |"]
            lines += [*(self.row(*entry) for entry in group), ""]
        return "\n".join(lines)


def order(entry):
    """Return a key that sorts `passed` first."""
    return entry[0] != "passed", entry[0]


def pytest_configure(config):
    config.pluginmanager.register(Plugin(config))
