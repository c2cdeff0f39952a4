# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor and setup on an installation that is sound, or whose library or package is damaged."""

import os
import pathlib
import shutil

import ctl
import doctoring
import printed
import pytest
import support
from doctoring import CAPABILITY, examine
from support import HELPER, LIBRARY, UID

repaired = pytest.fixture(autouse=True)(doctoring.repaired)
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


def test_nothing_to_set_up():
    """setup changes nothing on a sound installation."""
    before = os.stat(HELPER).st_ctime_ns
    assert "nothing to do" in ctl.done("setup")
    assert os.stat(HELPER).st_ctime_ns == before


def test_setup_needs_root():
    """setup tells an ordinary user that it needs root."""
    done = support.run([ctl.PYBINDCTL, "setup"])
    assert done.returncode == 4
    said = printed.typed(done.stderr, "cli._with_sudo: sudo pybindctl ...")
    assert "nothing to do" in said


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
    module = SHARE / "pybind/supervise/filter.py"
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
