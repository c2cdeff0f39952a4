# SPDX-License-Identifier: GPL-3.0-or-later
"""grant and revoke refuse or ask first: a clear error, nothing is changed, and what is said instead works."""

import contextlib
import os
import pathlib
import pty
import subprocess

import ctl
import printed
import pytest
import support
from ctl import allowed, done, failed, pybindctl, snapshot
from support import CONFIG, GID, UID, flag, rules

WHO = str(UID)


def test_all_or_nothing():
    """If one SPEC cannot be granted, no other SPEC is granted either."""
    flag("byport/80", gid=33)
    failed(1, "grant", WHO, "443", "80/tcp", "--yes")
    failed(2, "grant", WHO, "443", "99999")
    rules(f"byuser/!{UID}", "any,631", "rubbish")
    failed(3, "grant", WHO, "443", "631", "--yes", words=[f"byuser/!{UID} line 2"])
    failed(3, "revoke", WHO, "631", words=["line 2"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nosuchuser", "80"], "no user 'nosuchuser'"), (["@nosuchgroup", "80"], "no group"),
     (["daemon", "70000"], "1 to 65535"), (["daemon", "90-80"], "write 80-90"),
     (["daemon"], "SPEC"), ([], "WHO"), (["4294967295", "80"], "out of range"), (["a\tb", "80"], "user"),
     (["@", "80"], "no group"), (["", "80"], "no user"), (["@daemon\0"[:-1], "x" * 300], "bad port")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_wrong_input(command, arguments, words):
    """Wrong usage gets status 2 and a clear error, and changes nothing."""
    if command == "grant" or arguments != ["daemon"]:  # revoke without ports revokes all
        failed(2, command, *arguments, words=[words])


@pytest.mark.parametrize(
    ("specs", "words"),
    [(["80", "tcp"], "write 80/tcp"), (["80,443"], "write 80 443"), (["80", "all"], "1-65535")],
)
def test_words_that_help(specs, words):
    """For what people type at first, the error says what to type instead."""
    for command in ("grant", "revoke"):
        failed(2, command, WHO, *specs, words=[words])


def test_group_of_that_name():
    """For a group's name without @, the error proposes the @."""
    failed(2, "grant", "shadow", "80", words=["write @shadow"])


def test_everyone_limits():
    """everyone gets no prefix and not thousands of ports: flag files cannot say that."""
    failed(1, "grant", "everyone", "192.0.2.0/24:80", "--yes", words=["grant @GROUP"])
    failed(1, "grant", "everyone", "2000-9000", "--yes", words=["7001 flag files"])
    done("grant", "everyone", "[::1]:80-82/tcp", "--yes")
    assert set(snapshot()) == {f"byaddr/::1,{port},tcp" for port in (80, 81, 82)}


def test_not_root():
    """Without root both exit with 4 before they look at anything else."""
    rules(f"byuser/{UID}", "any,80")
    before = snapshot()
    for words in (("grant", WHO, "443"), ("revoke", WHO, "80"), ("grant", "nosuchuser", "80")):
        process = support.run([ctl.PYBINDCTL, *words])
        assert (process.returncode, snapshot()) == (4, before), process.stderr
        assert "root" in process.stderr


@pytest.mark.parametrize("what", ["full", "readonly", "noacl"])
def test_file_system_says_no(what):
    """A full disk, read-only /etc or missing ACL support gets a clear error, nothing changed."""
    kind = "ramfs" if what == "noacl" else "tmpfs"  # a ramfs has no extended attributes
    options = "mode=755" + (",size=16k" if what == "full" else "")
    subprocess.run(["mount", "-t", kind, "-o", options, "none", CONFIG], check=True)
    try:
        for folder in support.FOLDERS:
            (CONFIG / folder).mkdir(mode=0o755)
        rules(f"byuser/{UID}", "any,22", *["# filled up"] * 300)
        rules(f"byuser/!{UID}", "any,631")
        if what == "noacl":
            flag("byport/80", gid=33)
            failed(1, "grant", WHO, "443", "80", words=["access control lists"])
            return
        if what == "full":
            with contextlib.suppress(OSError):
                (CONFIG / "filler").write_bytes(b"x" * 1000000)
            err = failed(1, "grant", WHO, "600", "443", "--yes", words=["No space"])
            assert str(CONFIG) in printed.typed(err, "writing._failed: df -h ...; df -i ...")
            failed(1, "revoke", WHO, "631", "22", words=["No space"])
        else:
            for make, repair in (
                ("remount,ro", "remount,rw"),
                ("remount,bind,ro", "remount,bind,rw"),
            ):
                subprocess.run(["mount", "-o", make, CONFIG], check=True)
                command = f"mount -o {repair} {CONFIG}"
                err = failed(1, "grant", WHO, "443", words=["Read-only", command])
                failed(1, "grant", "everyone", "443", "--yes", words=["Read-only"])
                done("grant", WHO, "22")
                printed.typed(err, "writing._failed: sudo {remount}")
                done("grant", WHO, "443")
                done("revoke", WHO, "443")
    finally:
        subprocess.run(["umount", CONFIG], check=True)


def test_no_folder():
    """Without /etc/pybind the error says how to make the folder."""
    support.shutil.rmtree(CONFIG)
    process = pybindctl("grant", WHO, "80")
    assert process.returncode == 1
    printed.typed(process.stderr, "folders.broken: sudo pybindctl setup")
    done("grant", WHO, "80")


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


def test_half_of_the_wildcard():
    """A note says that [::]:80 alone is of no use, with the command that helps."""
    process = pybindctl("grant", WHO, "[::]:80/tcp", "--yes")
    assert process.returncode == 1
    printed.typed_saying_yes(process.stderr, "granting.say_refused: sudo pybindctl grant ... ...")
    assert allowed(80, "::")


def test_port_before_the_user():
    """A WHO and a port that changed places: the command that was meant; nothing is done before."""
    for name in ("grant", "revoke"):
        said = ctl.failed(2, name, "80", "nobody", words=["the user comes before the port"])
        printed.typed(said, "granting.parse_specs: sudo pybindctl ... ... ...")
        assert ctl.served("80") == (name == "grant")
    # A service that is no account, and an account that is a service: what was typed counts.
    assert "sudo" not in ctl.failed(2, "grant", "80", "nosuchname")


def test_grant_that_needs_a_confirmation():
    """The whole command is printed, with --yes."""
    said = ctl.failed(2, "grant", WHO, "600", "127.0.0.1:80", "[::1]:80-90/udp")
    printed.typed(said, "grant._confirm: sudo pybindctl grant --yes ... ...")
    lines = ["127.0.0.1,80", "::1,80-90/udp"]
    assert (ctl.lines(f"byuser/!{UID}"), ctl.lines(f"byuser/{UID}")) == (["any,600"], lines)


def test_link_in_the_place_of_a_flag_file():
    """A flag file that is none stops the grant; put aside, it does no more."""
    (CONFIG / "byport/80").symlink_to("/bin/true")
    err = ctl.failed(1, "grant", "everyone", "80", "--yes")
    printed.typed(err, "state.State._access_of: {put_aside}")
    ctl.done("grant", "everyone", "80", "--yes")
    assert ctl.served("80")


def test_broken_line_in_the_way():
    """A rule file with a broken line is not added to; mended, it is."""
    rules(f"byuser/{UID}", "any,22", "any,8o")
    err = ctl.failed(3, "grant", WHO, "80")
    printed.typed(err, "reading.check_rules: {rule_line}")
    ctl.done("grant", WHO, "80")
    assert ctl.served("22", "80")


@pytest.mark.parametrize(
    ("spec", "line"), [("127.0.0.0/8:80", "127.0.0.0/8,80"), ("1024-9999", "any,1024-9999")]
)
def test_too_much_for_everyone(spec, line):
    """What no flag file can say is granted to a group instead."""
    err = ctl.failed(1, "grant", "everyone", spec, "--yes")
    name = "editing._grant_everyone: sudo pybindctl grant @GROUP ..."
    command = printed.said(err, name).replace("GROUP", str(support.GID))
    printed.type_as_root(command.replace("grant", "grant --yes"))
    assert ctl.lines(f"bygroup/{support.GID}") == [line]


def test_kernel_gives_ports_away():
    """The other way for many ports is the kernel's, for all above N."""
    err = ctl.failed(1, "grant", "everyone", "300-999", "--yes")
    name = "editing._grant_everyone: sudo sysctl net.ipv4.ip_unprivileged_port_start=N"
    try:
        printed.type_as_root(printed.said(err, name).replace("=N", "=300"))
        code = "import socket; socket.socket().bind(('', 300)); print('bound')"
        assert support.run(["/usr/bin/python3", "-c", code]).stdout == "bound\n"
    finally:
        pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("1024")
