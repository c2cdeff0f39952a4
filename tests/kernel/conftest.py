# SPDX-License-Identifier: GPL-3.0-or-later
"""The differential test's model and generator are those of tests/compat."""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "compat")]
