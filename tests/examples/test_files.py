# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be tested about an example without running it."""

import pathlib
import re
import subprocess

import placing
import pytest
import support
from placing import EXAMPLES

FILES = sorted(str(p.relative_to(EXAMPLES)) for p in EXAMPLES.rglob("*") if p.is_file())
SAMPLES = [name for name in FILES if name != "README.md"]
SCRIPTS = ["sysv/app", "openrc/app", "runit/app/run", "tomcat/tomcat-pybind", "keeper/keep"]
UNITS = [
    (["systemd/app.service"], []),
    (["systemd/app-hardened.socket", "systemd/app-hardened.service"], []),
    (["systemd/user/app.service"], ["--user"]),
    (["systemd/user/app-sandboxed.service"], ["--user"]),
]
# Options that set no_new_privs (systemd.exec(5), NoNewPrivileges=) or a user namespace.
KEEPS_THE_HELPER_OUT = re.compile(
    r"^(NoNewPrivileges|DynamicUser|LockPersonality|MemoryDenyWriteExecute|PrivateDevices"
    r"|PrivateUsers|ProtectClock|ProtectHostname|ProtectKernel\w+|Restrict\w+|SystemCall\w+)=", re.M
)  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_header(name):
    """Each example says what the administrator grants; the README names exactly the examples."""
    text = (EXAMPLES / name).read_text()
    if name != "systemd/app-hardened.service":  # its .socket file says so
        assert "The administrator grants:  " in text
        assert f"]({name})" in (EXAMPLES / "README.md").read_text()


def test_every_link_of_the_readme():
    """Every file that the README links to exists."""
    for target in re.findall(r"\]\(([^)]*)\)", (EXAMPLES / "README.md").read_text()):
        assert (EXAMPLES / target).is_file(), target


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name):
    """The shell scripts are executable, and shellcheck finds nothing."""
    path = EXAMPLES / name
    assert path.stat().st_mode & 0o111 == 0o111
    subprocess.run(["sh", "-n", path], check=True)
    subprocess.run([placing.need("shellcheck", "shellcheck"), path], check=True)


@pytest.mark.parametrize(("names", "options"), UNITS, ids=lambda value: " ".join(value))
def test_units(host, names, options):
    """systemd-analyze finds no fault in the units if their programs are installed."""
    analyze = placing.need("systemd-analyze", "systemd")
    units = [EXAMPLES / name for name in names]
    done = placing.as_root([analyze, *options, "--man=no", "verify", *units],
                           env={"XDG_RUNTIME_DIR": "/run", "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_find_a_fault(host, tmp_path):
    """Control for the test above: a wrong option and a missing program are reported."""
    unit = tmp_path / "app.service"
    text = (EXAMPLES / "systemd/app.service").read_text()
    unit.write_text(text.replace("/usr/local/bin/pybind", "/nonexistent") + "Wrong=yes\n")
    done = placing.as_root(["systemd-analyze", "--man=no", "verify", unit])
    assert "Wrong" in done.stderr
    assert "/nonexistent" in done.stderr


def test_units_let_the_helper_work():
    """Units that run pybind have no option that sets no_new_privs; the hardened one has many."""
    for path in EXAMPLES.rglob("*.service"):
        found = KEEPS_THE_HELPER_OUT.findall(path.read_text())
        if "pybind" in path.read_text():
            assert not found, path
        else:
            assert len(found) > 10


def test_install_puts_them_into_the_documentation(tmp_path):
    """`make install` installs the examples unchanged, with their executable bits."""
    make = ["make", "-s", "-C", placing.EXAMPLES.parent, f"DESTDIR={tmp_path}"]
    subprocess.run([*make, "install"], check=True, capture_output=True)
    folder = tmp_path / support.PREFIX.lstrip("/") / "share/doc/pybind/examples"
    installed = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert installed == set(FILES)
    for name in FILES:
        mode = pathlib.Path(folder / name).stat().st_mode & 0o777
        assert mode == (0o755 if name in SCRIPTS else 0o644), name
    subprocess.run([*make, "uninstall"], check=True, capture_output=True)
    assert not folder.exists()
