# SPDX-License-Identifier: GPL-3.0-or-later
"""--user: root's rights are gone for good, and the grant is the user's."""

import os
import pathlib
import shutil
import subprocess

import pytest
import support
from support import GID, OTHER_UID, PYBIND, UID, flag, pybind, rules

SETPRIV = "/usr/bin/setpriv"
EMPTY = ("CapInh", "CapPrm", "CapEff", "CapAmb")
BIND = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 80)); print('bound')"
REGAIN = """
import os
for call in (lambda: os.setresuid(0, 0, 0), lambda: os.setuid(0), lambda: os.setresgid(0, 0, 0),
             lambda: os.setgroups([0]), lambda: open("/etc/shadow").close()):
    try:
        call()
        print("regained")
    except PermissionError:
        print("refused")
"""


def as_root(*argv, **options):
    """Run argv as root to its end, in a clean environment unless one is given."""
    options.setdefault("env", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, cwd="/",
                          timeout=support.PATIENCE_S, **options)  # fmt: skip


def status_of(done):
    """Return the /proc/self/status that a program printed, as a mapping."""
    assert done.returncode == 0, done.stderr
    return {name: value.split() for name, _, value in
            (line.partition(":") for line in done.stdout.splitlines())}  # fmt: skip


def assert_dropped(status, uid=UID, gid=GID, groups=(GID,)):
    """Assert the ids and the groups, and that every capability set is empty."""
    assert status["Uid"] == [str(uid)] * 4
    assert status["Gid"] == [str(gid)] * 4
    assert set(map(int, status["Groups"])) == set(groups)
    for name in EMPTY:
        assert int(status[name][0], 16) == 0, name
    assert int(status["CapBnd"][0], 16) >> 10 & 1  # the helper gains its capability from this set
    assert status["NoNewPrivs"] == ["0"]


@pytest.fixture(scope="module")
def groups():
    """Return the groups of a new user `carol`, who is in two more groups than her own."""
    for gid, name, members in ((4001, "carol", ""), (4002, "web", "carol"), (4003, "log", "carol")):
        with open("/etc/group", "a") as file:
            file.write(f"{name}:x:{gid}:{members}\n")
    with open("/etc/passwd", "a") as file:
        file.write("carol:x:4000:4001::/home/carol:/bin/dash\n")
        file.write("4000000:x:4009:4009::/:\n")  # a name that looks like a number
    return (4001, 4002, 4003)


@pytest.mark.parametrize("user", ["nobody", str(UID), f"{UID}:{GID}", "nobody:nogroup"])
def test_ids_and_capabilities(user):
    """Names and numbers: real, effective, saved and file system ids, no capability."""
    assert_dropped(status_of(as_root(PYBIND, "--user", user, "cat", "/proc/self/status")))


def test_groups(groups):
    """Supplementary groups are those of initgroups(3); GROUP replaces the primary group."""
    see = ("cat", "/proc/self/status")
    assert_dropped(status_of(as_root(PYBIND, "--user", "carol", *see)), 4000, 4001, groups)
    by_number = as_root(PYBIND, "--user", "4000", *see)
    assert_dropped(status_of(by_number), 4000, 4001, groups)
    other = as_root(PYBIND, "--user", "carol:nogroup", *see)
    assert_dropped(status_of(other), 4000, GID, (GID, 4002, 4003))
    plain = as_root(PYBIND, "--user", f"{OTHER_UID}:4002", *see)
    assert_dropped(status_of(plain), OTHER_UID, 4002, (4002,))


CAPABILITIES = "+net_bind_service,+setuid,+setgid,+dac_override"  # all root may lack some
RAISED = ["--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES]
KEPT = [
    [],
    RAISED,
    ["--securebits", "+no_setuid_fixup,+no_setuid_fixup_locked"],
    ["--securebits", "+keep_caps_locked"],
    ["--securebits", "+noroot", *RAISED],
    ["--securebits", "+no_setuid_fixup", *RAISED],
    ["--securebits", "+no_setuid_fixup,+noroot", *RAISED],
    ["--groups", "0,4,27"],
]


@pytest.mark.parametrize("start", KEPT, ids=" ".join)
@pytest.mark.parametrize("listed", [[], ["--port", "80"]], ids=["all", "listed"])
def test_whatever_root_kept(grant80, start, listed):
    """No capability is left, whatever ambient or inheritable sets or securebits root had."""
    argv = [SETPRIV, *start, PYBIND, *listed, "--user", "nobody", "cat", "/proc/self/status"]
    assert_dropped(status_of(as_root(*argv)))
    bind = as_root(SETPRIV, *start, PYBIND, "--user", "nobody", "python3", "-c", BIND)
    assert bind.stdout == "bound\n", bind.stderr


def test_nothing_comes_back():
    """The program cannot become root again, nor read what root can."""
    done = as_root(PYBIND, "--user", "nobody", "/usr/bin/python3", "-c", REGAIN)
    assert done.stdout.split() == ["refused"] * 5, done.stderr


def test_environment(groups):
    """HOME, SHELL, USER and LOGNAME are the user's; variables of root's session are removed."""
    root = {"PATH": "/usr/bin:/bin", "HOME": "/root", "SHELL": "/bin/bash", "USER": "root",
            "LOGNAME": "root", "XDG_RUNTIME_DIR": "/run/user/0", "MAIL": "/var/mail/root",
            "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus", "LANG": "C", "X": "1"}  # fmt: skip

    def environment(user):
        done = as_root(PYBIND, "-p", "8080", "--user", user, "env", env=root)
        return sorted(done.stdout.splitlines())

    assert environment("carol") == [
        "HOME=/home/carol", "LANG=C", "LOGNAME=carol", "PATH=/usr/bin:/bin", "SHELL=/bin/dash",
        "USER=carol", "X=1"]  # fmt: skip
    assert environment(f"{OTHER_UID}:{GID}") == [
        "HOME=/", "LANG=C", f"LOGNAME={OTHER_UID}", "PATH=/usr/bin:/bin", "SHELL=/bin/sh",
        f"USER={OTHER_UID}", "X=1"]  # fmt: skip


def test_folder_and_mask_are_kept():
    """The working directory and the umask are the caller's, as is the process ID."""
    script = 'cd /usr; umask 027; echo $$; exec "$0" --user nobody sh -c "pwd; umask; echo \\$\\$"'
    before, folder, mask, after = as_root("sh", "-c", script, PYBIND).stdout.split()
    assert (folder, mask) == ("/usr", "0027")
    assert before == after


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "nosuchuser"], ["no user 'nosuchuser'"]),
        (["--user", "nobody:nosuchgroup"], ["no group 'nosuchgroup'"]),
        (["--user", ""], ["USER or USER:GROUP"]),
        (["--user", "nobody:"], ["USER or USER:GROUP"]),
        (["--user", ":nogroup"], ["USER or USER:GROUP"]),
        (["--user", "4294967295"], ["ids are 0 to 4294967294"]),
        (["--user", "4294967296:0"], ["ids are 0 to 4294967294"]),
        (["--user", "nobody:99999999999999"], ["ids are 0 to 4294967294"]),
        (["--user", str(OTHER_UID)], ["no entry in passwd", f"--user {OTHER_UID}:GROUP"]),
        (["--user", "4000000"], ["no entry in passwd", "--user 4000000:GROUP"]),
        (["--user", "root"], ["is root", "leave --user away"]),
        (["--user", "0:0"], ["is root", "leave --user away"]),
    ],
)
def test_unknown(groups, grant80, arguments, words):
    """A user or group that does not exist is named, and nothing is started."""
    mark = support.scratch_dir() / "mark"
    done = as_root(PYBIND, *arguments, "--port", "80", "touch", mark)
    assert done.returncode == 125
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not mark.exists()


def test_not_root(grant80):
    """Only root may use --user; a user may not even name themselves."""
    mark = support.scratch_dir() / "mark"
    for name in ("nobody", "daemon"):
        done = pybind("--user", name, "--port", "80", "touch", mark)
        assert done.returncode == 125
        assert f"--user {name} needs root, and this is uid {UID}" in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize("kept", ["-setuid", "-setgid"])
def test_root_without_the_right_to_change(kept):
    """If root lacks CAP_SETUID or CAP_SETGID, the message says so and nothing is started."""
    mark = support.scratch_dir() / "mark"
    done = as_root(SETPRIV, "--bounding-set", kept, PYBIND, "--user", "nobody", "touch", mark)
    assert done.returncode == 125
    assert "cannot become uid 65534 (nobody)" in done.stderr
    assert "Operation not permitted" in done.stderr
    assert not mark.exists()


def test_the_grant_is_the_users():
    """A user without a grant is refused, although root could bind; with a grant they can."""
    mark = support.scratch_dir() / "mark"
    argv = [PYBIND, "--user", "nobody", "--port", "80", "sh", "-c", f"echo ran >>{mark}"]
    done = as_root(*argv)
    assert done.returncode == 125
    assert f"nobody (uid {UID}) may not bind port 80/tcp" in done.stderr
    rules("byuser/0", "any,80")
    assert as_root(*argv).returncode == 125
    assert not mark.exists()
    rules(f"byuser/{UID}", "any,80")
    assert as_root(*argv[:-3], "python3", "-c", BIND).stdout == "bound\n"
    other = as_root(PYBIND, "--check", "--user", f"{OTHER_UID}:{GID}", "--port", "80")
    assert (other.returncode, other.stdout) == (125, "")


def test_supplementary_groups_grant(groups):
    """A group that the user is in grants; one that only root is in does not."""
    flag("byport/80", gid=4003)
    bind = ("python3", "-c", BIND)
    assert as_root(PYBIND, "--user", "carol", "--port", "80", *bind).stdout == "bound\n"
    flag("byport/80", gid=27)
    argv = [SETPRIV, "--groups", "27", PYBIND, "--user", "carol", "--port", "80", *bind]
    assert as_root(*argv).returncode == 125


def test_the_program_is_the_users_to_execute():
    """A program that only root may execute is refused."""
    folder = support.scratch_dir()
    shutil.copyfile("/usr/bin/true", folder / "tool")
    (folder / "tool").chmod(0o700)
    done = as_root(PYBIND, "--user", "nobody", folder / "tool")
    assert done.returncode == 126
    assert f"not executable by uid {UID}" in done.stderr
    folder.chmod(0o700)
    (folder / "tool").chmod(0o755)
    done = as_root(PYBIND, "--user", "nobody", "tool", env={"PATH": f"{folder}:/bin"})
    assert done.returncode == 127


def test_supervised(grant80):
    """A supervised program has no capability either, and can bind."""
    options = ["--mode", "supervise", "--port", "80", "--user", "nobody"]
    done = as_root(PYBIND, *options, "cat", "/proc/self/status")
    status = status_of(done)
    assert status.pop("NoNewPrivs") == ["1"]  # the filter needs it
    assert_dropped({**status, "NoNewPrivs": ["0"]})
    done = as_root(PYBIND, *options, "python3", "-c", BIND)
    assert done.stdout == "bound\n", done.stderr


def test_what_is_around_a_supervised_program_is_the_users(grant80):
    """The front and the supervisor run as that user too, without a capability."""
    code = ("import os, pathlib; up = os.getppid()\n"
            "words = pathlib.Path(f'/proc/{up}/stat').read_text().split()\n"
            "for pid in (up, int(words[3])):\n"
            "    text = pathlib.Path(f'/proc/{pid}/status').read_text()\n"
            "    print([line.split()[1:] for line in text.splitlines()\n"
            "           if line.split(':')[0] in ('Uid', 'Gid', 'CapPrm')])")  # fmt: skip
    done = as_root(PYBIND, "--mode", "supervise", "--user", "nobody", "python3", "-c", code)
    wanted = str([[str(UID)] * 4, [str(GID)] * 4, ["0" * 16]])
    assert done.stdout.splitlines() == [wanted, wanted], done.stderr


def test_without_it_root_is_root():
    """Without --user root's program is simply started, with all its rights."""
    done = as_root(PYBIND, "--port", "80", "cat", "/proc/self/status")
    assert status_of(done)["Uid"] == ["0"] * 4
    assert os.geteuid() == 0
    assert pathlib.Path("/proc/self/status").exists()
