# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out why the helper did not gain its capability, or did not start.

The order follows capabilities(7), "Transformation of capabilities during execve()".
Causes that concern every program of this process come first, those of the helper's
file last.
"""

from __future__ import annotations

import fcntl
from errno import EACCES, EAFNOSUPPORT, EAGAIN, ENOENT, ENOMEM, EPERM

from ._lean import TYPE_CHECKING, posix
from .paths import HELPER, REINSTALL

if TYPE_CHECKING:
    from .mountinfo import Mount

CAP_NET_BIND_SERVICE = 10
FIRST_UNPRIVILEGED = "/proc/sys/net/ipv4/ip_unprivileged_port_start"  # ip(7)
# What the helper's AF_UNIX socket can fail with, if it is denied.
NO_UNIX_SOCKETS = (EAFNOSUPPORT, EACCES, EPERM)
_GAVE_UP = 1  # the helper's exit status if it cannot do what makes it harmless
_NS_GET_USERNS = 0xB701  # linux/nsfs.h


def lost_capability() -> tuple[str, ...]:
    """Return lines: why the helper lacks CAP_NET_BIND_SERVICE, and the repair."""
    status = own_status()
    if status.get("NoNewPrivs") == "1":
        return (
            "no_new_privs is set for this process, so no program it starts can gain a capability "
            "(systemd: NoNewPrivileges=; before systemd 254, and in a user's unit, most sandboxing "
            "options; docker: no-new-privileges)",
            "start pybind outside, around what sets it: pybind --mode supervise ... -- COMMAND",
            "or, for a program that takes open sockets: pybind --listen ... -- COMMAND",
            "or, in a unit: AmbientCapabilities=CAP_NET_BIND_SERVICE",
        )
    if status.get("TracerPid", "0") != "0":
        return (
            f"process {status['TracerPid']} traces this one (strace, gdb), and the kernel gives "
            "no capability to a traced program",
            "to trace a served program: pybind --mode supervise ... -- strace -f PROGRAM",
            "or from outside: sudo strace -u USER -f pybind ...",
        )
    if not int(status.get("CapBnd", "0"), 16) >> CAP_NET_BIND_SERVICE & 1:
        return (
            "the capability bounding set of this process lacks CAP_NET_BIND_SERVICE",
            "docker: --cap-add NET_BIND_SERVICE; systemd: add it to CapabilityBoundingSet=",
        )
    if foreign_network():
        return user_namespace()
    return _about_the_file()


def _about_the_file() -> tuple[str, ...]:
    suspect = replaceable(HELPER)
    if suspect:  # first: the other repairs would give a replaced file the capability
        return (
            f"{suspect}: another user could have replaced the helper, and it must gain nothing",
            "to install it anew: sudo " + REINSTALL,
        )
    if mount_flags(HELPER) & posix.ST_NOSUID:
        return (
            f"{HELPER} is on a file system mounted nosuid ({mount_point(HELPER)})",
            "repair: sudo " + remount(HELPER, "suid"),
        )
    try:
        posix.getxattr(HELPER, "security.capability")
    except OSError:
        return (
            f"{HELPER} has lost its file capability (cp, chown, strip and tar take it off)",
            "repair: sudo pybindctl setup",
        )
    if "no_file_caps" in _read("/proc/cmdline").split():
        return (
            "the kernel was started with no_file_caps: no file gives a capability",
            "take no_file_caps off the kernel's command line, and start it again",
        )
    return (
        "the helper did not gain CAP_NET_BIND_SERVICE, and none of the known causes is seen here",
        f"to compare: sudo getcap {HELPER}",
    )


def replaceable(path: str) -> str:
    """Return owner and mode of the file or folder that lets others replace `path`; or "".

    Only `path` and its folder are looked at. On older Debian the group staff may write
    /usr/local, and counts as root there; pybindctl doctor warns of that.
    """
    from .trust import others_can_replace  # imports os: only after a refusal

    for part in (path, path.rpartition("/")[0]):
        try:
            status = posix.lstat(part)
        except OSError:
            return ""
        if others_can_replace(status):
            mode = status.st_mode & 0o7777
            return f"{part} has owner {status.st_uid}, group {status.st_gid}, mode {mode:04o}"
    return ""


def cannot_start(error: int) -> tuple[str, ...]:
    """Return lines: why execve(2) of the helper failed with this errno, and the repair."""
    text = f"cannot start {HELPER}: {posix.strerror(error)}"
    if error == ENOENT:
        return text, "repair: sudo " + REINSTALL
    if error in (EAGAIN, ENOMEM):
        return (
            text,
            "the processes of this user are as many as the limit allows, or no memory is left: "
            "ulimit -u",
        )
    if error != EACCES:
        return (text,)
    if mount_flags(HELPER) & posix.ST_NOEXEC:  # type: ignore[attr-defined,unused-ignore] # not in the stub of mypy
        mount = mount_point(HELPER)
        return (
            f"{text}; its file system is mounted noexec ({mount})",
            "repair: sudo " + remount(HELPER, "exec"),
        )
    if not posix.access(HELPER, posix.X_OK):
        return f"{text}; its mode, or that of a folder above it", "repair: sudo pybindctl setup"
    return (
        f"{text}; a sandbox or a security module forbids it (systemd: NoExecPaths=; SELinux, "
        "AppArmor)",
        *_denials(),
    )


def died(status: int | None) -> tuple[str, ...]:
    """Return lines: that the helper ended without an answer, and where to look if it gave up.

    status: that of waitpid(2), if it is known.
    """
    text = f"{HELPER} died before it answered"
    if status is None or posix.waitstatus_to_exitcode(status) != _GAVE_UP:
        return (text,)
    why = "a filter or a security module forbade its first steps"
    return f"{text}: {why}", *_denials()


def _denials() -> tuple[str, ...]:
    return (
        "AppArmor: sudo journalctl -k -g DENIED",
        "SELinux: sudo ausearch -m avc -ts recent",
    )


def own_status() -> dict[str, str]:
    """Return /proc/self/status (proc(5)) as names and values."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        pairs = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in pairs}


def foreign_network() -> bool:
    """Tell whether this process is in a user namespace that does not own its network.

    Then no capability of this process counts for its network. The kernel names the
    owner of a network namespace only to processes in the owner or above it
    (ioctl_ns(2)). A rootless container with its own network is in the owner.
    """
    try:
        network = posix.open("/proc/self/ns/net", posix.O_RDONLY)
    except OSError:
        return False
    try:
        posix.close(fcntl.ioctl(network, _NS_GET_USERNS))
    except OSError as error:
        return error.errno == EPERM
    finally:
        posix.close(network)
    return False


def in_user_namespace() -> bool:
    """Tell whether this process is in another user namespace than the initial one."""
    return _read("/proc/self/uid_map").split() != ["0", "0", "4294967295"]


def user_namespace() -> tuple[str, ...]:
    """Return lines about a user namespace (unshare -U, bwrap, rootless containers)."""
    return (
        "this process is in a user namespace, where no grant of the host counts",
        "start pybind outside, around what makes it: pybind --mode supervise ... -- COMMAND",
        "or, for a program that takes open sockets: pybind --listen ... -- COMMAND",
    )


def no_unix_sockets(error: int) -> tuple[str, ...]:
    """Return lines about a helper that was denied its AF_UNIX socket; error: of NO_UNIX_SOCKETS."""
    if own_status().get("NoNewPrivs") == "1":
        return lost_capability()
    text = f"denies the helper a socket of AF_UNIX ({posix.strerror(error)})"
    if error == EAFNOSUPPORT:
        return f"a filter {text}", "in a unit: RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    return f"a security module or a filter {text}", *_denials()


def binds_alone() -> bool:
    """Tell whether programs started from here can bind privileged ports themselves."""
    able = int(own_status().get("CapEff", "0"), 16) >> CAP_NET_BIND_SERVICE & 1
    return bool(able) and not foreign_network()


def first_unprivileged_port() -> int:
    """Return ip_unprivileged_port_start of this network namespace (ip(7)); else 1024."""
    try:
        with open(FIRST_UNPRIVILEGED, "rb") as file:
            return int(file.read())
    except OSError:
        return 1024


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def mount_flags(path: bytes | str) -> int:
    """Return the ST_ flags of the file system of `path` (statvfs(3)); 0 if they stay unknown.

    SELinux has a permission of its own for this look (filesystem getattr). A domain that
    lacks it may still start the program.
    """
    try:
        return posix.statvfs(path).f_flag
    except OSError:
        return 0


def mount_point(path: str) -> str:
    """Return where the file system of `path` is mounted (proc_pid_mountinfo(5)).

    Raises OSError.
    """
    mount = _mount_of(path)
    return mount.path if mount else "/"


def _mount_of(path: str) -> Mount | None:
    """Return the mount of `path`, the one on top; None if a chroot(2) hides it."""
    from posixpath import realpath  # imports os: only after a refusal

    from .mountinfo import read

    real = realpath(path)
    mounts = [m for m in read() if (real + "/").startswith(m.path.rstrip("/") + "/")]
    return max(reversed(mounts), key=lambda mount: len(mount.path)) if mounts else None


def hidden_by_tmpfs(path: str) -> bool:
    """Tell whether a tmpfs(5) is mounted at just this path. Raises OSError."""
    mount = _mount_of(path)
    return mount is not None and mount.path == path and mount.kind == "tmpfs"


def remount(path: str, option: str) -> str:
    """Return the command (after sudo) that sets suid, exec or rw for the mount of `path`.

    With `bind`, mount(8) changes this mount only. Without `bind`, it also sends the
    options of the file system. Since util-linux 2.39 overlay, as in containers, refuses
    those ("No changes allowed in reconfigure"). A file system that is itself read-only
    needs the command without `bind`; LIBMOUNT_FORCE_MOUNT2 makes mount(8) use mount(2)
    as before, which overlay accepts.
    """
    from shlex import quote  # only after a refusal

    mount = _mount_of(path)
    if mount is None or option != "rw" or "ro" not in mount.super_options:
        return f"mount -o remount,bind,{option} {quote(mount.path if mount else '/')}"
    old = "env LIBMOUNT_FORCE_MOUNT2=always " if mount.kind == "overlay" else ""
    return f"{old}mount -o remount,rw {quote(mount.path)}"
