# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl setup: it repairs the helper and the folders, and trusts no file of a stranger's.

Also: doctor and setup where there is a second installation, or a file system that takes no writing.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import ctl
import printed
import pytest
import support
from ctl import examine
from support import CONFIG, HELPER, UID, pybind, rules

as_installed = pytest.fixture(autouse=True)(ctl.as_installed)
PREFIX = pathlib.Path(support.PREFIX)
SECOND = pathlib.Path("/opt/pybind")  # where README installs what pip brings
PARTS = ("bin/pybind", "bin/pybindctl", "share/pybind", "lib/pybind", "libexec/pybind")


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
        printed.type_as_root(how)
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


def others():
    """Return what doctor says of other installations."""
    (found,) = [f for f in ctl.as_json("doctor")["findings"] if f["topic"] == "other installations"]
    return found


@pytest.fixture
def second():
    """Install a second pybind, which ends with the test."""
    subprocess.run(["mount", "--bind", "/opt", "/opt"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", "/opt"], check=True)
    for part in PARTS:
        target = SECOND / part
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", PREFIX / part, target], check=True)
    yield SECOND
    subprocess.run(["umount", "/opt", "/opt"], check=True)


def test_a_second_installation(second):
    """Of two pybinds PATH chooses one: doctor names both, and its command removes the other."""
    found = others()
    assert found["level"] == "warning"
    assert f"{second}/bin/pybind is a second pybind beside {PREFIX}/bin/pybind" in found["text"]
    (command,) = found["repair"]
    printed.typed(command, "installation._removal: sudo rm -r ...")
    assert others()["level"] == "ok"
    assert [part for part in PARTS if (second / part).exists()] == []
    assert all((PREFIX / part).exists() for part in PARTS)
    rules(f"byuser/{UID}", "any,80")
    assert pybind("-q", "--port", "80", "true").returncode == 0


def test_links_to_the_same_are_no_second_one(second):
    """A link of an administrator to the one that is installed is that one."""
    (second / "bin/pybind").unlink()
    (second / "bin/pybind").symlink_to(PREFIX / "bin/pybind")
    assert others()["level"] == "ok"


@contextlib.contextmanager
def read_only(path):
    """Have the mount of a folder take no writing: of its own, so that no other test sees it."""
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", path], check=True)
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize(
    ("damage", "place", "named"),
    [
        (lambda: shutil.rmtree(CONFIG / "bygroup"), CONFIG, CONFIG / "bygroup"),
        (lambda: (CONFIG / "byport").chmod(0o700), CONFIG, CONFIG / "byport"),
        (lambda: os.chmod(HELPER, 0o700), pathlib.Path(HELPER).parent, HELPER),
        (
            lambda: os.removexattr(HELPER, "security.capability"),
            pathlib.Path(HELPER).parent,
            HELPER,
        ),
        (lambda: os.chown(HELPER, 0, 7), pathlib.Path(HELPER).parent, HELPER),
    ],
    ids=["no folder", "mode of a folder", "mode", "capability", "group"],
)
def test_read_only_file_system(damage, place, named):
    """Setup names the file, not a descriptor, and the command after which setup succeeds."""
    damage()
    with read_only(place):
        process = ctl.pybindctl("setup")
        assert process.returncode == 1
        first = process.stderr.splitlines()[0]
        assert first.startswith(f"pybindctl: {named}: Read-only file system"), process.stderr
        assert not re.search(r"pybindctl: \d", process.stderr)
        printed.typed(process.stderr, "writing._failed: sudo {remount}")
        ctl.done("setup")
    assert "nothing to do" in ctl.done("setup")


def test_to_compare():
    """Where no cause is known, what is shown of the helper is its capability."""
    from pybind import diagnose

    lines = "\n".join(diagnose._about_the_file())
    shown = printed.typed(lines, "diagnose._about_the_file: sudo getcap ...")
    assert shown.strip() == f"{HELPER} cap_net_bind_service=p"
