# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor and setup on a damaged helper or permission folder.

doctor finds each fault, and the proposed command repairs it; setup trusts no file of a stranger's.
"""

import os
import pathlib
import shutil

import ctl
import doctoring
import printed
import pytest
import support
from doctoring import CAPABILITY, damage, examine
from support import CONFIG, HELPER, OTHER_UID, UID, pybind

repaired = pytest.fixture(autouse=True)(doctoring.repaired)


@pytest.mark.parametrize(
    ("how", "topic", "words", "name"),
    [
        (
            f"setcap -r {HELPER}",
            "helper's capability",
            "has lost its file capability",
            "installation._capability: sudo pybindctl setup",
        ),
        (
            f"setcap cap_net_bind_service=ep {HELPER}",
            "helper's capability",
            "=ep",
            "installation._capability: sudo pybindctl setup",
        ),
        (
            f"setcap cap_net_raw,cap_net_bind_service=p {HELPER}",
            "helper's capability",
            "net_raw",
            "installation._capability: sudo pybindctl setup",
        ),
        (
            f"setcap cap_net_bind_service=ip {HELPER}",
            "helper's capability",
            "=ip",
            "installation._capability: sudo pybindctl setup",
        ),
        (
            f"chmod 4755 {HELPER}",
            "helper's mode",
            "must never be setuid",
            "installation._mode: sudo pybindctl setup",
        ),
        (
            f"chmod 0750 {HELPER}",
            "helper's mode",
            "other users cannot execute it",
            "installation._mode: sudo pybindctl setup",
        ),
        (
            f"rmdir {CONFIG}/bygroup",
            f"folder {CONFIG}/bygroup",
            "does not exist",
            "installation._folder: sudo pybindctl setup",
        ),
        (
            f"rm -r {CONFIG}",
            f"folder {CONFIG}",
            "does not exist",
            "folders.broken: sudo pybindctl setup",
        ),
        (
            f"chmod 0775 {CONFIG}/byport",
            f"folder {CONFIG}/byport",
            "others than root can write it",
            "folders._unfit: sudo pybindctl setup",
        ),
        (
            f"chmod 0700 {CONFIG}",
            f"folder {CONFIG}",
            "not every user can search it",
            "folders.to_open: sudo pybindctl setup",
        ),
        (
            f"chown {OTHER_UID} {CONFIG}/byuser",
            f"folder {CONFIG}/byuser",
            "owner 12345",
            "folders._unfit: sudo pybindctl setup",
        ),
    ],
)
@pytest.mark.hostile("R3")
def test_found_and_set_up(how, topic, words, name):
    """doctor finds the damage and proposes `pybindctl setup`, which repairs all of it."""
    damage(how)
    status = 0 if how.startswith("rmdir") else 1
    level, text, repair = examine(status=status)[topic]
    assert level == ("warning" if status == 0 else "broken")
    assert words in text
    assert repair == ["sudo pybindctl setup"]
    printed.typed(repair[0], name)
    assert examine()[topic][0] == "ok"
    assert "nothing to do" in ctl.done("setup")
    support.rules(f"byuser/{UID}", "any,80")
    assert pybind("-q", "--port", "80", "true").returncode == 0


@pytest.mark.parametrize(
    ("how", "topic", "name"),
    [
        (f"chown {OTHER_UID} {HELPER}", "helper's owner", "installation._owner: sudo {REINSTALL}"),
        (f"chmod 0775 {HELPER}", "helper's mode", "installation._mode: sudo {REINSTALL}"),
    ],
)
def test_helper_of_a_stranger(how, topic, name):
    """A helper that another user could have replaced gets no capability without root's yes."""
    damage(how)
    damage(f"setcap -r {HELPER} || true")
    found = examine(status=1)
    assert found[topic][0] == "broken"
    assert "helper's capability" not in found  # first the owner has to be repaired
    for finding in found.values():
        assert not any("setcap" in command or "--yes" in command for command in finding[2])
    support.rules(f"byuser/{UID}", "any,80")
    refused = pybind("--port", "80", "true")
    assert "could have replaced the helper" in refused.stderr
    assert "setcap" not in refused.stderr
    process = ctl.pybindctl("setup")
    assert process.returncode == 1
    assert "could have replaced the helper" in process.stderr
    anew = printed.said(process.stderr, "doctor._refuse_a_stranger: sudo {REINSTALL}")
    assert anew == printed.said(refused.stderr, "diagnose._about_the_file: sudo {REINSTALL}")
    assert anew == printed.said(found[topic][2][0], name)
    printed.type_as_root(anew)
    examine()
    damage(how)
    said = printed.typed(process.stderr, "doctor._refuse_a_stranger: sudo pybindctl setup --yes")
    assert "owner" in said or how.startswith("chmod")
    examine()


def test_group_of_the_helper():
    """A helper with another group is only a warning; setup corrects the group."""
    os.chown(HELPER, 0, OTHER_UID)
    damage(f"setcap {CAPABILITY} {HELPER}")
    level, _, repair = examine()["helper's owner"]
    assert level == "warning"
    said = printed.typed(repair[0], "installation._owner: sudo pybindctl setup")
    assert f"owner was 0:{OTHER_UID}" in said
    assert examine()["helper's owner"][0] == "ok"
    assert examine()["helper's capability"][0] == "ok"


def test_helper_folder_of_a_stranger():
    """A helper's folder that others can write is a fault too."""
    pathlib.Path(HELPER).parent.chmod(0o777)
    level, _, repair = examine(status=1)["folder of the program"]
    assert level == "broken"
    assert ctl.pybindctl("setup").returncode == 1
    printed.typed(repair[0], "installation._writable_parents: sudo {REINSTALL}")
    examine()


def test_folder_above_the_helper():
    """A folder further up is a warning: Debian once gave /usr/local to the group staff."""
    folder = pathlib.Path(HELPER).parents[1]
    folder.chmod(0o777)
    try:
        level, _, repair = examine()["folder of the program"]
        assert level == "warning"
        name = "installation._writable_parents: sudo chown root:root ... && sudo chmod go-w ..."
        printed.typed(repair[0], name)
        assert "folder of the program" not in examine()
    finally:
        folder.chmod(0o755)


def test_missing_helper(tmp_path):
    """For a missing helper doctor proposes a new installation."""
    kept = shutil.move(HELPER, HELPER + ".kept")
    try:
        level, _, repair = examine(status=1)["helper"]
        assert level == "broken"
        printed.typed(repair[0], "installation.helper_file: sudo {REINSTALL}")
        assert examine()["helper's capability"][0] == "ok"
        pathlib.Path(HELPER).unlink()
        process = ctl.pybindctl("setup")
        assert process.returncode == 1
        assert "No such file" in process.stderr
        printed.typed(process.stderr, "doctor._repair_helper: sudo {REINSTALL}")
        assert examine()["helper's capability"][0] == "ok"
    finally:
        shutil.move(kept, HELPER)


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (f"mkfifo {HELPER}", "doctor._repair_open_helper: sudo {REINSTALL}"),
        (f"cp /bin/true {HELPER}", "doctor._refuse_another_program: sudo {REINSTALL}"),
    ],
)
def test_setup_of_what_is_no_helper(how, name):
    """Setup gives no capability to something else in the helper's place; the repair puts it there."""
    kept = shutil.move(HELPER, HELPER + ".kept")
    try:
        damage(how)
        process = ctl.pybindctl("setup")
        assert process.returncode == 1
        printed.typed(process.stderr, name)
        assert examine()["helper's capability"][0] == "ok"
    finally:
        shutil.move(kept, HELPER)


def test_another_program_gets_no_capability():
    """Setup gives the capability to no file that does not answer as the helper."""
    kept = shutil.move(HELPER, HELPER + ".kept")
    try:
        shutil.copy("/bin/true", HELPER)
        process = ctl.pybindctl("setup")
        assert process.returncode == 1
        assert "repair: sudo make" in process.stderr
        assert "security.capability" not in os.listxattr(HELPER)
    finally:
        shutil.move(kept, HELPER)


def test_folder_that_is_a_link():
    """A link in place of a folder is put aside, and setup makes the folder."""
    (CONFIG / "byport").rmdir()
    (CONFIG / "byport").symlink_to("/tmp")
    assert ctl.pybindctl("setup").returncode == 1
    level, _, repair = examine(status=1)[f"folder {CONFIG}/byport"]
    assert level == "broken"
    printed.typed(repair[0], "folders._unfit: {put_aside} && sudo pybindctl setup")
    assert examine()[f"folder {CONFIG}/byport"][0] == "ok"
