# SPDX-License-Identifier: GPL-3.0-or-later
"""check and explain if a folder, the helper or the caller's process refuses everything."""

import pathlib
import shutil
import subprocess

import pytest
import support
from checking import NOBODY, as_himself, as_root, granted, question, repair
from ctl import PYBINDCTL
from support import CONFIG, GID, HELPER, UID, flag


@pytest.mark.parametrize("folder", ["", "byport", "bygroup"])
def test_unsafe_directory(folder):
    """A folder that others can write is named, and no file below is looked at."""
    flag("byport/80")
    (CONFIG / folder).chmod(0o777)
    answer = question("explain", "80")
    assert answer["addresses"][0]["steps"] == []
    text = as_root("explain", "80", *NOBODY).stdout
    assert "no permission file was looked at" in text
    assert f"{CONFIG / folder} is owner 0, group 0, mode 0777" in text
    repair(answer["addresses"][0]["commands"][0], "folders._unfit: sudo pybindctl setup")
    assert granted("80")


def test_missing_directory():
    """The proposed command makes a missing /etc/pybind."""
    shutil.rmtree(CONFIG)
    answer = question("explain", "80")
    repair(answer["addresses"][0]["commands"][0], "folders.broken: sudo pybindctl setup")
    assert "nothing in /etc/pybind grants it" in as_root("explain", "80", *NOBODY).stdout


def test_helper_missing():
    """A missing helper is an error, not a refusal."""
    moved = pathlib.Path(HELPER).rename(HELPER + ".aside")
    try:
        for done in (as_root("check", "80", *NOBODY), as_himself("explain", "80")):
            assert done.returncode == 1
            assert done.stdout == ""
            assert HELPER in done.stderr
            assert "repair: sudo make -C " in done.stderr
    finally:
        moved.rename(HELPER)


def test_helper_lost_its_capability():
    """A copied helper has no capability; the proposed setup gives it back."""
    flag("byport/80")
    subprocess.run(["setcap", "-r", HELPER], check=True)
    try:
        answer = question("explain", "80")
        first = answer["addresses"][0]
        assert "lost its file capability" in "".join(first["explanation"])
        assert first["file"] == str(CONFIG / "byport" / "80")
        repair(first["commands"][0], "decision._commands: sudo ...")
        assert granted("80")
    finally:
        subprocess.run(["setcap", "cap_net_bind_service=p", HELPER], check=True)


def test_nosuid_mount():
    """A nosuid mount below the helper is named, and the proposed remount works."""
    flag("byport/80")
    folder = pathlib.Path(HELPER).parent
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,nosuid", folder], check=True)
        text = as_root("explain", "80", *NOBODY).stdout
        assert "mounted nosuid" in text
        assert f"repair: sudo mount -o remount,bind,suid {folder}\n" in text
        repair(text, "diagnose._about_the_file: sudo {remount}")
        assert granted("80")
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("option", "words"),
    [("--no-new-privs", "no_new_privs is set"), ("--bounding-set=-net_bind_service", "bounding")],
)
def test_stripped_caller(option, words):
    """no_new_privs and a reduced bounding set are named, to the user and to root."""
    flag("byport/80")
    ids = ["--reuid", str(UID), "--regid", str(GID), "--clear-groups"]
    for arguments, user in ((ids, []), ([], NOBODY)):
        drop = ["/usr/bin/setpriv", *arguments, "--inh-caps=-all", option, "env"]
        asking = [PYBINDCTL, "explain", "80", *user]
        done = subprocess.run([*drop, *asking], capture_output=True, text=True, cwd="/")
        assert done.returncode == 1, done.stderr
        assert words in done.stdout


def test_user_namespace():
    """The message says that root of a user namespace is not root of the host."""
    if support.run(["/usr/bin/unshare", "-U", "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    done = support.run(["/usr/bin/unshare", "-U", PYBINDCTL, "explain", "80"])
    assert done.returncode == 1
    assert "in a user namespace" in done.stdout


def test_traced():
    """The message names the tracer if an ordinary user runs strace."""
    flag("byport/80")
    strace = ["/usr/bin/strace", "-f", "-o", "/dev/null"]
    done = support.run([*strace, PYBINDCTL, "explain", "80"])
    assert "traces this one" in done.stdout
