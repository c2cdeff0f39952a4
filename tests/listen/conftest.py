# SPDX-License-Identifier: GPL-3.0-or-later
"""A fixture that the tests of --listen share."""

import pytest
from support import UID, rules


@pytest.fixture
def granted():
    """Grant UID ports 80 and 443 on every address, for both protocols."""
    rules(f"byuser/{UID}", "any,80", "any,443")
