# SPDX-License-Identifier: GPL-3.0-or-later
"""The systems, the kinds of disks, and the jobs with the systems that they run on."""

import dataclasses

from .images import Image

ALL = ("bookworm", "trixie", "forky")
LATER_KERNELS = ("trixie", "forky")
RUNTIME = "python3-click python3-prctl python3-seccomp python3-pytest curl busybox-static"


@dataclasses.dataclass(frozen=True)
class System:
    """A release on an architecture, and the package of its kernel."""

    name: str
    words: str
    suite: str
    architecture: str = "amd64"
    kernel: str = "linux-image-amd64"


SYSTEMS = {
    system.name: system
    for system in (
        System("bookworm", "Debian 12", "bookworm"),
        System("trixie", "Debian 13", "trixie"),
        System("forky", "Debian 14, testing", "forky"),
        System("bookworm-arm64", "Debian 12, arm64", "bookworm", "arm64", "linux-image-arm64"),
    )
}

# Kinds of disks: the packages beside images.BASE, and a file below guest/ that ends the making.
DISKS = {
    "small": (f"{RUNTIME} nginx-light caddy cron dbus-user-session libbpf1", ""),
    "server": (
        f"{RUNTIME} nginx-light nodejs default-jdk-headless gunicorn uvicorn caddy socat cron sudo "
        "systemd-container dbus-user-session polkitd acl apparmor apparmor-utils psmisc libbpf1 "
        "btrfs-progs xfsprogs dosfstools squashfs-tools "
        "podman crun fuse-overlayfs slirp4netns passt uidmap netavark aardvark-dns catatonit "
        "docker.io ?name(^docker-cli$) iptables nftables",  # Debian 12 has the client in docker.io
        "",
    ),
    "board": (f"{RUNTIME} nginx-light caddy default-jdk-headless dbus-user-session", ""),
    "workshop": (
        f"{RUNTIME} gcc libc6-dev linux-libc-dev make musl-tools nginx-light gunicorn nodejs socat "
        "default-jdk-headless g++ libboost-dev caddy golang-go uvicorn libsystemd-dev authbind acl "
        "apparmor attr dpkg strace gdb sudo netbase python3-hypothesis python3-setuptools git file "
        "libfuse3-dev psmisc",
        "",
    ),
    "selinux": (
        f"{RUNTIME} selinux-policy-default selinux-basics selinux-utils policycoreutils "
        "policycoreutils-python-utils semodule-utils auditd openssh-server openssh-client",
        "disks/label-selinux",
    ),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """A job: a pytest file of jobs/, or a class of one, for each boot, and its needs.

    words: for the kernel's command line. seconds: the bound of each boot. disks: the number
    of empty disks.
    `in_force` is what the words do: a file in the machine, and a text that it has then.
    """

    name: str
    shows: str
    files: tuple
    disk: str = "server"
    words: str = ""
    seconds: int = 2400
    disks: int = 0
    systems: tuple = ALL
    default: bool = False
    in_force: tuple = ()
    environment: tuple = ()

    def image(self, system):
        """Return the image that the job needs of a system."""
        packages, customize = DISKS[self.disk]
        return Image(system.suite, system.architecture, system.kernel, packages, customize)


EVERYWHERE = tuple(SYSTEMS)
LOCKDOWN = "/sys/kernel/security/lockdown"
# Without cgroup2. systemd 256 and 257 want the third word, and 258 mounts no other hierarchy.
LEGACY = (
    "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1 "
    "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
)
JOBS = {
    job.name: job
    for job in (
        Job(
            "short", "one page in each mode", ("short.py",), "small", systems=EVERYWHERE, default=True
        ),
        Job(
            "life", "the package's life, with a reboot",
            ("life.py::TestBeforeTheReboot", "life.py::TestAfterTheReboot"), "small",
            default=True,
        ),
        Job(
            "pybindd", "the kernel judges", ("kernel.py::TestJudges",), "small", systems=EVERYWHERE, default=True
        ),
        Job("servers", "servers, started from a login", ("servers.py",)),
        Job("board", "another architecture: pages, and the time of a bind", ("board.py",), "board",
            systems=("bookworm-arm64",)),
        Job("units", "services, units of a user, ways to become the user", ("units.py",)),
        Job("conditions", "/proc, Yama, namespaces, IPv6, limits", ("conditions.py::TestSettings",)),
        Job("files", "file systems, and modes of folders", ("files.py",), disks=1),
        Job("podman", "podman, pybind outside and inside", ("podman.py::TestPybind",)),
        Job("pybindd-podman", "rootless podman under pybindd", ("podman.py::TestPybindd",)),
        Job("docker", "docker, pybind inside", ("docker.py",)),
        Job("apparmor", "AppArmor enforced, with contrib's profile", ("apparmor.py",)),
        Job("selinux", "SELinux enforcing", ("selinux.py",), "selinux", "security=selinux",
            in_force=("/sys/fs/selinux/enforce", "1")),
        Job("integrity", "`lockdown=integrity`", ("kernel.py::TestJudges",), "small", "lockdown=integrity",
            in_force=(LOCKDOWN, "[integrity]")),
        Job("confidentiality", "`lockdown=confidentiality`", ("kernel.py::TestCannotRun",), "small",
            "lockdown=confidentiality", in_force=(LOCKDOWN, "[confidentiality]"),
            environment=(("REASON", "lockdown=confidentiality"),)),
        Job("cgroup-v1", "control groups of version 1 only", ("kernel.py::TestCannotRun",), "small", LEGACY,
            systems=("bookworm", "trixie"), in_force=("/proc/self/mounts", "cgroup/systemd cgroup "),
            environment=(("REASON", "no control group hierarchy of version 2"),)),
        Job("no-ipv6", "`ipv6.disable=1`", ("short.py",), "small", "ipv6.disable=1",
            in_force=("/sys/module/ipv6/parameters/disable", "1")),
        Job("no-file-caps", "`no_file_caps`", ("conditions.py::TestNoFileCaps",), "small",
            "no_file_caps"),
        Job("suite", "the project's own tests", ("suite.py",), "workshop", seconds=14400,
            systems=EVERYWHERE),
    )
}  # fmt: skip
