# SPDX-License-Identifier: GPL-3.0-or-later
"""The repair that gives a mount an option back works on every kind of file system."""

import shlex
import subprocess

import pytest
import support

from pybind import diagnose

KINDS = {
    "tmpfs": "mount -t tmpfs -o {options} tmpfs {at}",
    "overlay": "mount -t tmpfs tmpfs {at}/.. && "
    "cd {at}/.. && mkdir low up work mounted && "
    "mount -t overlay -o {options},lowerdir=low,upperdir=up,workdir=work overlay {at}",
    "bind": "mount --bind {at} {at} && mount -o remount,bind,{options} {at}",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("lacks", "option"), [("nosuid", "suid"), ("noexec", "exec"), ("ro", "rw")]
)
def test_remount(kind, lacks, option):
    """The command changes this option and no other, even if the path needs quotes."""
    at = support.scratch_dir() / "a b\\c" / "mounted"
    at.mkdir(parents=True)
    made = KINDS[kind].format(at=shlex.quote(str(at)), options=f"nodev,noatime,{lacks}")
    subprocess.run(made, shell=True, check=True)
    try:
        assert diagnose.mount_point(str(at)) == str(at)
        assert lacks in options(at)
        subprocess.run(diagnose.remount(str(at), option), shell=True, check=True)
        assert lacks not in options(at)
        assert {"nodev", "noatime"} <= options(at)
    finally:
        subprocess.run(["umount", at], check=True)
        subprocess.run(["umount", at.parent], stderr=subprocess.DEVNULL)


def options(path):
    """Return the options of a mount, as /proc tells them."""
    out = subprocess.run(["findmnt", "-n", "-o", "OPTIONS", path], capture_output=True, text=True)
    return set(out.stdout.strip().split(","))
