# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared parts of the tests of import: authbind's folder."""

import os
import pathlib
import shutil

import ctl
from support import UID

AUTHBIND = pathlib.Path("/etc/authbind")


def make_folders():
    """Leave empty folders of authbind's, as its package makes them."""
    shutil.rmtree(AUTHBIND, ignore_errors=True)
    for folder in (AUTHBIND, *(AUTHBIND / name for name in ("byport", "byaddr", "byuid"))):
        folder.mkdir(mode=0o755)


def empty_folders():
    """Give a test empty folders of authbind's, and remove them afterwards."""
    make_folders()
    yield AUTHBIND
    shutil.rmtree(AUTHBIND, ignore_errors=True)


def every_address():
    """Make every address local; afterwards remove authbind's folder too."""
    paths = [f"/proc/sys/net/{family}/ip_nonlocal_bind" for family in ("ipv4", "ipv6")]
    for path in paths:
        pathlib.Path(path).write_text("1")
    yield
    for path in paths:
        pathlib.Path(path).write_text("0")
    shutil.rmtree(AUTHBIND, ignore_errors=True)


def old_flag(name, uid=0, gid=0, mode=0o755):
    path = AUTHBIND / name
    path.touch()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


def granted(spec, uid=UID):
    return ctl.pybindctl("check", spec, "--user", uid).returncode == 0
