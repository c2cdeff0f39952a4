# SPDX-License-Identifier: GPL-3.0-or-later
"""What the jobs of podman and docker share: an image made of the machine's files."""

import os
import pathlib
import subprocess

import world

IMAGE = "localhost/test"
ARCHIVE = pathlib.Path("/var/tmp/image.tar")
PUBLISHED = "127.0.0.1:80:8080"
SERVE = ["busybox", "httpd", "-f", "-p", "8080", "-h", "/srv/www"]
SERVE_INSIDE = ["pybind", "--port", "80", "--", "python3", "-c", world.BIND.format(port=80)]
# The packages whose files make the image: Python, a shell, a few tools and pybind.
PACKAGES = (
    "base-files base-passwd libc6 libc-bin dash coreutils libacl1 libattr1 libselinux1 libgmp10 libssl3 libssl3t64 "
    "libpcre2-8-0 zlib1g libexpat1 libffi8 libcap2 libcap2-bin libseccomp2 libbz2-1.0 liblzma5 libcrypt1 libgcc-s1 "
    "python3 python3-minimal {python} {python}-minimal lib{python}-minimal lib{python}-stdlib "
    "python3-click python3-prctl python3-seccomp python3-colorama busybox-static util-linux libuuid1 netbase "
    "media-types libsystemd0 libzstd1 pybind-ports"
)


WITHOUT_PYBIND = "base-files base-passwd busybox-static netbase"
WITH_CONTENT = ("/etc/pybind", "/srv/www")


def real(path):
    """Return a file's path without the links of a merged /usr above it."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def archive(packages=PACKAGES):
    """Pack the image as a tar file, with the helper's capability; return its path."""
    python = pathlib.Path("/usr/bin/python3").resolve().name
    names = packages.format(python=python).split()
    there = [
        name
        for name in names
        if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode == 0
    ]
    listed = world.run("dpkg", "-L", *there).splitlines()
    # podman refuses a file that occurs twice.
    left_out = (
        "/usr/share/doc/",
        "/usr/share/man/",
        "/proc",
        "/sys",
        "/run",
        "/dev",
        *WITH_CONTENT,
    )
    wanted = {
        real(path) for path in listed if path.startswith("/") and not path.startswith(left_out)
    }
    wanted |= {"/lib", "/lib64", "/bin", "/sbin", "/etc/passwd", "/etc/group", "/etc/ld.so.cache"}
    files = pathlib.Path("/run/files")
    files.write_text("".join(path + "\n" for path in sorted(wanted) if os.path.lexists(path)))
    words = ["--xattrs", "--xattrs-include=*", "--warning=no-timestamp"]
    world.run("tar", "-cf", ARCHIVE, *words, "--no-recursion", "-T", files, timeout=600)
    world.run("tar", "-rf", ARCHIVE, *words, *WITH_CONTENT)
    ARCHIVE.chmod(0o644)
    return ARCHIVE


def serves(command):
    """Run a container whose server must answer on port 80 of the host."""
    log = pathlib.Path("/run/container.log")
    with world.started(command, log) as process:
        world.wait_for(
            lambda: process.poll() is not None or world.fetch() is not None, "the container's page"
        )
        assert world.PAGE in (world.fetch() or ""), log.read_text()
