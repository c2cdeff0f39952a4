# SPDX-License-Identifier: GPL-3.0-or-later
"""In the machine: installs the package first, and records each check's outcome for the table.

A check is a test; the table shows the first line of its docstring.
"""

import json
import os
import pathlib
import platform

import pytest
import world

RESULTS = pathlib.Path(os.environ["RESULTS"])


def pytest_configure(config):
    """Say which system this is."""
    release = dict(
        line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines()
    )
    about = {
        "kernel": platform.release(),
        "release": release["PRETTY_NAME"].strip('"'),
        "python": platform.python_version(),
    }
    (RESULTS / "about.json").write_text(json.dumps(about))


@pytest.fixture(scope="session", autouse=True)
def in_force():
    """What the words of the kernel's command line are to do is done, else nothing is judged."""
    path, _, text = os.environ.get("IN_FORCE", "").partition("\n")
    if path:
        assert text in pathlib.Path(path).read_text(), f"{path} has no {text}"


@pytest.fixture(scope="session", autouse=True)
def package(in_force):
    """Install the package, and grant alice the ports of the checks."""
    if not pathlib.Path("/usr/bin/pybind").exists():
        world.install()
        # Without file capabilities the grant is written, and the status says that it does not count.
        useless = "no_file_caps" in pathlib.Path("/proc/cmdline").read_text()
        grant = ("pybindctl", "grant", "--yes", "alice", "80", "443/tcp", "53/udp")
        world.run(*grant, status=int(useless))
        # So that not every login starts and ends alice's manager, which takes most of the time.
        world.run("loginctl", "enable-linger", "alice")


def words(item):
    """Return a check's words in the table: its docstring, with the parameter in place of {}."""
    text = (item.function.__doc__ or item.name).strip().splitlines()[0].rstrip(".")
    return text.format(item.callspec.id) if hasattr(item, "callspec") else text


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Record one line for each check, and print a failure at once."""
    report = (yield).get_result()
    if report.when == "call" or report.outcome != "passed":
        reason = str(report.longrepr[2] if report.skipped else report.longreprtext)
        line = {"check": words(item), "outcome": report.outcome, "said": reason[-4000:]}
        with (RESULTS / "checks").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if report.failed:
            capture = item.config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():
                print(f"\n-- {line['check']}\n{reason}\n", flush=True)
