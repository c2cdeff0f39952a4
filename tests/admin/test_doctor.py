# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor and setup: doctor finds each fault, and the proposed command repairs it."""

import os
import pathlib
import re
import shutil
import subprocess

import ctl
import doctoring
import printed
import pytest
import support
from doctoring import CAPABILITY, damage, examine, in_namespace
from support import CONFIG, HELPER, LIBRARY, OTHER_UID, UID, pybind

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
    status, text = in_namespace(prefix)
    assert status == 1
    assert words in text


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
