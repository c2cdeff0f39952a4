# SPDX-License-Identifier: GPL-3.0-or-later
"""How pybind would serve a program: what `pybindctl doctor -- PROGRAM` tells.

Root asks in a child that is an ordinary user: for root's own programs other
things hold (setuid to root is no change, the supervised mode is not had).
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
    """Return how `name` (looked for in PATH) would be served to an ordinary user."""
    if os.geteuid() == 0:
        finding, reached = _look_as_other_user(name)
        if reached:
            return finding
    return look(name)[0]  # by root too, where it lies in a folder that nobody may search


def _look_as_other_user(name: str) -> tuple[Finding, bool]:
    try:
        fields, reached = json.loads(run_python(_IN_CHILD, name).stdout)
        level, topic, text, repair, advice = fields
        return Finding(level, topic, text, tuple(repair), advice), bool(reached)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Finding(BROKEN, _TOPIC, str(error)), False


def look(name: str) -> tuple[Finding, bool]:
    """Return how `name` would be served to the user that this process is.

    And whether he can start it at all.
    """
    try:
        found = target.classify(target.find(os.fsencode(name), launch.read_environ()))
    except PybindError as error:
        return from_lines(BROKEN, _TOPIC, error.lines), False
    try:
        return _served(name, found), True
    except PybindError as error:
        return from_lines(BROKEN, _TOPIC, error.lines), True


def _served(name: str, found: Target) -> Finding:
    what = f"{os.fsdecode(found.path)}: {found.kind}"
    if found.binds_alone:
        text = f"{what}: started plainly, the kernel lets it bind every port itself"
        return Finding(OK, _TOPIC, text)
    if not found.obstacle:
        return Finding(OK, _TOPIC, f"{what}: served by the preload library")
    if os.geteuid() != 0:
        request = Request((os.fsencode(name),))
        preflight.check(request, found)
    elif found.unsupervisable:
        text = f"{what}: cannot be served: {found.unsupervisable}"
        return Finding(BROKEN, _TOPIC, text)
    text = f"{what}: served by a supervisor ({found.obstacle}); sudo and ping cannot work in it"
    return Finding(OK, _TOPIC, text)
