# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl, the program for administrators; commands/ has a file for each command.

`check` and `explain` print the helper's answers. `list`, `lint`, `status` and `export`
are about all users at once, so they read the permission files themselves. A property
test compares what they print with the helper's answers.
"""
