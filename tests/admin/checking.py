# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared parts of the tests of check and explain: questions by root and by the user, repairs."""

import json
import re
import subprocess

import printed
import support
from ctl import PYBINDCTL

SANE = {"PATH": f"{support.PREFIX}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


NOBODY = ("--user", "nobody")


def as_root(*arguments, **options):
    """Run pybindctl as the administrator."""
    options = {"stdin": subprocess.DEVNULL, "cwd": "/", "env": SANE, **options}
    return subprocess.run(
        [PYBINDCTL, *arguments],
        capture_output=True,
        text=True,
        timeout=support.PATIENCE_S,
        **options,
    )


def as_himself(*arguments, **options):
    """Run pybindctl as UID."""
    return support.run([PYBINDCTL, *arguments], **options)


def question(*arguments):
    """Return the JSON answer, which must be the same for root and for the user."""
    theirs = as_root(*arguments, "--json", *NOBODY)
    own = as_himself(*arguments, "--json")
    assert theirs.stderr == own.stderr == ""
    answer = json.loads(theirs.stdout)
    assert answer == json.loads(own.stdout)
    assert answer["schema"] == 1
    assert theirs.returncode == own.returncode == (0 if answer["granted"] else 1)
    return answer


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


def repair(command, name):
    """Type a command at a terminal, and answer grant's question with yes."""
    command = printed.said(command, name).replace("pybindctl grant ", "pybindctl grant --yes ")
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], input=b"y\n", env=SANE,
        capture_output=True, timeout=support.PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def granted(spec):
    """Tell whether check says that UID is granted, to root and to that user."""
    answer = question("check", spec)
    pybind = support.pybind("-q", "--check", "--port", spec)
    assert (pybind.returncode == 0) == answer["granted"]
    return answer["granted"]
