# SPDX-License-Identifier: GPL-3.0-or-later
"""In the machine: installs the package first, and notes each check's outcome for the table.

A check is a test; the first line of its docstring is what the table calls it.
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
    """Have the package installed, and alice granted what the checks bind."""
    if not pathlib.Path("/usr/bin/pybind").exists():
        world.install()
        world.run("pybindctl", "grant", "--yes", "alice", "80", "443/tcp", "53/udp")
        # Else each login starts alice's manager and ends it, which takes most of a check's time.
        world.run("loginctl", "enable-linger", "alice")


def words(item):
    """Return what the table calls a check: its docstring, with the parameter in place of {}."""
    text = (item.function.__doc__ or item.name).strip().splitlines()[0].rstrip(".")
    return text.format(item.callspec.id) if hasattr(item, "callspec") else text


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Write one line for each check; a failure is said at once."""
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
