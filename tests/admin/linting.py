# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared parts of the tests of lint: its findings, and the names of the user's rule files."""

import support
from ctl import as_json, pybindctl
from support import CONFIG, UID

ENVIRON = {"PATH": f"{support.PREFIX}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
ME = f"byuser/{UID}"
MINE = f"byuser/!{UID}"


def lint(*arguments):
    """Return {(code, file below the folder, line)} of lint's findings."""
    process = pybindctl("lint", "--json", *arguments)
    assert process.returncode in (0, 3), process.stderr
    found = as_json("lint", *arguments, status=process.returncode)
    assert (process.returncode == 3) == bool(found["broken"])
    assert found["broken"] + found["warnings"] == len(found["findings"])
    return {
        (entry["code"], entry["file"].replace(f"{CONFIG}/", ""), entry["line"]): entry
        for entry in found["findings"]
    }
