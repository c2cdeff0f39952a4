# SPDX-License-Identifier: GPL-3.0-or-later
"""SELinux enforcing: unconfined users, a confined user, a service in a domain of its own."""

import pathlib
import re

import pytest
import world

KEY = pathlib.Path("/root/key")
PROGRAM = pathlib.Path("/srv/bind.py")
PORT = 80
# The rules that a program of this domain needs to run at all; RULES are what pybind adds.
DOMAIN = """
(type app_t)
(roletype system_r app_t)
(typeattributeset domain (app_t))
(allow init_t app_t (process (transition siginh rlimitinh noatsecure)))
(allow app_t domain (fd (use)))
(allow app_t init_t (unix_stream_socket (read write getattr ioctl)))
(allow app_t bin_t (file (entrypoint)))
(allow app_t file_type (file (read open getattr map execute)))
(allow app_t file_type (dir (read open getattr search)))
(allow app_t file_type (lnk_file (read getattr)))
(allow app_t self (process (fork signal sigchld getsched)))
(allow app_t self (fifo_file (read write getattr)))
(allow app_t self (tcp_socket (create bind listen accept getattr setopt getopt read write ioctl)))
(allow app_t self (unix_dgram_socket (create connect write read getattr)))
(allow app_t self (file (read open getattr)))
(allow app_t self (dir (read open search getattr)))
(allow app_t self (lnk_file (read getattr)))
(allow app_t proc_t (file (read open getattr)))
(allow app_t node_t (tcp_socket (node_bind)))
(allow app_t http_port_t (tcp_socket (name_bind)))
(allow app_t null_device_t (chr_file (read write open getattr ioctl append)))
(allow app_t urandom_device_t (chr_file (read open getattr)))
"""
HELPERS = """
(allow app_t bin_t (file (execute_no_trans)))
(allow app_t self (capability (net_bind_service)))
(allow app_t self (process (getcap setcap)))
(allow app_t self (unix_stream_socket (create connect getattr getopt setopt read write)))
(allow app_t self (unix_dgram_socket (create connect getattr getopt setopt read write)))
"""


def unconfined(program):
    """Return a copy of a program, for the installed one enters a domain that may do less."""
    copy = pathlib.Path("/root", program)
    if not copy.exists():
        world.run("cp", f"/usr/bin/{program}", copy)
    return copy


@pytest.fixture(scope="module", autouse=True)
def ready():
    """Let alice log in by a key; a program that binds, and says in which context it runs."""
    world.run(unconfined("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", KEY)
    folder = pathlib.Path("/home/alice/.ssh")
    world.run("install", "-d", "-m", "0700", "-o", "alice", "-g", "alice", folder)
    keys = folder / "authorized_keys"
    world.run("install", "-m", "0600", "-o", "alice", "-g", "alice", f"{KEY}.pub", keys)
    world.run("restorecon", "-RF", "/home/alice", "/etc/pybind")
    PROGRAM.write_text(
        "print(open('/proc/self/attr/current').read())\n" + world.BIND.format(port=PORT)
    )
    world.systemctl("start", "ssh")


def by_ssh(command, status=0):
    """Run a command in a login of alice by ssh, for pam_selinux has her own context there."""
    options = ["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
    return world.run("ssh", "-i", KEY, *options, "alice@127.0.0.1", command, status=status)


def be(user):
    """Have alice's logins get a user of SELinux."""
    world.run("semanage", "login", "-d", "alice", status=None)
    world.run("semanage", "login", "-a", "-s", user, "alice")
    world.run("restorecon", "-RF", "/home/alice")


def test_labels():
    """The package's files and a grant have the labels that the policy wants."""
    world.run("pybindctl", "grant", "--yes", "alice", "84")
    world.run("pybindctl", "revoke", "alice", "84")
    places = ("/etc/pybind", "/usr/libexec/pybind", "/usr/lib/pybind", "/usr/bin/pybind")
    assert world.run("restorecon", "-Rnv", *places) == ""


def test_doctor():
    """`pybindctl doctor` finds nothing broken."""
    world.run("pybindctl", "doctor")


def test_every_way():
    """Every way of pybind, by a login that is not confined."""
    world.every_way()
    assert "bound 80" in by_ssh(f"pybind --port 80 -- python3 {PROGRAM}")


def test_confined_user():
    """A confined user (user_u) is refused what the policy refuses, with the place to look at; --listen too."""
    be("user_u")
    said = by_ssh(f"id -Z; pybind --port 80 -- python3 {PROGRAM}", status=None)
    assert "user_u:user_r:user_t" in said
    assert "bound 80" not in said
    assert "ausearch" in said


def test_staff():
    """A confined administrator (staff_u) is judged as that user."""
    be("staff_u")
    said = by_ssh(f"id -Z; pybind --port 80 -- python3 {PROGRAM}", status=None)
    assert "staff_u:staff_r:staff_t" in said
    assert "bound 80" in said or "ausearch" in said


def service(rules):
    """Start the program as a service in the domain; returns what it said."""
    module = pathlib.Path("/root/app.cil")
    module.write_text(DOMAIN + rules)
    world.run("semodule", "-i", module, timeout=900)
    world.unit(
        "own.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nUser=alice\nSELinuxContext=system_u:system_r:app_t:s0\n"
        f"ExecStart=/usr/bin/pybind -v --port 80 -- /usr/bin/python3 {PROGRAM}\n",
    )
    world.systemctl("restart", "own.service", status=None)
    return world.invocation("own.service", unconfined("journalctl"))


def test_confined_service():
    """A service in a domain of its own needs the rules of docs/troubleshooting.md, and no other."""
    said = service("")
    assert "bound 80" not in said, said
    said = service(HELPERS)
    assert re.search("app_t.*bound 80", said, re.DOTALL), said
