# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of administrators: hidden processes, Yama, namespaces, IPv6, limits, no_file_caps."""

import contextlib
import pathlib

import pytest
import world

SYSCTL = pathlib.Path("/proc/sys")


@contextlib.contextmanager
def setting(name, value):
    """Give a sysctl a value, and restore the old one afterwards."""
    path = SYSCTL / name
    if not path.exists():
        pytest.skip(f"this kernel has no {name}")
    before = path.read_text()
    path.write_text(value)
    try:
        yield
    finally:
        path.write_text(before)


class TestSettings:
    """Settings of a running system."""

    @pytest.mark.parametrize(
        "options", ["hidepid=1", "hidepid=2", "hidepid=4", "hidepid=2,subset=pid"]
    )
    def test_hidden_processes(self, options):
        """/proc with {}."""
        if "subset" in options:
            # The option has no effect on a mounted /proc, so a new instance covers it.
            world.run("mount", "-t", "proc", "-o", options, "proc", "/proc")
            undo = ["umount", "/proc"]
        else:
            world.run("mount", "-o", f"remount,{options}", "/proc")
            undo = ["mount", "-o", "remount,hidepid=0", "/proc"]
        try:
            world.every_way()
        finally:
            world.run(*undo)

    @pytest.mark.parametrize(
        "value",
        [
            "net/ipv6/conf/all/disable_ipv6=1", "kernel/unprivileged_userns_clone=0",
            "user/max_user_namespaces=0", "vm/overcommit_memory=2", "fs/suid_dumpable=0",
            "kernel/kptr_restrict=2", "kernel/dmesg_restrict=1", "kernel/io_uring_disabled=2",
            "user/max_pid_namespaces=0", "user/max_net_namespaces=0",
        ],
    )  # fmt: skip
    def test_sysctl(self, value):
        """{}."""
        with setting(*value.split("=")):
            world.every_way()

    def test_ipv6_only(self):
        """net/ipv6/bindv6only=1, where a server on :: answers IPv6 alone."""
        with setting("net/ipv6/bindv6only", "1"):
            world.serves(world.as_alice(f"pybind --port 80 -- {world.PYTHON}"))
            on_ipv4 = world.BUSYBOX.replace("-p 80", "-p 127.0.0.1:80")
            world.serves(world.as_alice(f"pybind --port 80 -- {on_ipv4}"))

    @pytest.mark.parametrize("low", ["0", "80", "443"])
    def test_lowered_privileged_ports(self, low):
        """ip_unprivileged_port_start={}: what is no longer privileged needs no grant."""
        with setting("net/ipv4/ip_unprivileged_port_start", low):
            world.serves(world.as_alice(f"pybind --port 80 -- {world.PYTHON}"))
            if int(low) <= 81:
                world.login("alice", "pybind --port 81 -- true")
            else:
                world.refused("pybind --port 81 -- true", "pybindctl grant alice 81")

    @pytest.mark.parametrize(
        "limits",
        ["-n 64", "-u 20", "-s 64", "-l 0", "-f 0", "-i 0", "-c 0"],
        ids=lambda words: f"ulimit {words}",
    )
    def test_limits(self, limits):
        """alice has {}."""
        world.login("alice", f"ulimit {limits}; pybind --port 80 -- sh -c 'exit 0'")

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ("unshare -Ur", "user namespace"), ("setpriv --no-new-privs", "no_new_privs"),
            ("ulimit -n 8;", "ulimit -n 64"),
        ],
        ids=["a user namespace", "no_new_privs", "a limit of 8 descriptors"],
    )  # fmt: skip
    def test_reason_of_a_refusal(self, words, reason):
        """In {} the port is refused, with the reason."""
        world.refused(f"{words} pybind --port 80 -- true", reason)

    # In this order, because the last value cannot be undone.
    @pytest.mark.parametrize("scope", ["1", "2", "3"])
    def test_yama(self, scope):
        """Yama's ptrace_scope={}: the preload library serves; the supervised mode serves or says why not."""
        path = SYSCTL / "kernel/yama/ptrace_scope"
        if not path.exists():
            pytest.skip("this kernel has no Yama")
        path.write_text(scope)
        world.serves(world.as_alice(f"pybind --port 80 -- {world.PYTHON}"))
        world.handed_on()
        if scope == "1":
            world.serves(world.as_alice(f"pybind --port 80 -- {world.BUSYBOX}"))
        else:
            world.refused(f"pybind --port 80 -- {world.BUSYBOX}", "ptrace_scope")


class TestNoFileCaps:
    """A kernel with no_file_caps: all ports are refused, with the reason."""

    def test_refused_with_the_reason(self):
        """Every port is refused, and the kernel's command line is named."""
        world.refused("pybind --port 80 -- true", "no_file_caps")

    def test_doctor(self):
        """`pybindctl doctor` names it."""
        assert "no_file_caps" in world.run("pybindctl", "doctor", status=1)

    def test_unprivileged(self):
        """A program on a port of its own is started as ever."""
        world.run("su", "-", "alice", "-c", "pybind --port 8080 -- true")
