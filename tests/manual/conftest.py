# SPDX-License-Identifier: GPL-3.0-or-later
"""A fixture that the tests of the manual share."""

import pytest
from installing import make


@pytest.fixture
def installed():
    """Install pybind again after the test."""
    yield
    make("install")
