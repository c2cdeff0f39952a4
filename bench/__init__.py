# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: pybind beside its peers. __main__ says how it is run."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The tests' helpers: users, permission files, servers, and the asking of both helpers.
sys.path.append(str(ROOT / "tests/lib"))
