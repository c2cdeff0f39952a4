# SPDX-License-Identifier: GPL-3.0-or-later
"""Commits changes, and returns when the kernel judges by them too, where pybindd runs.

So that `pybindctl revoke` means revoked when it returns.
"""

from __future__ import annotations

import time

from ... import pybindd
from ...permissions.changing.writing import Change, commit
from ...permissions.errors import Failed
from .. import output

_LEASE_S = 5.0  # after that without a word from pybindd the kernel grants nothing
_RESTART = "repair: sudo systemctl restart pybindd"


def commit_and_wait(changes: list[Change]) -> None:
    """Write the changes; wait for a pybindd that runs.

    Raises Failed, for the writing as writing.commit() does. For the waiting: the
    files are written then, and until the lease ends the kernel may judge by the old ones.
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
