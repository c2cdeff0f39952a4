# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the commands that messages print from real output, by their names, and types them.

The names are those of tools/repairs, which finds every command in the code; a unit test
fails where no test hands a name on to here.
"""

import functools
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As in support.py, which the unit tests cannot import: they have no sandbox.
PATIENCE_S = float(os.environ.get("PYBIND_PATIENCE") or 120)
HOLE = re.compile(r"\.\.\.|\{\w+\}")


@functools.lru_cache(None)
def tool():
    """Return tools/repairs as a module."""
    loader = importlib.machinery.SourceFileLoader("repairs_tool", str(ROOT / "tools/repairs"))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("repairs_tool", loader)
    )
    loader.exec_module(module)
    return module


@functools.lru_cache(None)
def patterns(name):
    """Return regular expressions for the command of that name: behind its label, and alone."""
    text = next(each.text for each in tool().printed() if each.name == name)
    command = tool().command(text)
    label = re.split(r"\.\.\.|\n", text[: text.index(command)])[-1]
    parts = [re.escape(part) for part in HOLE.split(command)]
    if not parts[0] and not command.startswith("..."):
        parts[0] = "sudo "  # a hole that a command begins with
    alone = ".+".join(parts)
    return rf"{re.escape(label)}({alone})$", rf"(?:^|\s)({alone})$"


def said(output, name):
    """Return the command of that name, which must stand in this output at the end of a line."""
    for pattern in patterns(name):
        found = re.search(pattern, output, re.MULTILINE)
        if found:
            return found[1]
    raise AssertionError(f"{name}: {patterns(name)} is not in {output!r}")


def type_as_root(command, status=0, **options):
    """Type a command as an administrator; returns what it prints."""
    options.setdefault("cwd", "/")
    done = subprocess.run(
        command, shell=True, check=False, timeout=PATIENCE_S, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options,
    )  # fmt: skip
    assert done.returncode == status, (command, done.stdout)
    return done.stdout


def typed(output, name, **options):
    """Type the command of that name, taken from this output, as an administrator."""
    return type_as_root(said(output, name), **options)


def typed_saying_yes(output, name):
    """Type it on a terminal, and say yes to what asks."""
    command = said(output, name)
    script = ["/usr/bin/script", "--quiet", "--return", "--command", command, "/dev/null"]
    done = subprocess.run(script, input="y\n", capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, (command, done.stdout)
