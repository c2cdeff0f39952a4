# SPDX-License-Identifier: GPL-3.0-or-later
"""Case 71: pybindctl reports truly without CAP_SETUID and for accounts with odd names."""

import json
import os
import subprocess

import ctl
import pytest
import support
from ctl import done, lines
from support import CONFIG, UID, rules

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


@pytest.mark.hostile(71)
@pytest.mark.parametrize("command", [("grant", UID, "80"), ("revoke", UID, "22"), ("status",)])
def test_full_standard_output(command):
    """The status is that of the answer even if the output cannot be written."""
    rules(f"byuser/{UID}", "any,22")
    for target in ("/dev/full", None):
        script = 'exec "$@" >&-' if target is None else f'exec "$@" >{target}'
        process = subprocess.run(
            ["sh", "-c", script, "sh", ctl.PYBINDCTL, *map(str, command)],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.returncode in ((0, 1) if command == ("status",) else (0,)), process.stderr
        assert "Traceback" not in process.stderr
    assert os.path.exists(CONFIG)
