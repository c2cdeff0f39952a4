# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers of the other folders are shared: compilers, packages."""

import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "programs"), str(TESTS / "supervise")]
