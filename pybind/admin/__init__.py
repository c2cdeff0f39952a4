# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl: for administrators. `commands/` has a file for each command.

`check` and `explain` say what the helper answers. `list`, `lint`, `status` and
`export` read the permission files themselves, for they tell about all users at
once; a property test holds what they say to the helper's answers.
"""
