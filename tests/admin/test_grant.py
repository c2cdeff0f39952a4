# SPDX-License-Identifier: GPL-3.0-or-later
"""grant and revoke: what they write, refuse and leave alone."""

import os
import pty
import socket
import stat
import subprocess

import ctl
import printed
import pytest
import support
from ctl import acl, as_json, done, failed, lines, pybindctl, snapshot
from support import CONFIG, GID, OTHER_UID, UID, flag, rules

WHO = str(UID)


def allowed(port, host="127.0.0.1", udp=False, uid=UID, gid=GID, groups=()):
    """Ask the helper, as pybind --check does, whether uid may bind."""
    spec = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    argv = [support.PYBIND, "--check", "--port", f"{spec}/{'udp' if udp else 'tcp'}"]
    return support.run(argv, uid=uid, gid=gid, groups=groups).returncode == 0


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


def test_revoke_splits():
    """revoke cuts a port out of ranges of ports, addresses and protocols; comments stay."""
    rules(
        f"byuser/{UID}", "# mine", "any,80-90   # web", "", "192.0.2.0/24:443,443", "any,22 # ssh"
    )
    done("revoke", WHO, "85", "192.0.2.7:443/udp", "22")
    assert lines(f"byuser/{UID}") == [
        "# mine", "any,80-84   # web", "any,86-90", "", "192.0.2.0/24,443/tcp",
        "192.0.2.0-192.0.2.6,443/udp", "192.0.2.8-192.0.2.255,443/udp", "# ssh",
    ]  # fmt: skip


def test_revoke_one_address_of_any():
    """revoke says what stays: the user can still take the address by the wildcard."""
    done("grant", WHO, "80/tcp")
    out = done("revoke", WHO, "192.0.2.1:80")
    assert lines(f"byuser/{UID}") == [
        "0.0.0.0-192.0.2.0,80/tcp", "192.0.2.2-255.255.255.255,80/tcp", "::/0,80/tcp"
    ]  # fmt: skip
    assert "grants 0.0.0.0:80/tcp: whoever binds that takes the address too" in out


def test_revoke_says_what_stays():
    """revoke names the group and the flag file that still grant the port."""
    done("grant", WHO, "80")
    done("grant", f"@{GID}", "80")
    assert f"still granted by /etc/pybind/bygroup/{GID} line 1" in done("revoke", WHO, "80")
    done("grant", "everyone", "80", "--yes")
    out = done("revoke", f"@{GID}", "80")
    assert "still granted by /etc/pybind/byport/80: 80/tcp, 80/udp\n" in out
    # One family of two is named: the other one is not granted by that file.
    done("grant", "everyone", "0.0.0.0:81", "--yes")
    out = done("revoke", WHO, "81")
    assert "still granted by /etc/pybind/byaddr/0.0.0.0,81: 0.0.0.0:81/tcp, 0.0.0.0:81/udp\n" in out
    done("revoke", "everyone", "0.0.0.0:81")
    assert "still granted" not in done("revoke", "everyone", "80")
    assert snapshot() == {}


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


@pytest.mark.parametrize("who", [WHO, f"@{GID}", "everyone"])
def test_narrower_than_the_flag(who):
    """A grant that the flag file cannot express is refused; the proposed command works."""
    flag("byport/80", gid=33)
    err = failed(1, "grant", who, "127.0.0.1:80", "--yes", words=["/etc/pybind/byport/80"])
    name = "editing._shadowed: sudo pybindctl grant ... ..."
    printed.typed_saying_yes(err, name)
    assert allowed(80)
    err = failed(1, "revoke", who, "127.0.0.1:80", words=["cannot be revoked alone"])
    printed.typed(err, "editing._indivisible: sudo ...")
    assert not allowed(80)


def test_everyone_part_of_a_port():
    """The command that is proposed for one protocol of everyone's port works."""
    done("grant", "everyone", "80", "--yes")
    err = failed(1, "revoke", "everyone", "80/tcp", words=["cannot be revoked alone"])
    assert "sudo pybindctl revoke everyone 80 && sudo pybindctl grant everyone 80/udp" in err


def test_user_owned_flag():
    """A flag file of the user's is refused, because they could open it; the repair works."""
    path = flag("byport/80", uid=UID, mode=0o500)
    err = failed(1, "revoke", WHO, "80", words=["could make it executable again"])
    printed.typed(err, "editing._owned: sudo chown root ...")
    assert path.stat().st_uid == 0
    assert not allowed(80)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([WHO, "631"], "rsh, NFS"), ([WHO, "127.0.0.1:53/udp"], "UDP"), (["everyone", "80"], "everyone:"),
     (["everyone", "600/udp"], "rsh, NFS")],
)  # fmt: skip
def test_confirmation(arguments, words):
    """Without a terminal --yes is needed; a terminal gets one question, and no means no."""
    failed(2, "grant", *arguments, words=[words, "--yes"])
    assert _on_a_terminal(arguments, b"n\n") == 1
    assert snapshot() == {}
    assert _on_a_terminal(arguments, b"y\n") == 0
    assert snapshot() != {}
    done("grant", *arguments)  # already granted, so there is no question


def _on_a_terminal(arguments, answer):
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [ctl.PYBINDCTL, "grant", *arguments], stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.write(ours, answer)
        out = process.communicate(timeout=support.PATIENCE_S)[1]
    os.close(ours)
    os.close(theirs)
    assert out.count(b"grant it?") == 1
    return process.returncode


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


def test_revoke_everything():
    """revoke without ports, or with all of them, removes only the grants of WHO."""
    for words in ((), ("all",)):
        done("grant", WHO, "80", "443/tcp", "631", "--yes")
        done("grant", "1", "80")
        flag("byport/25", gid=0, mode=0o700)
        done("grant", WHO, "25")
        out = done("revoke", WHO, *words)
        assert out.startswith("revoked from nobody (uid 65534): everything\n")
        assert "  - any,443/tcp" in out
        assert not any(allowed(port) for port in (80, 443, 631, 25))
        assert lines("byuser/1") == ["any,80"]
        support.clear_config()
    assert "was granted nothing" in done("revoke", WHO)


def test_revoke_names_who_holds_it():
    """revoke names a server that still holds the port, and the command that ends it."""
    done("grant", WHO, "80")
    argv = [support.PYBIND, "/usr/bin/python3", "-m", "http.server", "80"]
    with support.server(argv, ready=support.answers_http) as process:
        for spec in ("80", "all"):
            done("grant", WHO, "80")
            out = done("revoke", WHO, spec)
            assert f"python3 ({process.pid}) of nobody still holds 80/tcp" in out
        printed.typed(out, "revoke._still_held: sudo kill ...")
        process.wait(support.PATIENCE_S)
    assert "still holds" not in done("revoke", WHO, "80")


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


def test_half_of_the_wildcard():
    """A note says that [::]:80 alone is of no use, with the command that helps."""
    process = pybindctl("grant", WHO, "[::]:80/tcp", "--yes")
    assert process.returncode == 1
    printed.typed_saying_yes(process.stderr, "granting.say_refused: sudo pybindctl grant ... ...")
    assert allowed(80, "::")


def test_open_to_all_is_noted():
    """A note says that the kernel gives the port to everybody."""
    assert "lets everybody bind 8080" in pybindctl("grant", WHO, "8080").stderr
    assert socket.has_ipv6


def test_own_group_with_an_entry():
    """revoke removes an entry for the file's own group together with its group bits."""
    path = flag("byport/80", gid=2000, mode=0o700)
    subprocess.run(["setfacl", "-m", "g:2000:x", path], check=True)
    assert pybindctl("check", "80", "--user", UID).returncode == 1
    assert "already may bind" in done("grant", "@2000", "80")
    done("revoke", "@2000", "80")
    assert "was granted nothing of that" in done("revoke", "@2000", "80")
    assert "still" not in done("grant", "@2001", "80")
    assert (
        "group:2000"
        not in subprocess.run(
            ["getfacl", "-pn", path], capture_output=True, text=True, check=True
        ).stdout
    )
