# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor on this host: permission files that refuse, the kernel, the process, and programs."""

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
from support import CONFIG, OTHER_UID, UID, flag, pybind, rules

as_installed = pytest.fixture(autouse=True)(ctl.as_installed)
TOPIC = "permission files"


def _broken_line():
    rules(f"byuser/{UID}", "any,80", "any,8o")


def _writable():
    rules(f"byuser/{UID}", "any,80", mode=0o666)


def _no_regular_file():
    (support.CONFIG / "byport/80").mkdir()


@pytest.mark.parametrize("prepare", [_broken_line, _writable, _no_regular_file])
def test_a_file_that_refuses(prepare):
    """The file is broken for doctor too, with the repair of lint; after the repair all is well."""
    assert examine()[TOPIC][0] == "ok"
    prepare()
    level, text, repair = examine(status=1)[TOPIC]
    finding = ctl.as_json("lint", status=3)["findings"][0]
    line = f" line {finding['line']}" if finding["line"] else ""
    assert (level, [finding["repair"]]) == ("broken", repair)
    assert text.startswith(f"{finding['file']}{line}: ")
    printed.type_as_root(repair[0])
    assert examine()[TOPIC][0] == "ok"


def test_several_files():
    """The first one is shown, and what shows the others."""
    _broken_line()
    rules(f"byuser/{OTHER_UID}", "rubbish")
    shown = ctl.pybindctl("doctor").stdout
    assert shown.count("broken  permission files: ") == 1
    for uid in (UID, OTHER_UID):
        assert f"/etc/pybind/byuser/{uid}" in printed.typed(
            shown, "doctor._permission_files: sudo pybindctl lint", status=3
        )


def test_what_refuses_nothing():
    """Sound files, and a broken folder, which has its own finding, are no broken files."""
    rules(f"byuser/{UID}", "any,80")
    flag("byport/443")
    assert examine()[TOPIC][0] == "ok"
    (support.CONFIG / "byuser").chmod(0o777)
    assert TOPIC not in examine(status=1)


def test_an_ordinary_user():
    """A file that the user may not read is no fault; one that refuses is seen by anybody."""
    rules(f"byuser/{OTHER_UID}", "any,80", gid=OTHER_UID, mode=0o640)
    assert support.run([ctl.PYBINDCTL, "doctor"]).returncode == 0
    _broken_line()
    done = support.run([ctl.PYBINDCTL, "doctor"])
    assert (done.returncode, "line 2" in done.stdout) == (1, True)


def test_mounted_nosuid():
    """doctor finds a nosuid mount below the helper and proposes a remount that works.

    PREFIX is an overlay here: a newer mount(8) can only remount it with `bind`.
    """
    repair = f"mount -o remount,bind,suid {support.PREFIX}"
    script = f"mount -o remount,bind,nosuid {support.PREFIX}; {ctl.PYBINDCTL} doctor; echo $?; "
    script += f"{repair} && exec {ctl.PYBINDCTL} doctor"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    before, status, after = re.split(r"^(\d+)$", done.stdout, maxsplit=1, flags=re.M)
    assert status == "1", done
    assert "mounted nosuid" in before
    assert printed.said(before, "installation._mount: sudo {remount}") == f"sudo {repair}"
    assert before.count("broken") == 1  # one cause gives one finding
    assert done.returncode == 0, after


@pytest.mark.hostile(28)
def test_mounted_noexec():
    """doctor finds a noexec mount, on which no flag file grants."""
    script = f"mount -t tmpfs -o noexec,mode=755 tmpfs {CONFIG} && {ctl.PYBINDCTL} setup; "
    script += f"exec {ctl.PYBINDCTL} doctor"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"mount -o remount,bind,exec {CONFIG}" in done.stdout


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        (["setpriv", "--no-new-privs"], "broken  no_new_privs"),
        (["setpriv", "--bounding-set=-net_bind_service"], "broken  bounding set"),
        (["unshare", "--user", "--map-root-user"], "broken  user namespace"),
        (["strace", "-f", "-o", "/dev/null", "-e", "trace=none"], "broken  tracer"),
    ],
)
@pytest.mark.hostile("R20")
def test_process(prefix, words):
    """doctor finds what keeps every program of this process from gaining a capability."""
    done = subprocess.run(
        [*prefix, ctl.PYBINDCTL, "doctor"], capture_output=True, text=True, check=False,
        timeout=support.PATIENCE_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert words in done.stdout


@pytest.mark.parametrize(
    ("start", "level", "words"),
    [
        (0, "warning", "nothing needs a grant"),
        (80, "warning", "ports from 80 on"),
        (1024, "ok", "below 1024 need a grant"),
        (10000, "ok", "below 10000 need a grant"),
    ],
)
def test_unprivileged_ports(start, level, words):
    """doctor reports ip_unprivileged_port_start of this network namespace."""
    sysctl = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    sysctl.write_text(str(start))
    try:
        found = examine()["privileged ports"]
        assert found[0] == level
        assert words in found[1]
        if level == "warning":
            printed.typed(found[2][0], "kernel._first_port: sudo sysctl -w ...=1024")
            assert examine()["privileged ports"][0] == "ok"
    finally:
        sysctl.write_text("1024")


@pytest.mark.parametrize(
    ("release", "level"), [("5.10.0-9", "broken"), ("5.15.0", "warning"), ("6.1.0-13-amd64", "ok")]
)
def test_kernel_versions(release, level, monkeypatch):
    """pybind needs Linux 5.14, and the supervised mode 5.19."""
    from pybind.admin.doctor import kernel

    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*uname[:2], release, *uname[3:])))
    assert kernel._version().level == level


@pytest.mark.parametrize(("scope", "level"), [("0", "ok"), ("1", "ok"), ("2", "warning")])
def test_yama(scope, level, monkeypatch):
    """The supervised mode cannot work if Yama lets no process look into another."""
    from pybind.admin.doctor import kernel

    monkeypatch.setattr(kernel, "_read", lambda _: scope)
    assert kernel._yama().level == level


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
        printed.type_as_root(f"setcap {caps} {path}")
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
