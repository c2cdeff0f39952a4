# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers of every kind, in namespaces and sandboxes: cases 75, 76, 83 and 84."""

import errno
import functools
import os
import subprocess

import pytest
import running
import support
from reference import Caller
from running import (
    OTHER,
    USER,
    become,
    bind_by_uring,
    enter_network_namespace,
    enter_user_namespace,
    run_in,
    worker,
)
from support import CONFIG, flag, rules


def _grant(*lines, uid=support.UID):
    rules(f"byuser/{uid}", *(lines or ("any,80",)))


def _set_effective(uid, gid):
    """Give this process effective ids that differ from its real ids."""
    os.setgroups([])
    os.setresgid(support.GID, gid, gid)
    os.setresuid(support.UID, uid, uid)


@pytest.mark.parametrize(
    "ids", [(support.OTHER_UID, support.GID), (support.UID, support.OTHER_UID)], ids=str
)
def test_case_75_two_identities(daemon, ids):
    """If real and effective ids differ, neither id grants, and the log says why."""
    for uid in (support.UID, support.OTHER_UID):
        _grant(uid=uid)
    daemon.sync()
    with worker(daemon.cgroup, None, prepare=functools.partial(_set_effective, *ids)) as half:
        assert not half.may()
    support.wait_for(lambda: "real and effective ids differ" in daemon.log, "the reason")


def test_case_75_most_groups(daemon):
    """Of 65,536 groups the last one counts, and another group does not."""
    groups = tuple(range(100000, 165536))
    rules("bygroup/165535", "any,80")
    rules("bygroup/165536", "any,81")
    path = flag("byport/82", mode=0o700)
    subprocess.run(["setfacl", "-m", "g:132768:x", path], check=True)
    path = flag("byport/83", gid=0, mode=0o745)
    subprocess.run(["setfacl", "-m", "g:100000:-", path], check=True)
    daemon.sync()
    with worker(daemon.cgroup, Caller(support.UID, 7, groups)) as many:
        assert [many.may("127.0.0.1", port) for port in (80, 81, 82, 83)] == [
            True,
            False,
            True,
            False,
        ]


def test_case_75_groups_of_that_moment(daemon):
    """Each bind is judged by the groups of its moment, also after setgroups(2)."""
    rules("bygroup/2000", "any,80")
    daemon.sync()
    with worker(daemon.cgroup, None, prepare=_drop_all_but_ids) as changing:
        assert not changing.may()
        changing.call(os.setgroups, [7, 2000])
        assert changing.may()
        changing.call(os.setgroups, [7])
        assert not changing.may()


def _drop_all_but_ids():
    """Become USER, but able to change ids and groups."""
    import prctl

    prctl.securebits.keep_caps = True
    os.setgroups([])
    os.setresgid(*[support.GID] * 3)
    os.setresuid(*[support.UID] * 3)
    prctl.cap_permitted.limit(prctl.CAP_SETGID, prctl.CAP_SETUID)
    prctl.cap_effective.setgid = prctl.cap_effective.setuid = True


def test_case_75_with_the_capability(daemon):
    """A process with CAP_NET_BIND_SERVICE binds as without pybindd, and nothing is logged."""
    flag("byport/80", mode=0)
    daemon.sync()
    with worker(daemon.cgroup, None) as root:
        assert root.may()
        assert root.may("127.0.0.1", 81)
    daemon.sync()
    assert "uid=0" not in daemon.log


def _user_namespace(maps, caller=None):
    enter_user_namespace(maps)
    if caller:
        become(caller)


def test_case_76_own_user_namespace(daemon):
    """Users in their own user namespace keep their grants by owner, list, group and rule file."""
    _grant("any,80")
    rules(f"bygroup/{support.GID}", "any,81")
    flag("byport/82", uid=support.UID, gid=0, mode=0o500)
    flag("byport/83")
    path = flag("byport/84", gid=0, mode=0o700)
    subprocess.run(["setfacl", "-m", f"u:{support.UID}:x", path], check=True)
    flag("byport/85", mode=0o755)  # by its group
    flag("byport/86", mode=0o755, gid=0)  # by its others
    daemon.sync()
    ports = (79, 80, 81, 82, 83, 84, 85, 86)
    script = f"""
import socket
for port in {ports}:
    try:
        socket.socket().bind(("127.0.0.1", port)); print(port)
    except PermissionError:
        pass
"""
    inside = ["/usr/bin/python3", "-c", script]
    assert run_in(daemon.cgroup, inside).split() == ["80", "81", "82", "83", "84", "85", "86"]
    unshare = ["unshare", "--user", "--map-root-user"]
    expected = ["80", "81", "82", "83", "84", "85"]  # root there, and nobody here
    assert run_in(daemon.cgroup, [*unshare, *inside]).split() == expected
    nested = [*unshare, *unshare, *inside]
    assert run_in(daemon.cgroup, nested).split() == expected


def test_case_76_refusals_are_not_undone(daemon):
    """A group or user that a file refuses stays refused after setgroups(2) and as a subordinate id."""
    groups = Caller(support.UID, support.GID, (2000, 2001))
    path = flag("byport/80", gid=0, mode=0o755)
    subprocess.run(["setfacl", "-m", "g:2000:-", path], check=True)
    path = flag("byport/81", gid=0, mode=0o755)
    subprocess.run(["setfacl", "-m", f"u:{support.UID}:-", path], check=True)
    _grant("any,82")
    path = CONFIG / f"byuser/{support.UID}"
    subprocess.run(["setfacl", "-m", "g:2000:-", path], check=True)
    # The file refuses the user but admits a group of theirs: by an entry, by the file's group,
    # by the group's rule file.
    path = flag("byport/83", gid=0, mode=0o700)
    subprocess.run(["setfacl", "-m", f"u:{support.UID}:-,g:2001:x", path], check=True)
    path = flag("byport/84", gid=2001, mode=0o710)
    subprocess.run(["setfacl", "-m", f"u:{support.UID}:-", path], check=True)
    path = rules("bygroup/2001", "any,85", gid=2001, mode=0o640)
    subprocess.run(["setfacl", "-m", f"u:{support.UID}:-", path], check=True)
    daemon.sync()
    ports = range(80, 86)
    with worker(daemon.cgroup, groups) as outside:
        assert [outside.bind("127.0.0.1", p) for p in ports] == [errno.EACCES] * 6
    whole = "0 0 4294967295"
    member = (2001,)
    for ids in (Caller(support.UID, support.GID, member), Caller(100000, 100000, member)):
        prepare = functools.partial(_user_namespace, whole, ids)
        with worker(daemon.cgroup, None, prepare) as inside:
            assert [inside.bind("127.0.0.1", p) for p in ports] == [errno.EACCES] * 6, ids


def test_case_76_root_there(daemon):
    """Root of a user namespace, who is nobody outside, gets no grant of root's."""
    flag("byport/80", gid=0, mode=0o700)
    rules("byuser/0", "any,81")
    daemon.sync()
    script = running.binding("127.0.0.1", 80)
    inside = ["unshare", "--user", "--map-root-user"]
    assert run_in(daemon.cgroup, [*inside, *script]).strip() == str(errno.EACCES)
    script = running.binding("127.0.0.1", 81)
    assert run_in(daemon.cgroup, [*inside, *script]).strip() == str(errno.EACCES)


def test_case_76_other_network_namespace(daemon):
    """A socket of another network namespace is not granted, whoever made the namespace."""
    flag("byport/80", mode=0o755)
    daemon.sync()
    with worker(daemon.cgroup, USER, prepare=enter_network_namespace) as made:
        assert made.bind("0.0.0.0", 80) == errno.EACCES
    own = ["unshare", "--user", "--net", *running.binding("0.0.0.0", 80)]
    assert run_in(daemon.cgroup, own).strip() == str(errno.EACCES)


INNER = r"""
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
int main(void)
{
    for (int port = 80; port < 82; port++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
        int fd = socket(43 /* AF_SMC */, SOCK_STREAM, 0);
        printf("%d\n", fd < 0 || bind(fd, (void *)&a, sizeof a) ? errno : 0);
    }
}
"""


def test_case_83_inner_socket(daemon):
    """SMC binds an inner TCP socket, which is judged as a TCP socket of the user."""
    _grant()
    daemon.sync()
    said = [int(word) for word in run_in(daemon.cgroup, [support.compile_c(INNER)]).split()]
    if said[0] == errno.EAFNOSUPPORT:
        pytest.skip("this kernel has no sockets of this kind: smc")
    assert said == [0, errno.EACCES]


def test_case_83_io_uring(daemon):
    """A bind through io_uring is judged like any other."""
    _grant()
    daemon.sync()
    assert bind_by_uring(daemon, "plain", "80") == 0
    assert bind_by_uring(daemon, "plain", "81") == errno.EACCES


@pytest.mark.parametrize("how", ["personality", "sqpoll"])
def test_case_83_io_uring_of_root(daemon, how):
    """A ring that root made binds with root's credentials, as without pybindd."""
    _grant("any,81")
    daemon.sync()
    root = Caller(0, 0)
    assert bind_by_uring(daemon, how, "80", support.UID, caller=root) == 0
    assert bind_by_uring(daemon, "plain", "80", support.UID, caller=root) == errno.EACCES
    assert bind_by_uring(daemon, "plain", "81", support.UID, caller=root) == 0


def test_case_83_sandboxes(daemon):
    """no_new_privs, a tracer and a chroot do not hinder a grant, as the manual says."""
    _grant()
    daemon.sync()
    bind, refused = running.binding(), running.binding("127.0.0.1", 81)
    for sandbox in (["setpriv", "--no-new-privs"], ["strace", "-f", "-o", "/dev/null"]):
        assert run_in(daemon.cgroup, [*sandbox, *bind]).strip() == "0", sandbox
        assert run_in(daemon.cgroup, [*sandbox, *refused]).strip() == str(errno.EACCES), sandbox
    with worker(daemon.cgroup, USER, prepare=_chroot) as inside:
        assert inside.may()
        assert not inside.may("127.0.0.1", 81)


def _chroot():
    os.chroot(support.scratch_dir())


def test_case_83_without_the_helper(daemon, user):
    """The kernel grants without an installed helper."""
    _grant()
    daemon.sync()
    os.rename(support.HELPER, support.HELPER + ".away")
    try:
        assert user.may()
    finally:
        os.rename(support.HELPER + ".away", support.HELPER)


def test_case_83_own_mounts(daemon):
    """Another /etc/pybind in a mount namespace of the user's changes nothing."""
    _grant()
    daemon.sync()
    script = (
        "mount -t tmpfs none /etc && mkdir -p /etc/pybind/byport && touch /etc/pybind/byport/81"
    )
    for port, expected in (("80", "0"), ("81", str(errno.EACCES))):
        words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
        said = run_in(
            daemon.cgroup, [*words, f'{script}; exec "$@"', "sh", *running.binding(port=port)]
        )
        assert said.strip() == expected


def test_case_84_swapped_under_binds(daemon, user):
    """No bind is refused while tables that all grant replace each other quickly."""
    _grant()
    daemon.sync()
    first = daemon.sync()["table"]
    with worker(daemon.cgroup, OTHER) as other:
        for number in range(60):
            flag(f"byport/{100 + number % 2}", mode=number % 8)
            before = daemon.sync()["table"]
            assert {user.bind() for _ in range(300)} == {0}
            assert {other.bind() for _ in range(100)} == {errno.EACCES}
    assert before - first > 50
