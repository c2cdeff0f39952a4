# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared parts of the tests of refusals: what a refusal looks like, and its repair typed."""

import printed


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
