# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes changes, and waits until a running pybindd has put them in force.

When `pybindctl revoke` returns, the kernel grants the port no more.
"""

from __future__ import annotations

import time

from ... import pybindd
from ...permissions.changing.writing import Change, commit
from ...permissions.errors import Failed
from .. import output

_LEASE_S = 5.0  # when pybindd does not renew its lease, the kernel grants nothing after this
_RESTART = "repair: sudo systemctl restart pybindd"


def commit_and_wait(changes: list[Change]) -> None:
    """Write the changes; if pybindd runs, wait until they are in force.

    Raises Failed, like writing.commit(). Also if pybindd does not answer: the files are
    written then, but the kernel may judge by the old ones until the lease ends.
    """
    commit(changes)
    deadline = time.monotonic() + _LEASE_S
    while True:
        try:
            said = pybindd.sync()
        except pybindd.NotAnswering as error:
            raise Failed(
                "the files are written, but pybindd does not answer, so the kernel may judge by "
                f"the old ones for {_LEASE_S:.0f} seconds more ({error})",
                _RESTART,
            ) from None
        if said is None or said["in_force"]:
            return
        if said["why_not"] != pybindd.BUSY or time.monotonic() >= deadline:
            break
    output.tell(
        "note", f"pybindd grants nothing now ({said['why_not']}); pybind serves by the helper"
    )
