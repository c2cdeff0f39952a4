# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor on what the kernel decides: mounts, the process, privileged ports, version, Yama."""

import os
import pathlib
import re
import subprocess

import ctl
import doctoring
import printed
import pytest
import support
from doctoring import examine, in_namespace
from support import CONFIG

repaired = pytest.fixture(autouse=True)(doctoring.repaired)


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
