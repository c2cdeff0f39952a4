# SPDX-License-Identifier: GPL-3.0-or-later
"""filtered.py ERRNO CALL[=FIRST][,CALL]... UID PROGRAM [ARG]...: a filter as others set it.

A container engine or a unit. FIRST: only where the first argument is this number. Started by root: the filter needs no no_new_privs then, and stays after the ids are given
away. With UID 0 nothing is given away.
"""

import os
import sys

import seccomp

number, calls, uid, *program = sys.argv[1:]
made = seccomp.SyscallFilter(seccomp.ALLOW)
made.set_attr(seccomp.Attr.CTL_NNP, 0)
for call in calls.split(","):
    name, _, first = call.partition("=")
    where = [seccomp.Arg(0, seccomp.EQ, int(first))] if first else []
    made.add_rule(seccomp.ERRNO(int(number)), name, *where)
made.load()
if int(uid):
    os.execv("/usr/bin/setpriv", ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups",
                                  "--inh-caps=-all", "env", *program])  # fmt: skip
os.execvp(program[0], program)
