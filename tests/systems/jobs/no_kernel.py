# SPDX-License-Identifier: GPL-3.0-or-later
"""A system on which pybindd cannot run: the reason is said, and pybind serves by the helper."""

import os

import world

SERVICE = "pybindd.service"
REASON = os.environ["REASON"]


def test_every_way():
    """Every way of pybind serves."""
    world.every_way()


def test_doctor():
    """`pybindctl doctor` finds nothing broken, and says why pybindd cannot run here."""
    assert REASON in world.run("pybindctl", "doctor", "-v")


def test_trial():
    """`pybindd --trial` says why it cannot run here."""
    assert REASON in world.run("pybindd", "--trial", status=3)


def test_service():
    """The service fails at its start, with the reason in the journal; pybind serves after."""
    assert world.systemctl("start", SERVICE, status=None)
    world.wait_for(lambda: world.failed(SERVICE), "the service to fail")
    assert REASON in world.journal(SERVICE)
    world.every_way()
