# SPDX-License-Identifier: GPL-3.0-or-later
"""-h and --help of pybindctl: whole sentences that fit a terminal of 80 columns."""

import os
import pathlib
import shutil

import click
import pytest
import support
from ctl import PYBINDCTL, done, failed

from pybind.admin import cli


def _words(prefix, command):
    yield prefix
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from _words([*prefix, name], command.get_command(click.Context(command), name))


COMMANDS = list(_words([], cli._group))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help(words):
    """Every command has both, and no sentence of the list of commands is cut."""
    environment = {**os.environ, "COLUMNS": "80"}
    short = done(*words, "-h", env=environment)
    assert short == done(*words, "--help", env=environment)
    lines = short.splitlines()
    assert lines[0].startswith(" ".join(["Usage: pybindctl", *words]))
    assert all(len(line) <= 80 for line in lines)
    assert "<=" not in short
    assert ">=" not in short
    below = lines[lines.index("Commands:") + 1 :] if "Commands:" in lines else []
    assert all(line.endswith(".") and not line.endswith("...") for line in below)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["grant", "--no-such"], "pybindctl grant"),
        (["grant"], "pybindctl grant"),
        (["import", "authbind", "--no-such"], "pybindctl import authbind"),
        (["import", "no-such"], "pybindctl import"),
        (["no-such"], "pybindctl"),
        (["--no-such"], "pybindctl"),
    ],
)
def test_an_error_names_the_help_of_its_command(arguments, named):
    """What was typed wrongly stands in the help that is named."""
    said = failed(2, *arguments)
    assert said.splitlines()[-1] == f"pybindctl: see: {named} --help"
    done(*named.split()[1:], "--help")


@pytest.mark.parametrize(
    "arguments",
    [
        ["grant", "--yes", "nobody", "80", "443/tcp"],
        ["revoke", "nobody", "80"],
        ["check", "--user", "root", "[::1]:80"],
        ["import", "authbind", "/etc/no such folder", "--apply"],
        ["setup"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_who_is_not_root_is_told_the_whole_command(arguments):
    """What an ordinary user typed stands there with sudo before it, and an administrator types it."""
    if arguments[0] == "revoke":
        done("grant", "nobody", "80")
    if arguments[0] == "import":
        folder = pathlib.Path(arguments[2])
        folder.mkdir()
        (folder / "byport").mkdir()
    try:
        refused = support.run([PYBINDCTL, *arguments])
        assert refused.returncode == 4, refused.stderr
        said = refused.stderr.splitlines()[-1]
        assert said.startswith("pybindctl: as an administrator: sudo pybindctl ")
        support.type_repair(said)
    finally:
        if arguments[0] == "import":
            shutil.rmtree(folder)
    if arguments[0] == "grant":
        assert "443" in done("list")


def test_words_that_cannot_be_typed_are_not_repeated():
    """A line break in an argument does not reach the terminal as one."""
    refused = support.run([PYBINDCTL, "grant", "a\nb", "80"])
    assert refused.returncode == 4
    assert refused.stderr.endswith(": as an administrator: the same with sudo before it\n")
