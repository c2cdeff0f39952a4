# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals that a flag file, a rule file, a folder or a mount causes: the message names a repair.

The tests take the repair from the message, type it as root, and try again.
"""

import os
import pathlib
import shlex
import shutil
import subprocess

import pytest
import support
from refusing import refused, repair
from support import CONFIG, OTHER_UID, UID, flag, pybind, rules

from pybind import diagnose, mountinfo
from pybind.kernel import files


def test_own_flag_without_x():
    """The owner of a flag file gets a chmod: an ACL entry would have no effect for them."""
    flag("byport/80", uid=UID, gid=0, mode=0o600)
    repair(
        refused(pybind("--port", "80", "true"), "not executable for this user"),
        "files.flag: sudo ...",
    )
    assert pybind("--port", "80", "true").returncode == 0


def test_granted_to_another(marked):
    """A flag file that only others may use is named with its owner and mode."""
    path, started = marked
    rules(f"byuser/{OTHER_UID}", "any,80")
    refused(pybind("--port", "80", path), "nothing in /etc/pybind grants it")
    flag("byport/80", uid=OTHER_UID, gid=0, mode=0o500)
    message = refused(
        pybind("--port", "80", path), "/etc/pybind/byport/80", "not executable for this user",
        f"owner {OTHER_UID}", "mode 0500",
    )  # fmt: skip
    assert not started()
    repair(message, "files.flag: sudo ...")
    assert pybind("--port", "80", path).returncode == 0


def test_flag_of_another_kind():
    """A symbolic link in place of a flag file is refused; the repair puts it aside."""
    (CONFIG / "byport" / "80").symlink_to("/bin/true")
    rules(f"byuser/{UID}", "any,80")
    message = refused(pybind("--port", "80", "true"), "byport/80", "not a regular file")
    repair(message, "files.flag: {put_aside}")
    assert pybind("--port", "80", "true").returncode == 0


@pytest.mark.hostile(28)
def test_flag_on_noexec():
    """The message names a noexec mount, on which no flag file is executable."""
    flag("byport/80", mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "tmpfs", CONFIG / "byport"],
                   check=True)  # fmt: skip
    try:
        flag("byport/80", mode=0o755)
        message = refused(pybind("--port", "80", "true"), "noexec", str(CONFIG / "byport"))
        repair(message, "files.flag: sudo {remount}")
        assert pybind("--port", "80", "true").returncode == 0
    finally:
        subprocess.run(["umount", CONFIG / "byport"], check=True)


@pytest.mark.parametrize(("line", "words"), support.BROKEN_LINES)
def test_broken_rule_file(marked, line, words):
    """The message has file, number and fault of a broken line; the repair removes the line."""
    path, started = marked
    rules(f"byuser/{UID}", "any,80", line)
    message = refused(
        pybind("--port", "80", path), f"/etc/pybind/byuser/{UID} line 2", words, "whole file"
    )
    assert not started()
    repair(message, "files._edit: {rule_line}")
    assert pybind("--port", "80", path).returncode == 0


@pytest.mark.parametrize(
    ("options", "words", "name"),
    [
        ({"uid": UID}, f"owner {UID}", "files.rule_file: {rules_file}"),
        ({"mode": 0o666}, "mode 0666", "files.rule_file: {rules_file}"),
        ({"mode": 0o600}, "readable", "files.rule_file: sudo chmod 0644 ..."),
    ],
)
@pytest.mark.hostile(26)
def test_unsafe_rule_file(marked, options, words, name):
    """Refused: a rule file that the user owns or cannot read, or that others can write."""
    path, started = marked
    rules(f"byuser/{UID}", "any,80", **options)
    message = refused(pybind("--port", "80", path), f"/etc/pybind/byuser/{UID}", words)
    assert not started()
    repair(message, name)
    assert pybind("--port", "80", path).returncode == 0


@pytest.mark.parametrize("folder", ["", "byport", "bygroup"])
@pytest.mark.hostile(26)
def test_unsafe_directory(grant80, marked, folder):
    """The message names a folder that others can write, with the repair."""
    path, started = marked
    target = CONFIG / folder
    target.chmod(0o777)
    message = refused(pybind("--port", "80", path), str(target), "mode 0777", "not safely root's")
    assert not started()
    repair(message, "files.folder: sudo pybindctl setup")
    assert pybind("--port", "80", path).returncode == 0


def test_hidden_by_a_tmpfs(grant80, marked):
    """The message names what a unit mounts over the folder above, and then setup."""
    path, started = marked
    above, copy = CONFIG.parent, support.scratch_dir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", copy], check=True)
    subprocess.run(["cp", "-a", f"{above}/.", copy], check=True)
    shutil.rmtree(copy / CONFIG.name)
    subprocess.run(["mount", "--move", copy, above], check=True)
    try:
        message = refused(pybind("--port", "80", path), "TemporaryFileSystem=", f"over {above}")
        assert not started()
        repair(message, "files.folder: sudo pybindctl setup")
        assert (CONFIG / "byport").is_dir()
    finally:
        subprocess.run(["umount", above], check=True)
    assert pybind("--port", "80", path).returncode == 0


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("flag", "/etc"),
        ("flag", "/etc/pybind"),
        ("flag", "/etc/pybind/byport"),
        ("rules", "/etc/pybind"),
        ("rules", "/etc/pybind/byport"),
        ("rules", "/etc/pybind/byuser"),
    ],
)
def test_folder_that_cannot_be_searched(kind, where):
    """The message blames the first folder on the way that the user cannot search."""
    if kind == "flag":
        flag("byport/80")
    else:
        rules(f"byuser/{UID}", "any,80")
    folder = pathlib.Path(where)
    before = folder.stat().st_mode & 0o7777
    folder.chmod(0o700)
    try:
        message = refused(pybind("-p", "80", "true"), f"{where} is owner 0, group 0, mode 0700")
        assert "0644" not in message
        repair(message, "files._reveal: sudo chmod 0755 ...")
        assert folder.stat().st_mode & 0o7777 == 0o755
        assert pybind("-p", "80", "true").returncode == 0
    finally:
        folder.chmod(before)


def test_folder_with_something_mounted_over_it(grant80):
    """A folder hidden by a unit's InaccessiblePaths= is not repaired by a chmod."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0", "tmpfs", CONFIG], check=True)
    try:
        message = refused(pybind("-p", "80", "true"), "InaccessiblePaths=", "mode 0000")
        assert "chmod" not in message
    finally:
        subprocess.run(["umount", CONFIG], check=True)


@pytest.mark.parametrize(
    "text",
    [b"any,22\r\nany,80\r\n", b"\xef\xbb\xbfany,80\n", b"any,22\nany,80\nany 81\n"],
    ids=["windows", "byte order mark", "broken"],
)
def test_repair_of_a_rule_file_keeps_its_grants(text):
    """The repair removes what an editor or a typing error broke, and keeps the other lines."""
    rules(f"byuser/{UID}").write_bytes(text)
    repair(refused(pybind("-p", "80", "true"), "broken line"), "files._edit: {rule_line}")
    assert pybind("-p", "80", "true").returncode == 0


def test_missing_directory():
    """The proposed command makes a missing /etc/pybind."""
    shutil.rmtree(CONFIG)
    message = refused(pybind("--port", "80", "true"), "/etc/pybind", "does not exist")
    repair(message, "files.folder: sudo pybindctl setup")
    refused(pybind("--port", "80", "true"), "nothing in /etc/pybind grants it")


def test_file_in_the_place_of_the_directory():
    """What is no directory is put aside, and a directory made."""
    shutil.rmtree(CONFIG)
    CONFIG.touch()
    aside = pathlib.Path(f"{CONFIG}.old")
    try:
        message = refused(pybind("-p", "80", "true"), "must be a directory of root's")
        repair(message, "files.folder: sudo sh -c 'mv ... ....old && install -d -m 0755 ...'")
        refused(pybind("-p", "80", "true"), "nothing in /etc/pybind grants it")
    finally:
        aside.unlink()


def test_etc_that_others_write(grant80):
    """A folder above the permission directory is no job of pybindctl setup."""
    etc = CONFIG.parent
    etc.chmod(0o777)
    try:
        message = refused(pybind("-p", "80", "true"), f"{etc} is owner 0, group 0, mode 0777")
        repair(message, "files.folder: sudo sh -c 'chown root:root ... && chmod 0755 ...'")
        assert pybind("-p", "80", "true").returncode == 0
    finally:
        etc.chmod(0o755)


# -- the repair that gives a mount an option back, on every kind of file system

KINDS = {
    "tmpfs": "mount -t tmpfs -o {options} tmpfs {at}",
    "overlay": "mount -t tmpfs tmpfs {at}/.. && "
    "cd {at}/.. && mkdir low up work mounted && "
    "mount -t overlay -o {options},lowerdir=low,upperdir=up,workdir=work overlay {at}",
    "bind": "mount --bind {at} {at} && mount -o remount,bind,{options} {at}",
}


def options_of(path):
    """Return the options of a mount, as /proc tells them."""
    out = subprocess.run(["findmnt", "-n", "-o", "OPTIONS", path], capture_output=True, text=True)
    return set(out.stdout.strip().split(","))


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
        assert lacks in options_of(at)
        subprocess.run(diagnose.remount(str(at), option), shell=True, check=True)
        assert lacks not in options_of(at)
        assert {"nodev", "noatime"} <= options_of(at)
    finally:
        subprocess.run(["umount", at], check=True)
        subprocess.run(["umount", at.parent], stderr=subprocess.DEVNULL)


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
        assert files.read_mounts()[mount.ident].path == text
    finally:
        subprocess.run([b"umount", at], check=True)
