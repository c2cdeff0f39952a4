# SPDX-License-Identifier: GPL-3.0-or-later
"""The helper and the permission files on other file systems."""

import contextlib
import pathlib

import pytest
import world

DISK = "/dev/disk/by-id/virtio-empty0"
FOLDER = pathlib.Path(world.HELPER).parent
CONFIG = pathlib.Path("/etc/pybind")
THERE = pathlib.Path("/mnt/there")
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"], "ext2": ["mkfs.ext2", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"], "vfat": ["mkfs.vfat"],
}  # fmt: skip


@contextlib.contextmanager
def moved(folder, kind, options=""):
    """Move the folder to a file system of a kind, with mount options."""
    copy = pathlib.Path("/root/copy")
    with contextlib.ExitStack() as undo:
        undo.callback(world.run, "rm", "-rf", copy)
        world.run("cp", "-a", "--preserve=all", folder, copy)
        THERE.mkdir(exist_ok=True)
        made(kind, copy)
        undo.callback(world.run, "umount", THERE)
        if not kind.startswith(("squashfs", "overlay")):
            # On vfat cp fails to keep owner and capability; the checks below show the effect.
            world.run("cp", "-a", "--preserve=all", f"{copy}/.", THERE, status=None)
            THERE.chmod(0o755)
        world.run("mount", "--bind", THERE, folder)
        undo.callback(world.run, "umount", folder)
        if options:
            world.run("mount", "-o", f"remount,bind,{options}", folder)
        yield


def made(kind, copy):
    """Make the file system and mount it at THERE."""
    if kind in MAKE:
        world.run(*MAKE[kind], DISK)
        world.run("mount", DISK, THERE)
    elif kind == "tmpfs":
        world.run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", THERE)
    elif kind.startswith("squashfs"):
        image = pathlib.Path("/root/image")
        image.unlink(missing_ok=True)
        world.run(
            "mksquashfs",
            copy,
            image,
            "-quiet",
            "-no-progress",
            *(["-no-xattrs"] if "without" in kind else []),
        )
        world.run("mount", image, THERE)
    elif kind == "overlay":
        upper = pathlib.Path("/run/upper")
        for name in ("files", "work"):
            (upper / name).mkdir(parents=True, exist_ok=True)
        world.run("mount", "-t", "overlay", "-o",
                  f"lowerdir={copy},upperdir={upper}/files,workdir={upper}/work", "overlay", THERE)  # fmt: skip


@pytest.mark.parametrize("kind", ["ext4", "ext2", "xfs", "btrfs", "tmpfs", "squashfs", "overlay"])
def test_helper_on(kind):
    """The helper on {}: it serves."""
    with moved(FOLDER, kind):
        world.serves(world.as_alice(f"pybind --port 80 -- {world.PYTHON}"))


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("squashfs without xattrs", "", "capability"),
        ("ext4", "nosuid", "nosuid"),
        ("ext4", "noexec", "noexec"),
        ("vfat", "", "capability"),
    ],
    ids=["squashfs without extended attributes", "ext4, nosuid", "ext4, noexec", "vfat"],
)
def test_helper_cannot_work_on(kind, options, reason):
    """The helper on {}: refused, with the reason; doctor names it."""
    with moved(FOLDER, kind, options):
        world.refused("pybind --port 80 -- true", reason)
        assert reason in world.run("pybindctl", "doctor", status=1)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "squashfs", "overlay"])
def test_permission_files_on(kind):
    """/etc/pybind on {}: judged as ever."""
    with moved(CONFIG, kind):
        world.login("alice", "pybind --port 80 -- true")
        world.refused("pybind --port 81 -- true", "pybindctl grant alice 81")
        if kind != "squashfs":
            world.run("pybindctl", "grant", "--yes", "bob", "81")
            world.login("bob", "pybind --port 81 -- true")
            world.run("pybindctl", "revoke", "bob", "81")


def test_setup_on_a_read_only_file_system():
    """`pybindctl setup` on a read-only file system names the folder that it cannot write."""
    with moved(FOLDER, "squashfs without xattrs"):
        assert str(FOLDER) in world.run("pybindctl", "setup", status=1)


@pytest.mark.parametrize(
    "folder", ["/etc", "/etc/pybind", "/etc/pybind/byport", "/etc/pybind/byuser"]
)
def test_folder_that_cannot_be_searched(folder):
    """{} with mode 0700: refused, and that folder is named."""
    path = pathlib.Path(folder)
    path.chmod(0o700)
    try:
        said = world.run(
            "runuser", "-u", "alice", "--", "pybind", "--port", "80", "--", "true", status=125
        )
    finally:
        path.chmod(0o755)
    assert f"{folder} " in said or f"{folder}:" in said or said.rstrip().endswith(folder), said
