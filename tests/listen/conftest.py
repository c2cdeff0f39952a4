# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers of the other folders are shared: compilers, packages."""

import pytest
from support import UID, rules


@pytest.fixture
def granted():
    """Grant UID port 80 and 443 on every address, for both protocols."""
    rules(f"byuser/{UID}", "any,80", "any,443")
