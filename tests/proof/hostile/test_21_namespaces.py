# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces: callers who show the helper other files, or a socket of another namespace."""

import contextlib
import ctypes
import errno
import os
import pathlib
import socket
import struct
import subprocess

import hostile
import pytest
import support
from hostile import ADDR, LIBC, as_uid, ask, bind_request, check_c, granted, prctl, syscall
from support import CONFIG, HELPER

from pybind import _wire as w

NEWNS, NEWUSER, NEWNET = 0x20000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
AT_EMPTY_PATH = 0x1000
SYS_EXECVEAT = {"x86_64": 322, "aarch64": 281, "riscv64": 281}
CAP_SYS_CHROOT, PR_SET_KEEPCAPS = 18, 8


def unshare(flags, inner=0):
    """Call unshare(2). In a new user namespace the caller becomes uid `inner`."""
    outer_uid, outer_gid = os.getuid(), os.getgid()
    if LIBC.unshare(flags) == -1:
        pytest.skip(f"this system allows a user no namespaces: {os.strerror(ctypes.get_errno())}")
    if flags & NEWUSER:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"{inner} {outer_uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"{inner} {outer_gid} 1")


def mount(source, target, kind=None, flags=0, data=None):
    """Call mount(2)."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    data = None if data is None else data.encode()
    check_c(LIBC.mount(*words, ctypes.c_ulong(flags), data))


def make_config(root, ids):
    """Make ROOT/etc/pybind as the caller, with grants of everything to these ids."""
    folder = pathlib.Path(root) / "etc/pybind"
    for name in ("byport", "byaddr", "byuser", "bygroup"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for port in (22, 80):
        (folder / f"byport/{port}").touch()
        (folder / f"byport/{port}").chmod(0o755)
    for number in ids:
        (folder / f"byuser/{number}").write_text("any,1-65535\n")
    return folder


def with_own_config(uid, inner, whole):
    """Run by a uid: bind 22 and 80 of the host, with the uid's own /etc/pybind.

    inner: the uid inside of the namespace. whole: the whole root is the uid's own, not only
    /etc/pybind.
    """
    with socket.socket() as ssh, socket.socket() as web:
        unshare(NEWUSER | NEWNS, inner)
        mount(None, "/", flags=MS_REC | MS_PRIVATE)
        root = pathlib.Path("/mnt")
        mount("none", root, "tmpfs", data="mode=0755")
        mine = make_config(root, (uid, inner))
        helper = HELPER
        if whole:
            (root / "helper").touch()
            mount(HELPER, root / "helper", flags=MS_BIND)
            os.chroot(root)
            helper = "/helper"
        else:
            mount(mine, CONFIG, flags=MS_BIND)
        assert os.access(CONFIG / "byport/22", os.X_OK)  # control: the helper would see this file
        with socket.socket() as check:
            told = ask(check, {"op": w.OP_CHECK, "port": 22}, path=helper).reason
        return [ask(sock, bind_request(port), path=helper)
                for sock, port in ((ssh, 22), (web, 80))], told  # fmt: skip


@pytest.mark.parametrize("whole", [False, True], ids=["config", "root"])
def test_case_21_root_of_a_user_namespace(uid, grant, whole):
    """Root of an own user namespace, with own files that grant all, binds no host port."""
    outcomes, told = as_uid(uid, with_own_config, uid, 0, whole)
    assert all(outcome.denied and outcome.error == errno.EACCES for outcome in outcomes)
    if whole:  # control: the helper believed the files, and only the kernel refused
        assert told == w.REASON_GRANTED
        assert {outcome.reason for outcome in outcomes} == {w.REASON_KERNEL}


@pytest.mark.parametrize("whole", [False, True], ids=["config", "root"])
def test_case_22_own_uid_in_a_user_namespace(uid, grant, whole):
    """The same holds for a user who is mapped to their own uid instead of root."""
    outcomes, _ = as_uid(uid, with_own_config, uid, uid, whole)
    assert all(outcome.denied and outcome.error == errno.EACCES for outcome in outcomes)


@contextlib.contextmanager
def sockets_of_another_namespace(flags, count=2):
    """Yield sockets that another process made after unshare(flags) and passed on."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            unshare(flags)
            made = [socket.socket() for _ in range(count)]
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            socket.send_fds(theirs, [b"x"], [sock.fileno() for sock in made])
            theirs.recv(1)
        except pytest.skip.Exception as skip:
            theirs.send(f"s{skip}".encode())
        finally:
            os._exit(0)
    theirs.close()
    word, fds, _, _ = socket.recv_fds(ours, 4096, count)
    try:
        if word[:1] == b"s":
            pytest.skip(word[1:].decode())
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(socket.socket(fileno=fd)) for fd in fds]
    finally:
        ours.close()
        os.waitpid(pid, 0)


def sin(port, addr=ADDR):
    """Return a struct sockaddr_in as bytes."""
    return (
        struct.pack("=H", socket.AF_INET)
        + struct.pack("!H", port)
        + socket.inet_aton(addr)
        + bytes(8)
    )


def bind_foreign(flags, naive):
    """Run by a uid: (helper's outcome, naive errno) for two sockets of the uid's namespace."""
    with sockets_of_another_namespace(flags) as (first, second):
        return ask(first), hostile.naive_bind(naive, second, sin(80))


OTHER_NAMESPACE = hostile.refused(w.REASON_NETNS)


def test_case_23_socket_of_an_own_network_namespace(uid, grant, naive):
    """The helper refuses a socket of the uid's own network namespace."""
    outcome, naive_error = as_uid(uid, bind_foreign, NEWUSER | NEWNET, naive)
    assert outcome == OTHER_NAMESPACE
    assert naive_error == 0  # control: the naive target binds the socket


def test_case_24_socket_of_a_containers_namespace(uid, grant, naive):
    """The helper refuses a socket of a namespace that root made, as for a container."""
    with sockets_of_another_namespace(NEWNET) as (first, second):
        assert as_uid(uid, ask, first) == OTHER_NAMESPACE
        # Control: the naive target binds the container's port 80.
        assert as_uid(uid, hostile.naive_bind, naive, second, sin(80)) == 0
        assert second.getsockname() == (ADDR, 80)


def keep_chroot_only(uid):
    """Become uid with CAP_SYS_CHROOT and nothing else."""
    gid = support.GID if uid == support.UID else uid
    prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    header = struct.pack("=Ii", 0x20080522, 0)
    bit = 1 << CAP_SYS_CHROOT
    check_c(LIBC.capset(header, struct.pack("=6I", bit, bit, 0, 0, 0, 0)))
    prctl(hostile.PR_SET_DUMPABLE, 1)


def exec_descriptor(fd):
    """Return a function that executes the file of fd, without a path."""

    def run():
        number = SYS_EXECVEAT[os.uname().machine]
        words = (ctypes.c_char_p * 2)(b"pybind-helper", None)
        nothing = ctypes.create_string_buffer(b"")
        syscall(number, fd, ctypes.addressof(nothing),
                ctypes.addressof(words), ctypes.addressof(words) + 8, AT_EMPTY_PATH)  # fmt: skip

    return run


def chroot_and_ask(folder):
    """Run by a uid with CAP_SYS_CHROOT: ask the helper inside of the uid's own root."""
    fd = os.open(HELPER, os.O_PATH)
    os.chroot(folder)
    os.chdir("/")
    assert os.access("/etc/pybind/byport/22", os.X_OK)  # control: a mere look would believe it
    return [ask(request=bind_request(port), run=exec_descriptor(fd)) for port in (22, 80)]


@pytest.mark.parametrize("owner", ["uid", "root above"])
def test_case_25_chroot_to_an_own_root(uid, grant, owner):
    """The helper refuses in a caller's own root, because that / does not belong to root."""
    folder = support.scratch_dir()
    folder.chmod(0o755)
    config = make_config(folder, (uid,))
    for path in (config, *config.rglob("*"), *([] if owner == "root above" else [folder])):
        os.chown(path, uid, 0)
    os.chown(folder / "etc", uid, 0)
    # Control: the same descriptor, executed without chroot(2), is served.
    fd = os.open(HELPER, os.O_PATH)
    assert as_uid(uid, lambda: ask(run=exec_descriptor(fd))) == granted()
    os.close(fd)
    drop = lambda: keep_chroot_only(uid)  # noqa: E731
    outcomes = as_uid(uid, chroot_and_ask, folder, drop=drop)
    assert outcomes == [hostile.refused(w.REASON_CONFIG_UNSAFE)] * 2
