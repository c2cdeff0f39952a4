# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by bin/pybindctl: runs the package beside this file."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])

from pybind.admin.cli import main

sys.exit(main(sys.argv[1:]))
