# SPDX-License-Identifier: GPL-3.0-or-later
"""grant: what it writes and leaves alone, and who may bind what afterwards.

A port without a protocol is one rule, in the same words for each reader, which all commands keep.
"""

import pathlib
import re
import socket
import stat
import subprocess

import ctl
import printed
import pytest
import support
from ctl import acl, allowed, as_json, done, lines, pybindctl, snapshot
from support import CONFIG, GID, OTHER_UID, UID, flag, rules

WHO = str(UID)


def test_a_user_a_group_and_everyone():
    """Users go to byuser, groups to bygroup, everyone to byport; root owns each file."""
    assert done("grant", "nobody", "80", "192.0.2.0/24:443/tcp").splitlines() == [
        "nobody may now bind 80/tcp and 80/udp on every address, 443/tcp on 192.0.2.0/24 (proved)",
        "to use it, as nobody: pybind --port 80 -- PROGRAM",
    ]
    done("grant", f"@{GID}", "8000-8010")
    done("grant", "everyone", "53", "--yes")
    assert lines(f"byuser/{UID}") == ["any,80", "192.0.2.0/24,443/tcp"]
    assert lines(f"bygroup/{GID}") == ["any,8000-8010"]
    modes = {name: (*found[:2], stat.S_IMODE(found[2])) for name, found in snapshot().items()}
    assert modes == {
        "byport/53": (0, 0, 0o755), f"byuser/{UID}": (0, 0, 0o644), f"bygroup/{GID}": (0, 0, 0o644)
    }  # fmt: skip
    assert allowed(80)
    assert allowed(53, uid=OTHER_UID, gid=OTHER_UID)


def test_idempotent():
    """A grant that is already covered writes nothing and says so."""
    done("grant", WHO, "80-90")
    before = snapshot()
    for spec in ("80-90", "85/tcp", "127.0.0.1:80"):
        assert "nobody already may bind" in done("grant", WHO, spec, "--yes")
    assert snapshot() == before
    assert "was granted nothing of that" in done("revoke", WHO, "91")
    assert snapshot() == before


def test_umask_and_missing_folders():
    """Modes do not depend on the umask, and a missing folder is made."""
    (CONFIG / "byuser").rmdir()
    done("grant", WHO, "80", umask=0o077)
    assert stat.S_IMODE((CONFIG / "byuser").stat().st_mode) == 0o755
    assert allowed(80)


def test_reserved_ports():
    """Ports 512 to 1023 go to files with '!', and a range is split at these ports."""
    done("grant", WHO, "500-1030", "--yes")
    assert lines(f"byuser/{UID}") == ["any,500-511", "any,1024-1030"]
    assert lines(f"byuser/!{UID}") == ["any,512-1023"]
    done("grant", "everyone", "1023-1024/tcp", "--yes")
    assert {"byport/!1023,tcp", "byport/1024,tcp"} <= set(snapshot())
    done("revoke", WHO, "511-513")
    assert lines(f"byuser/{UID}") == ["any,500-510", "any,1024-1030"]
    assert lines(f"byuser/!{UID}") == ["any,514-1023"]


def test_flag_of_another_gets_an_entry():
    """A user is added to the list of a group's byport/80, and nobody loses the port."""
    flag("byport/80", gid=33)
    done("grant", WHO, "80")
    assert lines(f"byuser/{UID}") == []
    assert allowed(80)
    assert allowed(80, uid=33, gid=33)
    assert not allowed(80, uid=OTHER_UID, gid=OTHER_UID)
    assert "already may bind" in done("grant", WHO, "80")
    done("grant", "@12", "80")
    assert allowed(80, uid=OTHER_UID, gid=12)
    done("grant", "everyone", "80", "--yes")
    assert allowed(80, uid=OTHER_UID, gid=OTHER_UID)
    done("revoke", "everyone", "80")
    done("revoke", "@12", "80")
    done("revoke", WHO, "80")
    assert not allowed(80)
    assert allowed(80, uid=33, gid=33)
    assert acl(CONFIG / "byport/80") == b""
    assert stat.S_IMODE((CONFIG / "byport/80").stat().st_mode) == 0o750


def test_entry_opens_nothing_else():
    """A right that the mask of a list held back stays away when the mask grows."""
    path = flag("byport/80", gid=0, mode=0o700)
    subprocess.run(["setfacl", "-m", f"u:{OTHER_UID}:rwx,m::r", path], check=True)
    assert not allowed(80, uid=OTHER_UID, gid=OTHER_UID)
    done("grant", WHO, "80")
    assert allowed(80)
    assert not allowed(80, uid=OTHER_UID, gid=OTHER_UID)


def test_address_flag_gets_an_entry_too():
    """A byaddr file inside of the granted range gets an entry, or it would refuse there."""
    flag("byaddr/127.0.0.1,80", gid=33)
    done("grant", WHO, "80")
    assert lines(f"byuser/{UID}") == ["any,80"]
    assert allowed(80)
    assert allowed(80, "127.0.0.2")
    done("revoke", WHO, "80")
    assert not allowed(80)
    assert allowed(80, uid=33, gid=33)


def test_json():
    """--json gives one object with the changes and the helper's answers."""
    answer = as_json("grant", WHO, "80/tcp")
    assert answer["changed"]
    assert answer["changes"] == [
        {"file": f"/etc/pybind/byuser/{UID}", "before": [], "after": ["any,80/tcp"]}
    ]
    assert [(at["address"], at["granted"], at["line"]) for at in answer["verified"]] == [
        ("0.0.0.0:80/tcp", True, 1), ("[::]:80/tcp", True, 1)
    ]  # fmt: skip
    assert not as_json("grant", WHO, "80/tcp")["changed"]
    assert not as_json("revoke", WHO, "80/tcp")["verified"][0]["granted"]


def test_open_to_all_is_noted():
    """A note says that the kernel gives the port to everybody."""
    assert "lets everybody bind 8080" in pybindctl("grant", WHO, "8080").stderr
    assert socket.has_ipv6


def test_how_to_use_a_grant():
    """The last line of grant is what its user types."""
    out = ctl.done("grant", WHO, "80")
    command = printed.said(out, "grant._use: pybind --port ... -- PROGRAM").split()
    code = "import socket; s = socket.socket(); s.bind(('', 80)); print('bound')"
    done = support.run([support.PYBIND, *command[1:-1], "/usr/bin/python3", "-c", code])
    assert done.stdout == "bound\n", done.stderr


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


def granted_protocols():
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
    assert (granted_protocols(), answers()) == (BOTH, {True})
    assert "80/tcp and 80/udp" in ctl.done("revoke", UID, "80")
    assert (granted_protocols(), answers()) == (set(), {False})


@pytest.mark.parametrize(("protocol", "left"), [("tcp", UDP), ("udp", TCP)])
def test_asked_about_as_tcp(protocol, left):
    """Each question is about TCP, whether UDP is granted or not."""
    ctl.done("grant", UID, "80")
    ctl.done("revoke", UID, f"80/{protocol}")
    assert (granted_protocols(), answers()) == (left, {left == TCP})
    ctl.done("revoke", UID, "80")
    assert granted_protocols() == set()


def test_a_rule_file_means_both():
    """A line without a protocol is as a grant without one."""
    rules(f"byuser/{UID}", "any,80")
    assert (granted_protocols(), answers()) == (BOTH, {True})


def test_no_question_about_udp_on_every_address():
    """Neither 53 nor 53/udp asks; one address with UDP does, and says how to grant TCP alone."""
    for spec in ("53", "54/udp"):
        ctl.done("grant", UID, spec)
    said = ctl.failed(2, "grant", UID, "127.0.0.1:80", words=["UDP", "--yes"])
    spec = re.search(r"for TCP alone: (\S+)", said)[1]
    ctl.done("grant", UID, spec)
    assert granted_protocols() == set()
    assert ctl.pybindctl("check", "127.0.0.1:80", "--user", UID).returncode == 0
    assert "TCP alone" not in ctl.failed(2, "grant", UID, "127.0.0.1:80/udp")
