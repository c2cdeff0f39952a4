# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin that writes docs/programs.md, the table of programs (make test-programs).

    -p programtable -m program --programs-table FILE

A test has the mark `pytest.mark.program(NAME, PACKAGE)`. PACKAGE is the distribution's
package of the program NAME, or a path in that package. A program without PACKAGE is one of
the project's own. The table shows the first line of the test's docstring. The file of the
test says how the program is served.
"""

import collections
import datetime
import inspect
import os
import pathlib
import platform
import re
import subprocess

import pytest

# File below tests/ -> heading, in the order of the table.
GROUPS = {
    "programs/test_servers.py": "Servers, served by the preload library",
    "supervise/test_any_program.py": "Programs that no library reaches, and others, supervised",
    "kernel/test_without_wrapper.py": "Without any wrapper, while pybindd runs",
    "listen/test_given.py": "Programs that are given their sockets (`--listen`, `--inetd`)",
    "programs/test_behaviour.py": "Programs of our own with awkward habits, preload library",
}
HEAD = """# Programs

For readers who ask whether their program is served. The tables list unmodified programs that an unprivileged user runs on
port 80, with the test that shows each. In the section about pybindd the programs run without pybind; there each is also
refused port 81, which is not granted, with EACCES. `make test-programs` installs the programs from the distribution, runs
only these tests and writes this page; `make test` runs the tests too. A test with several results runs in several variants;
those of `tests/listen` also run under no_new_privs.

The results are those of {system}, {kernel} on {machine}, {date}.
"""


def pytest_addoption(parser):
    parser.addoption("--programs-table", metavar="FILE")


def origin_of(package):
    """Return the name and upstream version of an installed package, or of a path's package."""
    if package.startswith("/"):
        command = ["dpkg-query", "--search", os.path.realpath(package)]
        package = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.partition(":")[
            0
        ]
    command = ["dpkg-query", "--show", "--showformat", "${Version}", package]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode != 0:
        return "not from the distribution"
    return f"{package} {re.split('[-+~]', found.stdout.rpartition(':')[2])[0]}"


class Plugin:
    """Collects the marked tests and their results in a session, and writes the page."""

    def __init__(self, config):
        self.config = config
        self.marked = {}  # test -> (name, package or None, docstring)
        self.results = collections.defaultdict(collections.Counter)  # test -> {outcome: count}

    def pytest_collection_modifyitems(self, items):
        for item in items:
            mark = item.get_closest_marker("program")
            if mark:
                text = inspect.getdoc(item.function).splitlines()[0]
                self.marked[test_of(item.nodeid)] = (*mark.args, None)[:2] + (text,)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            word = report.outcome
            if report.skipped:
                word = "not run: " + report.longrepr[2].removeprefix("Skipped: ")
            self.results[test_of(report.nodeid)][word] += 1

    def pytest_sessionfinish(self, exitstatus):
        path = self.config.getoption("--programs-table")
        if path and exitstatus == pytest.ExitCode.OK:
            pathlib.Path(path).write_text(self.render())

    def row(self, test):
        name, package, text = self.marked[test]
        origin = origin_of(package) if package else "ours"
        words = [f"{count} {word}" for word, count in sorted(self.results[test].items())]
        link = f"[{test.partition('::')[2]}](../tests/{test.partition('::')[0]})"
        return f"| {name} | {origin} | {text} | {link} | {'; '.join(words)} |"

    def render(self):
        lines = [HEAD.format(
            system=platform.freedesktop_os_release()["PRETTY_NAME"],
            kernel=f"Linux {os.uname().release.partition('-')[0]}", machine=os.uname().machine,
            date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        )]  # fmt: skip
        for file, title in GROUPS.items():
            lines += [f"## {title}", "", "| program | from | exercised | test | result |"]
            lines += ["| --- | --- | --- | --- | --- |"]
            lines += [self.row(test) for test in self.marked if test.partition("::")[0] == file]
            lines.append("")
        return "\n".join(lines)


def test_of(nodeid):
    """Return a test's id below tests/ without its parameters."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def pytest_configure(config):
    config.pluginmanager.register(Plugin(config))
