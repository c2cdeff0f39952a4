# SPDX-License-Identifier: GPL-3.0-or-later
"""filtered.py ERRNO CALL[=FIRST][,CALL]... UID PROGRAM [ARG]...: runs PROGRAM under a filter.

The filter is like that of a container engine or a unit. FIRST: only calls with this first
argument fail. root starts this program, so that the filter needs no no_new_privs; then it
becomes UID, or stays root if UID is 0.
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
