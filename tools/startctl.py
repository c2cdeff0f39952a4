# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by bin/pybindctl: puts the package beside this file on the path, runs it."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])

from pybind.admin.cli import main

sys.exit(main(sys.argv[1:]))
