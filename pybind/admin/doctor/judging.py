# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells whether the kernel itself judges by the permission files, or could (pybindd(8))."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ... import pybindd
from ...paths import PREFIX
from .installation import OK, WARNING, Finding

_TOPIC = "pybindd"
_DAEMON = PREFIX + "/sbin/pybindd"
_PATIENCE_S = 20
_SHOWN = 3


def finding() -> Finding:
    """Return the finding about pybindd, which is optional: it is no fault if none runs."""
    try:
        said = pybindd.status()
    except OSError as error:
        return Finding(WARNING, _TOPIC, f"its status cannot be read: {error}")
    if said is None:
        return Finding(OK, _TOPIC, f"does not run, so the helper judges every bind; {_trial()}")
    if not said["in_force"]:
        text = f"grants nothing: {said['why_not']}; the helper judges"
        return Finding(WARNING, _TOPIC, text, ("sudo systemctl restart pybindd",))
    return Finding(OK, _TOPIC, sentence(said))


def sentence(said: dict[str, Any]) -> str:
    """Return a sentence about a running pybindd. said: its status."""
    if said["refuses_all"] or said["left_all"]:
        verb = "refuses everything" if said["refuses_all"] else "leaves everything to the helper"
        return f"the kernel {verb}: {said['refuses_all'] or said['left_all']}"
    text = (
        f"the kernel judges by {_files(said['flag_files'], 'flag')} and "
        f"{_files(said['rule_files'], 'rule')} since {said['since'][:19].replace('T', ' ')}"
    )
    if not said["left_count"]:
        return text
    names = [f"{left['name']} ({left['why']})" for left in said["left"][:_SHOWN]]
    more = said["left_count"] - len(names)
    return f"{text}; left to the helper: {', '.join(names)}" + (f" and {more} more" if more else "")


def _trial() -> str:
    """Return a clause about whether pybindd could run; root tries it."""
    if os.geteuid() != 0 or not os.path.exists(_DAEMON):
        return "it is optional (pybindd(8))"
    try:
        done = subprocess.run(
            [_DAEMON, "--trial"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "and a trial of it did not end"
    if done.returncode == 0:
        return "it could run here: sudo systemctl enable --now pybindd"
    why = done.stderr.strip().split("\n")[0].removeprefix("pybindd: ")
    return f"and it cannot run here: {why}"


def _files(number: int, kind: str) -> str:
    return f"{number} {kind} file" + ("" if number == 1 else "s")
