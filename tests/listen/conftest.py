# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers of the other folders are shared: compilers, packages."""

import pathlib
import sys

import pytest
from support import UID, rules

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "programs"), str(TESTS / "supervise")]


@pytest.fixture
def granted():
    """Grant UID port 80 and 443 on every address, for both protocols."""
    rules(f"byuser/{UID}", "any,80", "any,443")
