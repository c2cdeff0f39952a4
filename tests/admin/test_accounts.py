# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's accounts: the helper is asked as each of them, and odd names change no answer.

A child becomes the user for good and asks the helper. Without CAP_SETUID, and for accounts with
odd names, pybindctl reports truly (case 71).
"""

import contextlib
import json
import os
import signal
import subprocess

import ctl
import pytest
import support
from ctl import allowed, as_json, done, failed, lines
from support import CONFIG, GID, OTHER_UID, UID, flag, rules

from pybind.admin.asking import ask
from pybind.admin.doctor import installation
from pybind.model import Address
from pybind.permissions.errors import Failed, NeedsRoot
from pybind.permissions.who import Identity

PORT80 = Address(support.socket.AF_INET, bytes(4), 0, 80, False)


def test_ask_as_is_the_user():
    """The helper sees exactly the ids that it is asked with, even without such an account."""
    rules("byuser/12345", "any,80")
    rules("bygroup/777", "any,81")
    port81 = PORT80._replace(port=81)
    replies = ask.ask(Identity(12345, 50, [777, 60], None), [PORT80, port81])
    assert [reply.name for reply in replies] == ["byuser/12345", "bygroup/777"]
    names = [step.name for step in ask.ask(Identity(4294967294, 50, [60], None), [PORT80])[0].steps]
    assert names[-3:] == ["byuser/4294967294", "bygroup/50", "bygroup/60"]
    assert ask.ask(Identity(0, 0, [60], None), [PORT80])[0].steps[-1].name == "bygroup/60"
    for ids in ((-1, 0, []), (0xFFFFFFFF, 0, []), (1, -1, []), (1, 1, [0xFFFFFFFF])):
        with pytest.raises(Exception, match="is no uid or gid"):
            ask.ask(Identity(*ids, None), [PORT80])


def whereabouts():
    """Return whether this process leads a session, and what its standard streams are."""
    return [os.getsid(0) == os.getpid(), *(os.readlink(f"/proc/self/fd/{fd}") for fd in range(3))]


def test_a_child_is_away_from_roots_terminal():
    """What runs as the user has no way to the terminal: it may be traced, and could type there."""
    found = ask.answer_as(Identity(UID, GID, [], None), whereabouts)
    assert found == [True, "/dev/null", "/dev/null", "/dev/null"]
    alone = installation.run_python("import os; print(os.getsid(0) == os.getpid(), os.getuid())")
    assert alone.stdout == f"True {UID}\n", alone.stderr


def test_a_stopped_child_keeps_nobody(monkeypatch):
    """If the user stops the child that asks as them, root gives up and leaves no child."""
    become = ask._become

    def stopped(*ids):
        become(*ids)
        os.kill(os.getpid(), signal.SIGSTOP)

    monkeypatch.setattr(ask, "_become", stopped)
    monkeypatch.setattr(ask, "_PATIENCE_S", 0.2)
    with pytest.raises(Failed, match="without an answer"):
        ask.ask(Identity(UID, GID, [], None), [PORT80])
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_ask_as_leaves_nothing(monkeypatch):
    """No child and no descriptor stays, even with SIGCHLD ignored; only root may ask."""
    before = sorted(os.listdir("/proc/self/fd"))
    for disposition in (signal.SIG_DFL, signal.SIG_IGN):
        old = signal.signal(signal.SIGCHLD, disposition)
        try:
            assert len(ask.ask(Identity(UID, GID, [], None), [PORT80] * 3)) == 3
        finally:
            signal.signal(signal.SIGCHLD, old)
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    assert sorted(os.listdir("/proc/self/fd")) == before
    monkeypatch.setattr(os, "geteuid", lambda: UID)
    monkeypatch.setattr(os, "getuid", lambda: UID)
    with pytest.raises(NeedsRoot):
        ask.ask(Identity(OTHER_UID, GID, [], None), [PORT80])


UNABLE = ["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all"]
NAMES = [b"caf\xe9", b"bell\x07\x1b[31mred", b"tab\tname", "müller".encode()]


@pytest.fixture
def odd():
    """Give accounts 5001, 5002 ... names that are not UTF-8 or have control bytes."""
    passwd = CONFIG.parent / "passwd"
    before = passwd.read_bytes()
    numbers = range(5001, 5001 + len(NAMES))
    entries = (b"%s:x:%d:%d::/:/bin/sh\n" % (name, n, n) for n, name in zip(numbers, NAMES))
    passwd.write_bytes(before + b"".join(entries))
    yield list(numbers)
    passwd.write_bytes(before)


def run(*command):
    """Run pybindctl; return its status and output, as bytes."""
    process = subprocess.run(
        [ctl.PYBINDCTL, *map(str, command)], capture_output=True, check=False,
        stdin=subprocess.DEVNULL, timeout=support.PATIENCE_S,
    )  # fmt: skip
    return process.returncode, process.stdout + process.stderr


@pytest.mark.hostile(71)
def test_odd_names(odd):
    """Answers are right and without control bytes; apply reads what export prints."""
    for number in odd:
        rules(f"byuser/{number}", "any,80")
        commands = [
            ("check", 80, "--user", number), ("explain", 80, "--user", number), ("list",),
            ("list", "--user", number), ("status",), ("export",), ("lint",), ("grant", number, 80),
            ("revoke", number, 443),
        ]  # fmt: skip
        for command in commands:
            status, text = run(*command)
            assert status == 0, (command, text)
            assert b"Traceback" not in text
            assert not [byte for byte in text if byte < 32 and byte != 10], (command, text)
            text.decode()
    exported = done("export")
    support.clear_config()
    done("apply", "-", input=exported)
    for number in odd:
        assert run("check", 80, "--user", number)[0] == 0
        answer = json.loads(done("check", "80", "--user", number, "--json"))
        assert answer["granted"]


@pytest.mark.parametrize("options", [[], ["--diff"]])
def test_odd_names_in_a_list(odd, options):
    """Names that a flag file's list has: nothing that a terminal would obey."""
    entries = ",".join(f"u:{number}:x" for number in odd)
    path = support.flag("byport/80")
    subprocess.run(["setfacl", "-m", entries, path], check=True)
    content = f"[[grant]]\nuser = {support.OTHER_UID}\nports = [80]\n".encode()
    process = subprocess.run(
        [ctl.PYBINDCTL, "apply", "-", *options], input=content, capture_output=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert b"5002" in process.stdout
    assert not [byte for byte in process.stdout if byte < 32 and byte != 10], process.stdout


@pytest.mark.hostile(71)
@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_without_the_right_to_become_somebody(command):
    """Without CAP_SETUID the change is made, and the report says that it is not verified."""
    rules(f"byuser/{UID}", "any,22")
    process = subprocess.run(
        [*UNABLE, ctl.PYBINDCTL, command, str(UID), "80" if command == "grant" else "22"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.returncode == 1
    assert "not verified" in process.stderr
    assert "Traceback" not in process.stderr
    if command == "grant":
        assert lines(f"byuser/{UID}") == ["any,22", "any,80"]
        assert f"changed {CONFIG}/byuser/{UID}" in process.stdout
        assert "+ any,80" in process.stdout
    else:
        assert lines(f"byuser/{UID}") == []
        assert "revoked from nobody" in process.stdout


def test_accounts_with_the_names_of_words():
    """For an account called everyone, 1234 or @wheel the printed words mean this account."""
    passwd = CONFIG.parent / "passwd"
    before = passwd.read_text()
    try:
        for number, name in enumerate(("everyone", "1234", "@wheel", "-x"), 4001):
            passwd.write_text(f"{before}{name}:x:{number}:{number}::/:/bin/sh\n")
            flag("byport/80", gid=33)
            done("grant", str(number), "80")
            err = failed(1, "revoke", str(number), "127.0.0.1:80/udp")
            assert err.split("sudo pybindctl ")[1].split() == ["revoke", str(number), "80"]
            out = as_json("explain", "80", "--user", str(number))
            done(*out["addresses"][0]["commands"][0].split()[2:])
            assert not allowed(80, uid=number, gid=number)
            assert allowed(80, uid=33, gid=33)
    finally:
        passwd.write_text(before)
