# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the manual share."""

import pytest
from installing import make


@pytest.fixture
def installed():
    """Leave pybind installed, whatever the test did with it."""
    yield
    make("install")
