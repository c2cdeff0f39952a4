# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor on programs: given ports by setcap, or how pybind would serve them."""

import os
import pathlib
import shutil
import subprocess

import ctl
import doctoring
import printed
import pytest
import support
from doctoring import damage, examine
from support import pybind

repaired = pytest.fixture(autouse=True)(doctoring.repaired)


def test_yama_of_this_host():
    """The command writes what lets the supervised mode look again. A stand-in for the sysctl,
    which is the whole host's."""
    fake = support.scratch_dir() / "ptrace_scope"
    fake.write_text("2\n")
    sysctl = "/proc/sys/kernel/yama/ptrace_scope"
    if not os.path.exists(sysctl):
        pytest.skip("this kernel has no system calls of Yama's")
    subprocess.run(["mount", "--bind", fake, sysctl], check=True)
    try:
        level, _, repair = examine()["yama"]
        assert level == "warning"
        said = support.run([support.PYBIND, "--mode", "supervise", "true"]).stderr
        for output, name in (
            (repair[0], "kernel._yama: sudo sysctl kernel.yama.ptrace_scope=1"),
            (said, "preflight._check_yama: sudo sysctl kernel.yama.ptrace_scope=1"),
        ):
            fake.write_text("2\n")
            printed.typed(output, name)
            assert examine()["yama"][0] == "ok"
    finally:
        subprocess.run(["umount", sysctl], check=True)


@pytest.fixture
def capable():
    """Return a function that puts a program with a file capability into a folder of PATH."""
    made = []

    def make(name, caps="cap_net_bind_service=ep"):
        path = pathlib.Path(support.PREFIX) / "bin" / name
        shutil.copy("/bin/true", path)
        damage(f"setcap {caps} {path}")
        made.append(path)
        return path

    yield make
    for path in made:
        path.unlink()


@pytest.mark.parametrize("name", ["java", "node", "python3.11", "node18"])
def test_interpreters(capable, name):
    """An interpreter with the capability is named, with a grant instead and setcap -r."""
    path = capable(name)
    level, text, repair = examine()["interpreter with setcap"]
    assert level == "warning"
    assert f"{path} has cap_net_bind_service=ep" in text
    assert repair == [f"sudo setcap -r {path}"]
    said = ctl.done("doctor")
    grant = printed.said(said, "doctor._capable_programs: sudo pybindctl grant USER 80")
    printed.type_as_root(grant.replace("USER", "nobody"))
    assert pybind("-q", "--port", "80", "true").returncode == 0
    printed.typed(said, "doctor._capable_programs: sudo setcap -r ...")
    assert "interpreter with setcap" not in examine()


def test_other_programs_with_a_capability(capable):
    """Any program with this capability is named, but not with another one, nor the helper."""
    assert "programs with setcap" in examine()
    capable("myping", "cap_net_raw=ep")
    assert examine()["programs with setcap"][0] == "ok"
    path = capable("myserver", "cap_net_raw,cap_net_bind_service=ep")
    assert str(path) in examine()["program with setcap"][1]


@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("sh", 0, "dynamically linked: served by the preload library"),
        ("caddy", 0, "served by a supervisor"),
        ("/usr/bin/sudo-or-su", 1, "No such file"),
        ("no-such-program", 1, "not found in PATH"),
        ("/etc", 1, "not a regular file"),
        ("su", 0, "setuid to uid 0: started plainly"),
    ],
)
def test_program(program, status, words):
    """doctor says how PROGRAM is served to an ordinary user, even if root asks."""
    level, text, _ = examine("--", program, "-x", "y", status=status)["program"]
    assert level == ("ok" if status == 0 else "broken")
    assert words in text


def test_program_that_cannot_be_served():
    """A setgid program is refused with the reason, although root could start it."""
    path = support.scratch_dir() / "server"
    shutil.copy("/bin/true", path)
    os.chown(path, 0, 2000)
    path.chmod(0o2755)
    level, text, _ = examine("--", path, status=1)["program"]
    assert level == "broken"
    assert "setgid to gid 2000" in text


def test_program_in_a_private_folder(tmp_path):
    """If nobody else can reach PROGRAM, doctor looks at it as root."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    shutil.copy("/bin/true", folder / "server")
    assert "preload" in examine("--", folder / "server")["program"][1]
