# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a helper cannot gain its capability: looked for where the kernel decides it.

The order is that of capabilities(7), "Transformation of capabilities during
execve()": what applies to every program of this process comes first.
"""

from __future__ import annotations

from errno import EACCES, EAGAIN, ENOENT, ENOMEM

from ._lean import posix
from .paths import HELPER, REINSTALL

CAP_NET_BIND_SERVICE = 10
_WHOLE_RANGE = ["0", "0", "4294967295"]


def lost_capability() -> tuple[str, ...]:
    """Return lines: what keeps CAP_NET_BIND_SERVICE from the helper, and the repair."""
    status = own_status()
    if status.get("NoNewPrivs") == "1":
        return (
            "no_new_privs is set for this process, so no program it starts can gain a capability "
            "(systemd: NoNewPrivileges= and most sandboxing options; docker: no-new-privileges)",
            "start pybind outside of it, or in a unit use AmbientCapabilities=CAP_NET_BIND_SERVICE",
        )
    if status.get("TracerPid", "0") != "0":
        return (
            f"process {status['TracerPid']} traces this one (strace, gdb), and the kernel gives "
            "no capability to a traced program",
            "to trace a served program: pybind --mode supervise ... -- strace -f PROGRAM",
            "or from outside, as root: strace -u USER -f pybind ...",
        )
    if not int(status.get("CapBnd", "0"), 16) >> CAP_NET_BIND_SERVICE & 1:
        return (
            "the capability bounding set of this process lacks CAP_NET_BIND_SERVICE",
            "docker: --cap-add NET_BIND_SERVICE; systemd: add it to CapabilityBoundingSet=",
        )
    if in_user_namespace():
        return user_namespace()
    return _about_the_file()


def _about_the_file() -> tuple[str, ...]:
    mount = mount_point(HELPER)
    if posix.statvfs(HELPER).f_flag & posix.ST_NOSUID:
        return (
            f"{HELPER} is on a file system mounted nosuid ({mount})",
            "as root: " + remount(HELPER, "suid"),
        )
    try:
        posix.getxattr(HELPER, "security.capability")
    except OSError:
        return (
            f"{HELPER} has lost its file capability (copying, chown and strip take it off)",
            f"as root: setcap cap_net_bind_service=p {HELPER}",
        )
    return (
        "the helper did not gain CAP_NET_BIND_SERVICE, and none of the known causes is seen here",
        f"as root, compare: getcap {HELPER}",
    )


def cannot_start(error: int) -> tuple[str, ...]:
    """Return lines: why execve(2) of the helper failed with an errno, and the repair."""
    text = f"cannot start {HELPER}: {posix.strerror(error)}"
    if error == ENOENT:
        return text, "to install it: sudo " + REINSTALL
    if error in (EAGAIN, ENOMEM):
        return (
            text,
            "the processes of this user are as many as the limit allows, or no memory is left: "
            "ulimit -u",
        )
    if error != EACCES:
        return (text,)
    try:
        noexec = posix.statvfs(HELPER).f_flag & posix.ST_NOEXEC  # type: ignore[attr-defined,unused-ignore] # not in the stub of mypy
    except OSError:
        noexec = 0
    if noexec:
        mount = mount_point(HELPER)
        return (
            f"{text}; its file system is mounted noexec ({mount})",
            f"repair: sudo mount -o remount,bind,exec {mount}",
        )
    if not posix.access(HELPER, posix.X_OK):
        return f"{text}; its mode, or that of a folder above it", "repair: sudo pybindctl setup"
    return (
        f"{text}; a sandbox or a security module forbids it (systemd: NoExecPaths=; SELinux, "
        "AppArmor)",
        "to see what: journalctl -k -g DENIED (AppArmor), sudo ausearch -m avc -ts recent (SELinux)",
    )


def own_status() -> dict[str, str]:
    """Return /proc/self/status (proc(5)) as names and values."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        pairs = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in pairs}


def in_user_namespace() -> bool:
    """Tell whether this process is in a user namespace that is not the first one."""
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as file:
            return file.read().split() != _WHOLE_RANGE
    except OSError:
        return False


def user_namespace() -> tuple[str, ...]:
    """Return lines about a user namespace (unshare -U, rootless containers)."""
    return (
        "this process is in a user namespace: its capabilities do not count for the network "
        "of the host",
        "start pybind outside of the user namespace",
    )


def binds_alone() -> bool:
    """Tell whether programs started from here can bind privileged ports themselves."""
    return bool(int(own_status().get("CapEff", "0"), 16) >> CAP_NET_BIND_SERVICE & 1)


def first_unprivileged_port() -> int:
    """Return the sysctl of this network namespace (ip(7)); 1024 where there is none."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "rb") as file:
            return int(file.read())
    except OSError:
        return 1024


def mount_point(path: str) -> str:
    """Return where the file system of `path` is mounted (proc_pid_mountinfo(5))."""
    from posixpath import realpath  # imports os: only where there is a refusal

    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [_unescaped(line.split()[4]) for line in file]
    real = realpath(path)
    inside = [p for p in points if (real + "/").startswith(p.rstrip("/") + "/")]
    return max(inside, key=len, default="/")


def remount(path: str, option: str) -> str:
    """Return the command that gives the mount of `path` an option back: suid, exec or rw.

    bind: the option of this mount alone (mount(8)). Without it the options of the file system are
    sent along, which overlay refuses ("No changes allowed in reconfigure", since util-linux 2.39),
    as in a container. Where the file system itself is read-only, there is no other way.
    """
    from shlex import quote  # only where there is a refusal

    mount = mount_point(path)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.split() for line in file]
    # The mount on top is the last; its file system's own options stand at the end.
    options = [words[-1].split(",") for words in lines if _unescaped(words[4]) == mount][-1:]
    bind = "" if option == "rw" and options and "ro" in options[0] else "bind,"
    return f"mount -o remount,{bind}{option} {quote(mount)}"


def _unescaped(field: str) -> str:
    """Return a path of mountinfo, which has a backslash and three octal digits for a blank."""
    first, *rest = field.split("\\")
    return first + "".join(chr(int(text[:3], 8)) + text[3:] for text in rest)
