# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by bin/authbind with -S: runs the package beside this file."""

import sys

sys.path.insert(0, __file__.rpartition("/")[0])

from pybind.authbind import main

sys.exit(main(sys.argv[2:], notes=sys.argv[1]))
