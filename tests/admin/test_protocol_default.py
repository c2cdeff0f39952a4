# SPDX-License-Identifier: GPL-3.0-or-later
"""A port without a protocol: one rule, in the same words for each reader, which all commands keep."""

import pathlib
import re
import subprocess

import ctl
import pytest
import support
from support import UID, rules

RULE = "Without a protocol, a port is granted and revoked for TCP and UDP, and asked about as TCP"
ROOT = pathlib.Path(__file__).parents[2]
BOTH, TCP, UDP = {"tcp", "udp"}, {"tcp"}, {"udp"}


def _help():
    return ctl.done("grant", "--help")


def _page():
    page = ROOT / "man/pybindctl.8"
    man = ["man", "-l", "--no-hyphenation", "--no-justification", str(page)]
    return subprocess.run(man, capture_output=True, text=True, check=True).stdout


def _doc():
    return (ROOT / "docs/use.md").read_text()


@pytest.mark.parametrize("text", [_help, _page, _doc])
def test_said_once(text):
    """The rule stands once in the help of grant, in the manual page and in docs/use.md."""
    assert " ".join(re.sub(".\b", "", text()).split()).count(RULE) == 1


def granted():
    """Return the protocols of which the user may bind port 80, as check says."""
    asked = {name: ctl.pybindctl("check", f"80/{name}", "--user", UID) for name in BOTH}
    return {name for name, done in asked.items() if done.returncode == 0}


def answers():
    """Return whether each question about port 80 is answered by yes."""
    questions = [ctl.pybindctl(word, "80", "--user", UID) for word in ("check", "explain")]
    questions.append(support.run([support.PYBIND, "--check", "--port", "80"], uid=UID))
    questions.append(support.run([support.PYBIND, "--port", "80", "--", "/bin/true"], uid=UID))
    assert all("80/tcp" in done.stdout + done.stderr for done in questions[:3])
    assert not any("80/udp" in done.stdout + done.stderr for done in questions)
    return {done.returncode == 0 for done in questions}


def test_granted_and_revoked_for_both():
    """Grant and revoke mean TCP and UDP."""
    said = ctl.done("grant", UID, "80")
    assert said.startswith("nobody may now bind 80/tcp and 80/udp on every address")
    assert (granted(), answers()) == (BOTH, {True})
    assert "80/tcp and 80/udp" in ctl.done("revoke", UID, "80")
    assert (granted(), answers()) == (set(), {False})


@pytest.mark.parametrize(("protocol", "left"), [("tcp", UDP), ("udp", TCP)])
def test_asked_about_as_tcp(protocol, left):
    """Each question is about TCP, whether UDP is granted or not."""
    ctl.done("grant", UID, "80")
    ctl.done("revoke", UID, f"80/{protocol}")
    assert (granted(), answers()) == (left, {left == TCP})
    ctl.done("revoke", UID, "80")
    assert granted() == set()


def test_a_rule_file_means_both():
    """A line without a protocol is as a grant without one."""
    rules(f"byuser/{UID}", "any,80")
    assert (granted(), answers()) == (BOTH, {True})


def test_no_question_about_udp_on_every_address():
    """Neither 53 nor 53/udp asks; one address with UDP does, and says how to grant TCP alone."""
    for spec in ("53", "54/udp"):
        ctl.done("grant", UID, spec)
    said = ctl.failed(2, "grant", UID, "127.0.0.1:80", words=["UDP", "--yes"])
    spec = re.search(r"for TCP alone: (\S+)", said)[1]
    ctl.done("grant", UID, spec)
    assert granted() == set()
    assert ctl.pybindctl("check", "127.0.0.1:80", "--user", UID).returncode == 0
    assert "TCP alone" not in ctl.failed(2, "grant", UID, "127.0.0.1:80/udp")
