# SPDX-License-Identifier: GPL-3.0-or-later
"""check and explain: the helper's answer in words, and a repair that works when typed."""

import pathlib
import re
import subprocess

import printed
import pytest
import support
from ctl import NOBODY, PYBINDCTL, SANE, as_himself, as_root, granted, question, repair
from support import CONFIG, GID, OTHER_UID, UID, flag, rules

from pybind.model import Address

GRANT = "decision.repairs: sudo pybindctl grant ... ..."
OF_RULES = "decision._to_take_away: sudo pybindctl revoke ... ..."
OF_FLAGS = "decision._to_take_away: sudo ..."
PORT80 = Address(support.socket.AF_INET, bytes(4), 0, 80, False)


SPECS = ["80", "127.0.0.1:80/udp", "[::1]:443", "631", "[::ffff:127.0.0.1]:80", "[::]:80", "53/udp"]


def explained(spec, *words, file=None, line=None):
    """Ask why UID is refused; return the proposed commands."""
    answer = question("explain", spec)
    first = answer["addresses"][0]
    assert not answer["granted"]
    assert first["file"] == (str(file) if file else None)
    assert first["line"] == line
    text = as_root("explain", spec, *NOBODY).stdout
    for word in ("nobody", "REFUSED", *words):
        assert word in text
    if file and first["steps"]:
        place = re.escape(str(file)) + (f" line {line}" if line else "")
        assert re.search(f"  {place}: refuses", text)
        assert first["steps"][-1] == {
            "file": str(file), "result": "refuses", "line": line, "for_ipv4_half": False
        }  # fmt: skip
    for command in first["commands"]:
        assert command in text
    return first["commands"]


@pytest.mark.parametrize("spec", SPECS)
def test_no_grant(spec):
    """Every file that was looked at is shown; the command grants exactly what was asked."""
    (command,) = explained(spec, "nothing in /etc/pybind grants it", "looked at and not there")
    assert command.startswith("sudo pybindctl grant nobody ")
    repair(command, GRANT)
    assert granted(spec)
    assert not granted("22")


def test_order_of_files():
    """Files appear in the helper's order, for both halves of ::; absent ones share one line."""
    rules(f"byuser/{UID}", "::/0,80", "0.0.0.0/0,81")
    rules(f"bygroup/{GID}", "# nothing", "0.0.0.0,80")
    lines = as_root("explain", "[::]:80", *NOBODY).stdout.splitlines()
    assert lines[0].startswith("nobody, [::]:80/tcp")
    assert lines[0].endswith(": GRANTED")
    assert lines[1:4] == [
        f"  {CONFIG}/byuser/{UID} line 1: ::/0,80",
        f"  {CONFIG}/byuser/{UID}: no line covers it",
        f"  {CONFIG}/bygroup/{GID} line 2 (for 0.0.0.0): 0.0.0.0,80",
    ]
    assert lines[4] == (
        "looked at before it, and not there: byport/80,tcp byport/80 byaddr/::,80,tcp "
        "byaddr/0:0:0:0:0:0:0:0,80,tcp byaddr/::,80 byaddr/0:0:0:0:0:0:0:0,80 "
        "byaddr/0.0.0.0,80,tcp byaddr/0.0.0.0:80 byaddr/0.0.0.0,80"
    )


def test_folded():
    """If IPv4 and IPv6 get the same answer, one verdict of four lines and the command appear."""
    rules(f"byuser/{UID}", "any,80")
    lines = as_root("explain", "80", *NOBODY).stdout.splitlines()
    assert lines[0] == "nobody, 80/tcp, every address (0.0.0.0 and ::): GRANTED"
    assert lines[1] == f"  {CONFIG}/byuser/{UID} line 1: any,80"
    assert lines[2].endswith("byaddr/0.0.0.0,80 (and the same for ::)")
    assert lines[3:] == ["to take it away: sudo pybindctl revoke nobody 80/tcp"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: flag("byport/853"), "byport/853 is not looked at"),
        (lambda: rules(f"byuser/{UID}", "any,853"), f"belongs in {CONFIG}/byuser/!{UID}"),
        (lambda: rules(f"bygroup/{GID}", "any,800-900/tcp"), f"belongs in {CONFIG}/bygroup/!{GID}"),
    ],
)
def test_without_its_mark(make, words):
    """The message names a file that lacks the '!' which ports 512 to 1023 need."""
    make()
    explained("853", words)
    assert "is not looked at" not in as_root("explain", "80", *NOBODY).stdout


@pytest.mark.parametrize("command", ["check", "explain"])
@pytest.mark.parametrize("spec", ["192.0.2.0/24:80", "80-90", "192.0.2.1-192.0.2.9:80"])
def test_one_address_and_port(command, spec):
    """A range or prefix cannot be asked about; the error proposes a question that works."""
    done = as_root(command, spec)
    assert done.returncode == 2
    assert "one address and one port" in done.stderr
    instead = re.search(r"such as: pybindctl (\S+ \S+)", done.stderr)[1].split()
    assert as_root(*instead, *NOBODY).returncode == 1
    assert "nothing is granted" in printed.typed(
        done.stderr, "decision.parse_asked: pybindctl list", env=SANE
    )


def test_missing_half():
    """The missing half of :: is named; without an address the half does not decide."""
    rules(f"byuser/{UID}", "::/0,80")
    for command in explained("[::]:80", "other half 0.0.0.0"):
        rules(f"byuser/{UID}", "::/0,80")
        repair(command, GRANT)
        assert granted("[::]:80")
    rules(f"byuser/{UID}", "0.0.0.0/0,80")
    answer = question("explain", "80")
    assert [entry["granted"] for entry in answer["addresses"]] == [True, False]
    assert [entry["required"] for entry in answer["addresses"]] == [True, False]


def test_granted_to_another():
    """A flag file for others is shown with owner and mode, and the command that adds the user."""
    path = flag("byport/80", uid=OTHER_UID, gid=0, mode=0o500)
    commands = explained("80", "not executable", f"owner {OTHER_UID}", "mode 0500", file=path)
    repair(commands[0], GRANT)
    assert granted("80")


def test_flag_of_another_kind():
    """A symbolic link in place of a flag file is named."""
    path = CONFIG / "byport" / "80"
    path.symlink_to("/bin/true")
    rules(f"byuser/{UID}", "any,80")
    repair(explained("80", "not a regular file", file=path)[0], "reading.flag_kind: {put_aside}")
    assert granted("80")


def test_flag_on_noexec():
    """The message names a noexec mount, on which no flag file is executable."""
    command = ["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "tmpfs", CONFIG / "byport"]
    subprocess.run(command, check=True)
    try:
        path = flag("byport/80", mode=0o755)
        (command,) = explained("80", "noexec", str(CONFIG / "byport"), file=path)
        repair(command, "folders.on_noexec: sudo {remount}")
        assert granted("80")
    finally:
        subprocess.run(["umount", CONFIG / "byport"], check=True)


@pytest.mark.parametrize(("line", "words"), support.BROKEN_LINES)
def test_broken_rule_file(line, words):
    """A broken line is named with file, number and fault."""
    path = rules(f"byuser/{UID}", "any,80", line)
    repair(explained("80", words, file=path, line=2)[0], "reading.faults: {rule_line}")
    assert granted("80")


@pytest.mark.parametrize(
    ("options", "words", "name"),
    [
        ({"uid": UID}, f"owner {UID}", "reading._unsafe: {rules_file}"),
        ({"mode": 0o666}, "mode 0666", "reading._unsafe: {rules_file}"),
        ({"mode": 0o600}, "readable", "reading.not_readable: sudo chmod 0644 ..."),
    ],
)
def test_unsafe_rule_file(options, words, name):
    """A rule file is named that the user owns or cannot read, or that others can write."""
    path = rules(f"byuser/{UID}", "any,80", **options)
    repair(explained("80", words, file=path)[0], name)
    assert granted("80")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: rules(f"byuser/{UID}", "# mine", "any,80"), OF_RULES),
        (lambda: rules(f"bygroup/{GID}", "any,80-90"), OF_RULES),
        (lambda: flag("byport/80"), OF_FLAGS),
        (lambda: flag("byport/80", mode=0o755), OF_FLAGS),
        (lambda: flag("byport/80", uid=UID, mode=0o700), OF_FLAGS),
    ],
)
def test_taking_away(make, name):
    """For a granted port the proposed command takes the port from this user."""
    path = make()
    answer = question("explain", "80")
    assert answer["addresses"][0]["file"] == str(path)
    repair(answer["addresses"][0]["commands"][0], name)
    assert not granted("80")


def test_unprivileged_port():
    """A port that the kernel gives to everybody needs no grant and no helper."""
    assert "ports from 1024 on" in as_root("check", "8080", *NOBODY).stdout
    assert granted("8080")
    path = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    path.write_text("10000")
    try:
        assert not granted("8080")
    finally:
        path.write_text("1024")
    own = as_root("check", "80")
    assert own.returncode == 0
    assert "--user USER" in own.stdout


def test_lines_of_check():
    """check prints a line for each address, coloured only on a terminal without NO_COLOR."""
    rules(f"byuser/{UID}", "0.0.0.0,80")
    done = as_root("check", "80", *NOBODY)
    assert done.stdout.splitlines() == [
        f"0.0.0.0:80/tcp: granted to nobody by {CONFIG}/byuser/{UID} line 1",
        f"[::]:80/tcp: refused to nobody: nothing in {CONFIG} grants it",
    ]
    done = as_root("check", "81", *NOBODY)
    assert done.stdout.splitlines() == [f"81/tcp: refused to nobody: nothing in {CONFIG} grants it"]
    assert done.stderr == ""
    rules(f"byuser/{UID}", "any,80")
    done = as_root("check", "80", *NOBODY)
    assert done.stdout.splitlines() == [
        f"80/tcp: granted to nobody by {CONFIG}/byuser/{UID} line 1"
    ]
    command = f"{PYBINDCTL} check 80 --user nobody"
    for environ, colour in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        terminal = subprocess.run(
            ["script", "-qec", command, "/dev/null"], capture_output=True, text=True,
            env={**SANE, **environ}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert ("\x1b[" in terminal.stdout) == colour


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (["80", "--user", "no-such-user"], "no user 'no-such-user'", 2),
        (["80", "--user", "4294967295"], "no user", 2),
        (["80", "--user", "-1"], "no user '-1'", 2),
        (["80", "--user", ""], "no user ''", 2),
        (["0"], "port 0", 2),
        (["65536"], "1 to 65535", 2),
        (["80/sctp"], "neither tcp nor udp", 2),
        ([], "Missing argument", 2),
    ],
)
def test_wrong_input(arguments, words, status):
    """Wrong input gets a clear error and no answer."""
    for command in ("check", "explain"):
        done = as_root(command, *arguments)
        assert done.returncode == status
        assert done.stdout == ""
        assert words in done.stderr


def test_asking_for_another_needs_root():
    """Ordinary users can ask only about themselves."""
    done = as_himself("check", "80", "--user", "daemon")
    assert done.returncode == 4
    assert "only root can ask for uid 1" in done.stderr
    assert as_himself("check", "80", *NOBODY).returncode == 1


def test_groups_of_the_account():
    """Root asks with the account's groups; a process that lacks one of them gets a note."""
    rules("bygroup/4242", "any,80")
    groups = pathlib.Path("/etc/group")
    before = groups.read_text()
    try:
        groups.write_text(before + "pybind-test:x:4242:nobody\n")
        assert as_root("check", "80", *NOBODY).returncode == 0
        done = as_himself("explain", "80")
        assert done.returncode == 1
        assert "your account is in group 4242" in done.stdout
        assert as_himself("check", "80", groups=(4242,)).returncode == 0
    finally:
        groups.write_text(before)
