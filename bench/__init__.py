# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: pybind beside its peers. __main__ says how it is run."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The shared modules of the tests: users, permission files, servers, questions to both helpers.
sys.path.append(str(ROOT / "tests/lib"))
