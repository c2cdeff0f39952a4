# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel with no_file_caps: all ports are refused, with the reason."""

import world


def test_refused_with_the_reason():
    """Every port is refused, and the kernel's command line is named."""
    world.refused("pybind --port 80 -- true", "no_file_caps")


def test_doctor():
    """`pybindctl doctor` names it."""
    assert "no_file_caps" in world.run("pybindctl", "doctor", status=1)


def test_unprivileged():
    """A program on a port of its own is started as ever."""
    world.run("su", "-", "alice", "-c", "pybind --port 8080 -- true")
