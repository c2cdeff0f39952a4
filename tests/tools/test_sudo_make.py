# SPDX-License-Identifier: GPL-3.0-or-later
"""What `sudo make` leaves on a system: whose files it makes, and what tools/need installs.

tools/need installs packages for `make demo` and others. In its tests apt-get and dpkg-query
are stand-ins that record their arguments and do what the test says. /usr/sbin is a copy,
because tools/need writes its policy against services there.
"""

import os
import pathlib
import pwd
import shutil
import subprocess
import time

import pytest
import support
from support import REPOSITORY, UID


def test_home_of_the_owner():
    """root makes a user's clone as that user: git and pip read below HOME, which sudo leaves root's."""
    clone = support.scratch_dir()
    shutil.copy(REPOSITORY / "Makefile", clone)
    os.chown(clone, UID, UID)
    shown = subprocess.run(
        ["make", "-s", "-C", clone, "--eval", 'shown: ; @$(AS_OWNER) sh -c \'echo "$$(id -u) $$HOME"\'',
         "shown"],
        env={**os.environ, "HOME": "/root"}, capture_output=True, text=True,
        timeout=support.PATIENCE_S, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == [str(UID), pwd.getpwuid(UID).pw_dir]


NEED = REPOSITORY / "tools/need"
IN_A_COPY = """
mkdir -p {folder}/up {folder}/work
mount -t overlay -o lowerdir=/usr/sbin,upperdir={folder}/up,workdir={folder}/work overlay /usr/sbin
rm -f /usr/sbin/policy-rc.d
mount -t tmpfs tmpfs /run
PATH={folder}/bin:/usr/sbin:/usr/bin:/sbin:/bin {environ} {need} demo
status=$?
echo "policy: $(ls /usr/sbin/policy-rc.d 2>/dev/null)"
exit $status
"""
APT = """#!/bin/sh
echo "$*" >>{folder}/calls
case "$*" in
*update*) exit 0 ;;
*assume-no*)
    echo "0 upgraded, 7 newly installed, 0 to remove and 0 not upgraded."
    echo "Need to get 1,024 kB/20.4 MB of archives."
    echo "After this operation, 95.5 MB of additional disk space will be used."
    echo "Abort."
    exit 1 ;;
esac
{installs}
"""
# Of the needed packages only gcc is missing. caddy is new; old-server was there before.
DPKG_QUERY = """#!/bin/sh
case "$*" in
*-W*' gcc') exit 1 ;;
*-W*Package*) echo "old-server install ok installed" ;;
*-W*) echo "install ok installed" ;;
*-S*caddy*) echo "caddy: /usr/lib/systemd/system/caddy.service" ;;
*-S*old*) echo "old-server: /usr/lib/systemd/system/old.service" ;;
*) exit 1 ;;
esac
"""
WANTED = pathlib.Path("/etc/systemd/system/multi-user.target.wants")
LINKS = "; ".join(
    f"ln -sf /usr/lib/systemd/system/{name}.service {WANTED}/{name}.service"
    for name in ("caddy", "old")
)
LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (apt)"


@pytest.fixture
def need():
    """Return a function that runs tools/need where an installation does `installs`."""
    folder = support.scratch_dir()
    (folder / "bin").mkdir()
    WANTED.mkdir(parents=True, exist_ok=True)

    def run(installs, environ=""):
        for name, text in (("apt-get", APT), ("dpkg-query", DPKG_QUERY)):
            path = folder / "bin" / name
            path.write_text(text.replace("{folder}", str(folder)).replace("{installs}", installs))
            path.chmod(0o755)
        script = IN_A_COPY.format(folder=folder, need=NEED, environ=environ)
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=support.PATIENCE_S,
        )  # fmt: skip
        assert "policy: \n" in done.stdout  # the policy is always removed again
        return done, (folder / "calls").read_text().splitlines()

    yield run
    for name in ("caddy", "old"):
        (WANTED / f"{name}.service").unlink(missing_ok=True)


def test_says_what_it_installs(need):
    """tools/need says names, number, sizes and time before it installs anything."""
    done, calls = need(
        "cat /usr/sbin/policy-rc.d >&2; echo ready >&2; test -x /usr/sbin/policy-rc.d"
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "need: make demo needs, and this system lacks: gcc"
    assert said[1].startswith("need: apt installs 7 packages: 20 MB to download, 96 MB on the disk")
    assert calls[-1] == "-y --no-install-recommends install gcc"


def test_no_service_is_left_enabled(need):
    """No service of a new package is enabled; one of an earlier package stays enabled."""
    done, _ = need(LINKS)
    assert done.returncode == 0, done.stderr
    assert "need: left disabled, as before: caddy.service\n" in done.stdout
    assert not (WANTED / "caddy.service").is_symlink()
    assert (WANTED / "old.service").is_symlink()


def test_a_failure_leaves_no_service_enabled_either(need):
    """After a failure no service is left enabled either, and the words of apt are shown."""
    done, _ = need(f"{LINKS}; echo 'E: no space left'; exit 100")
    assert done.returncode == 1
    assert "E: no space left" in done.stderr
    assert "need: apt-get -y --no-install-recommends install gcc failed" in done.stderr
    assert not (WANTED / "caddy.service").is_symlink()


def test_waits_for_a_lock(need):
    """tools/need mentions another process's lock once, and tries again until it is free."""
    busy = f'[ "$(wc -l <{{folder}}/calls)" -ge 5 ] || {{ echo "{LOCKED}"; exit 100; }}'
    done, calls = need(busy.replace("{folder}", "$(dirname $0)/.."))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("waits, 300 s at most") == 1
    assert [call.split()[-1] for call in calls] == ["update", *["gcc"] * 4]


def test_gives_up_on_a_lock(need):
    """After its bound tools/need gives up, with the words that name the lock's holder."""
    began = time.monotonic()
    done, _ = need(f'echo "{LOCKED}"; exit 100', environ="PATIENCE=2")
    assert done.returncode == 1
    assert LOCKED in done.stderr
    assert time.monotonic() - began >= 2
