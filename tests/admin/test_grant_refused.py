# SPDX-License-Identifier: GPL-3.0-or-later
"""grant and revoke refuse: a clear error, and nothing is changed."""

import contextlib
import subprocess

import ctl
import printed
import pytest
import support
from ctl import done, failed, pybindctl, snapshot
from support import CONFIG, UID, flag, rules

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
