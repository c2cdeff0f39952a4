# SPDX-License-Identifier: GPL-3.0-or-later
"""AppArmor with the profile of contrib/apparmor, complaining and enforced, and confined programs."""

import pathlib
import shutil

import pytest
import world

PROFILE = pathlib.Path("/etc/apparmor.d/pybind-helper")
CONFINED = "/usr/local/bin/confined-python"
POLICY = f"""abi <abi/3.0>,
include <tunables/global>
profile confined {CONFINED} {{
  include <abstractions/base>
  network,
  unix,
  signal,
  /** r,
  {CONFINED} mr,
  {{rule}}
}}
"""


def denied():
    """Return the kernel's notes of denials and complaints, without those of inherited files."""
    lines = world.run("dmesg").splitlines()
    return [
        line for line in lines
        if ('apparmor="DENIED"' in line or 'apparmor="ALLOWED"' in line) and "file_inherit" not in line
        and "pybind" in line
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet_log():
    """Start each check with an empty kernel log."""
    world.run("dmesg", "-C")


def test_in_force():
    """AppArmor is in force on this kernel."""
    assert "apparmor" in pathlib.Path("/sys/kernel/security/lsm").read_text()


@pytest.mark.parametrize("option", ["--Complain", None], ids=["complaining", "enforced"])
def test_profile(option):
    """The helper's profile, {}: every way serves, and nothing is noted."""
    shutil.copyfile(world.FILES / "pybind-helper", PROFILE)
    world.run("apparmor_parser", "-r", *filter(None, [option]), PROFILE)
    world.every_way()
    assert denied() == []


def test_profile_with_every_kind_of_file():
    """The profile, enforced: flag files, groups, lists and addresses are judged as without."""
    flag = pathlib.Path("/etc/pybind/byport/25")
    flag.touch(mode=0o750)
    shutil.chown(flag, "root", "alice")
    flag.chmod(0o750)
    world.login("alice", "pybind --port 25 -- true")
    world.refused("pybind --port 25 -- true", user="bob")
    world.run("setfacl", "-m", "u:bob:rx", flag)
    world.login("bob", "pybind --port 25 -- true")
    world.run("pybindctl", "grant", "@alice", "26")
    world.login("alice", "pybind --port 26 -- true")
    address = pathlib.Path("/etc/pybind/byaddr/127.0.0.1,28")
    address.touch()
    address.chmod(0o755)
    world.login("alice", "pybind --port 127.0.0.1:28 -- true")
    assert denied() == []


def test_doctor():
    """`pybindctl doctor` finds nothing broken under the profile."""
    world.run("pybindctl", "doctor")


RULES = {
    "no rule": ("", False),
    "the two rules of contrib/apparmor": (
        "/usr/lib/pybind/libpybind.so mr, /usr/libexec/pybind/pybind-helper Px,", True
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "served"), RULES.values(), ids=RULES)
def test_confined_program(rule, served):
    """A confined program with {}."""
    shutil.copyfile("/usr/bin/python3", CONFINED)
    pathlib.Path(CONFINED).chmod(0o755)
    policy = pathlib.Path("/etc/apparmor.d/confined")
    policy.write_text(POLICY.replace("{rule}", rule))
    world.run("apparmor_parser", "-r", policy)
    code = world.BIND.format(port=80)
    said = world.login("alice", f'pybind -v --port 80 -- {CONFINED} -c "{code}"', status=None)
    assert ("bound 80" in said) == served, said
    if not served:
        world.login("alice", f'pybind --mode supervise --port 80 -- {CONFINED} -c "{code}"')
