# SPDX-License-Identifier: GPL-3.0-or-later
"""What root makes in another user's clone is made as that user, in that user's home."""

import os
import pathlib
import pwd
import shutil
import subprocess

import support
from support import UID

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_home_of_the_owner():
    """git and pip read below HOME, and sudo leaves root's there."""
    clone = support.scratch_dir()
    shutil.copy(ROOT / "Makefile", clone)
    os.chown(clone, UID, UID)
    shown = subprocess.run(
        ["make", "-s", "-C", clone, "--eval", 'shown: ; @$(AS_OWNER) sh -c \'echo "$$(id -u) $$HOME"\'',
         "shown"],
        env={**os.environ, "HOME": "/root"}, capture_output=True, text=True,
        timeout=support.PATIENCE_S, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == [str(UID), pwd.getpwuid(UID).pw_dir]
