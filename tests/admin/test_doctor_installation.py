# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor on what is installed: the helper, the permission folders, the library and the package.

doctor finds each fault, and the proposed command repairs it.
"""

import os
import pathlib
import shutil

import ctl
import printed
import pytest
import support
from ctl import CAPABILITY, examine
from support import CONFIG, HELPER, LIBRARY, OTHER_UID, UID, pybind

as_installed = pytest.fixture(autouse=True)(ctl.as_installed)
SHARE = pathlib.Path(support.PREFIX) / "share/pybind"


def test_all_is_well():
    """A fresh installation has no fault, and doctor says what it looked at."""
    found = examine()
    assert {level for level, _, _ in found.values()} <= {"ok", "warning"}
    for topic in ("helper's owner", "helper's mode", "helper's capability", "helper's mount"):
        assert found[topic][0] == "ok"
    for topic in ("preload library", "python", "kernel", "no_new_privs", "bounding set", "proof"):
        assert found[topic][0] == "ok"
    assert f"{CAPABILITY}" in found["helper's capability"][1]
    assert ctl.done("doctor", "-v").startswith("ok")
    text = ctl.done("doctor").splitlines()
    assert not [line for line in text if line.startswith(("ok", "broken"))]
    shown = printed.typed(text[-1], "doctor._verdict: pybindctl doctor -v")
    assert f"\n{len(found)} of {len(found)} checks" in shown or "\nall " in shown


def test_as_an_ordinary_user():
    """An ordinary user can run doctor."""
    done = support.run([ctl.PYBINDCTL, "doctor", "--", "true"])
    assert done.returncode == 0, done.stdout
    assert "served by the preload library" in done.stdout


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
    printed.type_as_root(how)
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
    printed.type_as_root(how)
    printed.type_as_root(f"setcap -r {HELPER} || true")
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
    printed.type_as_root(how)
    said = printed.typed(process.stderr, "doctor._refuse_a_stranger: sudo pybindctl setup --yes")
    assert "owner" in said or how.startswith("chmod")
    examine()


def test_group_of_the_helper():
    """A helper with another group is only a warning; setup corrects the group."""
    os.chown(HELPER, 0, OTHER_UID)
    printed.type_as_root(f"setcap {CAPABILITY} {HELPER}")
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


def test_folder_that_is_a_link():
    """A link in place of a folder is put aside, and setup makes the folder."""
    (CONFIG / "byport").rmdir()
    (CONFIG / "byport").symlink_to("/tmp")
    assert ctl.pybindctl("setup").returncode == 1
    level, _, repair = examine(status=1)[f"folder {CONFIG}/byport"]
    assert level == "broken"
    printed.typed(repair[0], "folders._unfit: {put_aside} && sudo pybindctl setup")
    assert examine()[f"folder {CONFIG}/byport"][0] == "ok"


@pytest.mark.parametrize(
    ("mode", "words", "name"),
    [
        (0o700, "cannot read", "installation.library: sudo chmod 0755 ..."),
        (0o777, "can write", "installation.library: sudo {REINSTALL}"),
    ],
)
def test_library(mode, words, name):
    """Everybody must read the preload library and only root may write it; the repair works."""
    pathlib.Path(LIBRARY).chmod(mode)
    level, text, repair = examine(status=1)["preload library"]
    assert level == "broken"
    assert words in text
    printed.typed(repair[-1], name)
    assert examine()["preload library"][0] == "ok"


def test_unreadable_package():
    """doctor finds a package that other users cannot read."""
    (SHARE / "pybind").chmod(0o700)
    try:
        level, text, repair = examine(status=1)["python"]
        assert level == "broken"
        assert f"uid {UID}" in text
        assert repair == [f"sudo chmod a+rX {SHARE}/pybind"]
        printed.typed(repair[0], "installation._reveal: sudo chmod a+rX ...")
        assert examine()["python"][0] == "ok"
    finally:
        (SHARE / "pybind").chmod(0o755)


def test_damaged_package():
    """A module that cannot be run, and can be read: the package is to be installed anew."""
    module = SHARE / "pybind/supervise/kernel.py"
    before = module.read_text()
    try:
        module.write_text(
            f"{before}\nimport os\nif os.geteuid() == {UID}:\n    raise SystemError\n"
        )
        level, text, repair = examine(status=1)["python"]
        assert level == "broken"
        assert "SystemError" in text
        printed.typed(repair[0], "installation._reveal: sudo {REINSTALL}")
        assert examine()["python"][0] == "ok"
    finally:
        module.write_text(before)


@pytest.mark.parametrize(
    ("module", "level"), [("click", "broken"), ("prctl", "warning"), ("seccomp", "warning")]
)
def test_missing_modules(module, level):
    """doctor names a missing module and the Debian package that has it."""
    folder = support.scratch_dir()
    site = folder / f"{module}.py"
    site.write_text("raise ImportError\n")
    package = SHARE / f"{module}.py"  # beside the package, so it is found first
    if module == "click":
        # pybindctl itself needs click, so this calls the function.
        from pybind.admin.doctor import installation

        found = {f.topic: f for f in installation._modules(["click"])}
        assert found["python module click"].level == "broken"
        return
    shutil.copy(site, package)
    try:
        found = examine()[f"python module {module}"]
        assert found[0] == level
        assert found[2] == [f"sudo apt-get install python3-{module}"]
    finally:
        package.unlink()
