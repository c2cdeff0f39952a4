# SPDX-License-Identifier: GPL-3.0-or-later
"""How pybind would serve a program: the last check of `pybindctl doctor -- PROGRAM`.

Root makes this check in a child that is an ordinary user. For root the answer differs:
setuid to root changes nothing, and the supervised mode does not serve root.
"""

from __future__ import annotations

import json
import os
import subprocess

from ... import launch, target
from ...errors import PybindError
from ...model import Request, Target
from ...supervise import preflight
from .installation import BROKEN, OK, Finding, from_lines, run_python

_TOPIC = "program"
_IN_CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pybind.admin.doctor import program
print(json.dumps(program.look(sys.argv[2])))
"""


def program(name: str) -> Finding:
    """Return how pybind would serve a program to an ordinary user. name: looked up in PATH."""
    if os.geteuid() == 0:
        finding, reached = _look_as_other_user(name)
        if reached:
            return finding
    return look(name)[0]  # as root, if an ordinary user cannot reach the program


def _look_as_other_user(name: str) -> tuple[Finding, bool]:
    try:
        fields, reached = json.loads(run_python(_IN_CHILD, name).stdout)
        level, topic, text, repair, advice = fields
        return Finding(level, topic, text, tuple(repair), advice), bool(reached)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Finding(BROKEN, _TOPIC, str(error)), False


def look(name: str) -> tuple[Finding, bool]:
    """Return how pybind would serve a program to the user of this process.

    The second value tells whether this user can start the program at all.
    """
    try:
        program = target.classify(target.find(os.fsencode(name), launch.read_environ()))
    except PybindError as error:
        return from_lines(BROKEN, _TOPIC, error.lines), False
    try:
        return _served(name, program), True
    except PybindError as error:
        return from_lines(BROKEN, _TOPIC, error.lines), True


def _served(name: str, program: Target) -> Finding:
    head = f"{os.fsdecode(program.path)}: {program.kind}"
    if program.binds_alone:
        text = f"{head}: started plainly, the kernel lets it bind every port itself"
        return Finding(OK, _TOPIC, text)
    if not program.obstacle:
        return Finding(OK, _TOPIC, f"{head}: served by the preload library")
    if os.geteuid() != 0:
        request = Request((os.fsencode(name),))
        preflight.check(request, program)
    elif program.unsupervisable:
        text = f"{head}: cannot be served: {program.unsupervisable}"
        return Finding(BROKEN, _TOPIC, text)
    text = f"{head}: served by a supervisor ({program.obstacle}); sudo and ping cannot work there"
    return Finding(OK, _TOPIC, text)
