# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reader of the manual sees first, on a terminal of 80 columns and 40 lines."""

import re
import subprocess

import pytest
import support

MAN = support.REPOSITORY / "man"
PAGES = sorted(MAN.glob("*.[1-9]"))
SCREEN = 40  # lines


def shown(page):
    """Return the lines of a page as man(1) shows them, without bold and underlines."""
    command = ["mandoc", "-T", "ascii", "-O", "width=80", page]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.sub(r".\x08", "", text).splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lint(page):
    """mandoc(1) has no warning about any page."""
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("option", ["--port", "--listen", "--user", "--check", "--mode"])
def test_an_option_stands_on_the_first_screen(option):
    """Who looks for an option finds how it is written without turning the page."""
    assert option in "\n".join(shown(MAN / "pybind.1")[:SCREEN])


@pytest.mark.parametrize(
    "line",
    [
        "sudo pybindctl grant alice 80",
        "pybind --port 80 -- java -jar app.jar",
        "pybind --listen --port 80 -- gunicorn app:app",
        "pybind --user www-data --port 80 -- /srv/app/server",
    ],
)
def test_what_to_type_stands_on_the_first_screen(line):
    """The commands that most readers want can be copied from the first screen."""
    assert line in [each.strip() for each in shown(MAN / "pybind.1")[:SCREEN]]
