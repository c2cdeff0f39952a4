# SPDX-License-Identifier: GPL-3.0-or-later
"""The repair that gives a mount an option back works on every kind of file system."""

import os
import shlex
import subprocess

import pytest
import support

from pybind import diagnose, mountinfo
from pybind.kernel import folders

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


# Names of folders that a user may mount on, with blanks that the kernel does not escape.
HOSTILE = [
    b"a\r",
    b"a\r\xff",
    b"a\r1 2 0:3 / /usr/local rw - x x rw",
    "a\u00a0b\x1cc\x85d\u2028e".encode(),
    b"a\v/\f/usr",
    b"\xff",
    b" - ",
    b"a\\040b",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_user_mounts_hides_nothing(name):
    """A mount point is found whatever name users give it (fusermount3(1))."""
    at = os.fsencode(support.scratch_dir()) + b"/" + name
    os.makedirs(at)
    before = mountinfo.read()
    subprocess.run([b"mount", b"-t", b"tmpfs", b"-o", b"nosuid", name, at], check=True)
    try:
        text = os.fsdecode(at)
        (mount,) = [mount for mount in mountinfo.read() if mount not in before]
        assert (mount.path, mount.kind, "nosuid" in mount.options) == (text, "tmpfs", True)
        assert diagnose.mount_point(text + "/x") == text
        assert diagnose.mount_point(support.HELPER) == support.PREFIX
        assert shlex.split(diagnose.remount(text, "suid"))[-1] == text
        assert folders.read_mounts()[mount.ident].path == text
    finally:
        subprocess.run([b"umount", at], check=True)
