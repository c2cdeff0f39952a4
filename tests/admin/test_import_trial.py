# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of /etc/pybind in which an import tries its plan."""

import os
import pathlib
import stat
import subprocess

import ctl
import pytest
import support
from support import CONFIG, HELPER, OTHER_UID, UID, flag, rules

from pybind.admin.asking import ask
from pybind.admin.importers import rehearsal
from pybind.model import Address
from pybind.permissions.access import from_mode
from pybind.permissions.changing.writing import Change
from pybind.permissions.who import identity_of


def described(root):
    """Return name -> the attributes that decide, of everything in the permission folders."""
    found = {}
    for path in sorted(pathlib.Path(f"{root}{CONFIG}").rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        name = str(path.relative_to(f"{root}{CONFIG}"))
        found[name] = (status.st_uid, status.st_gid, status.st_mode, ctl.acl(path), content)
    return found


def test_copy_is_like_the_folders():
    """Every file of the copy has the owner, mode, list, lines and kind of the original."""
    flag("byport/80", uid=UID, mode=0o570)
    subprocess.run(["setfacl", "-m", f"u:{OTHER_UID}:x", flag("byport/81")], check=True)
    rules(f"byuser/{UID}", "any,82", mode=0o640, gid=2000)
    (CONFIG / "byport/83").mkdir(mode=0o700)
    os.mkfifo(CONFIG / "byaddr/::1,84")
    (CONFIG / "byaddr").chmod(0o750)
    with rehearsal.copy([]) as root:
        assert described(root) == described("")
        assert os.stat(root).st_mode & 0o7777 == 0o755
        assert os.stat(root).st_uid == 0
    assert not os.path.exists(root)


def test_the_copied_helper_cannot_be_traced():
    """No capability protects it from its user. A file that the user cannot read does (ptrace(2))."""
    with rehearsal.copy([]) as root:
        read = support.run(["cat", root + HELPER])
        assert (read.returncode, read.stdout) == (1, "")
        executed = support.run([root + HELPER])
        assert "Permission denied" not in executed.stderr


def test_links_stay_links():
    """A link stays a link in the copy, wherever it leads, so the helper refuses it there too."""
    flag("target")
    (CONFIG / "byport/80").symlink_to(CONFIG / "target")
    with rehearsal.copy([]) as root:
        assert os.path.islink(f"{root}{CONFIG}/byport/80")


def test_plan_is_carried_out_in_the_copy_alone():
    """The copy has the planned files; /etc/pybind does not."""
    rules(f"byuser/{UID}", "any,82", mode=0o640, gid=2000)
    flag("byport/81")
    before = ctl.snapshot()
    changes = [
        Change("byport/80", None, from_mode(0o755)),
        Change("byport/81", from_mode(0o750), None),
        Change(f"byuser/{UID}", b"any,82\n", b"any,83\n"),
    ]
    with rehearsal.copy(changes) as root:
        found = described(root)
        assert ctl.snapshot() == before
    assert found["byport/80"][2] == stat.S_IFREG | 0o755
    assert "byport/81" not in found
    assert found[f"byuser/{UID}"] == (0, 2000, stat.S_IFREG | 0o640, b"", b"any,83\n")


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_helper_of_the_copy(umask):
    """The copied helper reads the copy and has no capability; the original is unchanged."""
    rules(f"byuser/{OTHER_UID}", "any,80")
    address = Address(2, b"\x7f\0\0\1", 0, 80, False)
    before = os.umask(umask)
    try:
        with rehearsal.copy([Change("byport/80", None, from_mode(0o755))]) as root:
            reply = ask.ask(identity_of(UID), [address], root=root)[0]
            with pytest.raises(OSError, match="No data"):
                os.getxattr(root + HELPER, "security.capability")
    finally:
        os.umask(before)
    assert reply.name == "byport/80"
    assert not reply.capable
    assert os.getxattr(HELPER, "security.capability")
    assert ask.ask(identity_of(UID), [address])[0].name == ""


def test_gone_after_an_error():
    """The copy is removed after an error too."""
    with pytest.raises(RuntimeError), rehearsal.copy([]) as root:
        raise RuntimeError
    assert not os.path.exists(root)


def test_without_a_place():
    """Without a folder whose file system allows execution, the plan is shown but not tried."""
    (CONFIG / "byuser").rmdir()
    script = (
        "for place in /run /tmp /var/tmp; do mount -t tmpfs -o noexec tmpfs $place; done; "
        f"{ctl.PYBINDCTL} import portacl uid:{UID}:tcp:25"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert f"would be made /etc/pybind/byuser/{UID}" in done.stdout
    assert "not tried: the plan cannot be tried: /run, /tmp, /var/tmp are all" in done.stderr
