# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of refusals share: root's commands, a refusal's form, and its repair typed."""

import subprocess

import printed
import support


def as_root(*argv):
    """Run argv as root to its end."""
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, cwd="/",
                          timeout=support.PATIENCE_S)  # fmt: skip


def refused(done, *words, status=125):
    """Assert a clear refusal: status, no stdout, at most five lines that all name pybind."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 5
    assert all(line.startswith("pybind: ") for line in lines)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr


def repair(message, name):
    """Type the command of that name that the message proposes."""
    printed.typed_saying_yes(message, name)


def told(done, status=125):
    """Return the lines of a refusal, without the name of the command."""
    assert done.returncode == status, done
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("pybind: ") for line in lines), done.stderr
    return [line.removeprefix("pybind: ") for line in lines]
