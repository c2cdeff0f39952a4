# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes disks of systems by mmdebstrap, one for each content, and keeps them in a cache."""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from . import processes

CACHE = pathlib.Path(os.environ.get("PYBIND_SYSTEMS_CACHE", "/var/cache/pybind-systems"))
GUEST = pathlib.Path(__file__).resolve().parent / "guest"
MIRROR = "http://deb.debian.org/debian"
SIZE = "8G"  # of the file system; the file is sparse
PATIENCE_S = 1800
# The packages of every image: those of a small server.
BASE = (
    "systemd systemd-sysv udev dbus libpam-systemd libnss-systemd kmod iproute2 procps passwd login "
    "util-linux mount e2fsprogs initramfs-tools zstd libcap2-bin ca-certificates apt netbase attr"
)


@dataclasses.dataclass(frozen=True)
class Image:
    """A system that is to be on a disk: `kernel` is a package, `customize` a file below guest/."""

    suite: str
    architecture: str
    kernel: str
    packages: str
    customize: str = ""

    def name(self):
        """Return a name with a hash of everything that the image is made of."""
        content = hashlib.sha256(repr((self, BASE, SIZE)).encode())
        files = [path for path in GUEST.iterdir() if path.is_file()]
        for path in [*sorted(files), *([GUEST / self.customize] if self.customize else [])]:
            content.update(path.name.encode() + path.read_bytes())
        return f"{self.suite}-{self.architecture}-{content.hexdigest()[:12]}"


class NoImage(Exception):
    """The image could not be made; the message says why and where the log is."""


def get(image):
    """Return the folder with root.raw, vmlinuz and initrd.img; make it if it is missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / image.name()
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            print(
                f"makes the disk {folder.name} (a few minutes, once)", file=sys.stderr, flush=True
            )
            _make(image, folder)
    return folder


def _make(image, folder):
    new, root, log = (folder.with_suffix(end) for end in (".new", ".root", ".log"))
    remove(new)
    remove(root)
    new.mkdir()
    packages = ",".join(f"{BASE} {image.kernel} {image.packages}".split())
    words = [
        "mmdebstrap", "--mode=root", "--format=directory", "--variant=apt",
        f"--architectures={image.architecture}", f"--include={packages}",
        "--skip=check/qemu", "--aptopt=APT::Install-Recommends false",
        "--aptopt=Acquire::Check-Valid-Until false", "--aptopt=Acquire::Languages none",
        "--dpkgopt=force-unsafe-io",
        # Only the modules that open the disk, so that packing takes seconds, not minutes.
        f'--essential-hook=install -D -m 0644 {GUEST}/initramfs.conf "$1/etc/initramfs-tools/conf.d/systems"',
        f'--essential-hook=install -D -m 0644 {GUEST}/modules "$1/etc/initramfs-tools/modules"',
        f"--customize-hook={GUEST}/customize \"$1\" {image.customize}",
        *_keep_downloads(image.architecture),
        image.suite, root, *_sources(image.suite),
    ]  # fmt: skip
    disk = ["mkfs.ext4", "-q", "-F", "-L", "root", "-d", root, new / "root.raw", SIZE]
    try:
        with log.open("w") as output:
            for command in (words, disk):
                processes.run(processes.wrapped(image.architecture, command), output, PATIENCE_S)
        for name in ("vmlinuz", "initrd.img"):
            shutil.copyfile(_newest(root, name), new / name)
    except (OSError, subprocess.SubprocessError) as error:
        remove(new)
        raise NoImage(f"{folder.name} could not be made: {error}; the log is {log}") from error
    finally:
        remove(root)
    new.rename(folder)


def _newest(root, name):
    """Return the kernel or initial file system that the link /NAME of the system points to."""
    for link in (root / name, root / "boot" / name):
        if link.is_symlink():
            return root / "boot" / pathlib.Path(os.readlink(link)).name
    return max(
        (root / "boot").glob(
            name.replace("initrd.img", "initrd.img-").replace("vmlinuz", "vmlinu?-") + "*"
        )
    )


def _sources(suite):
    """Return the lines of sources.list."""
    lines = [f"deb {MIRROR} {suite} main"]
    if suite != "sid":
        lines.append(f"deb {MIRROR} {suite}-updates main")
        lines.append(f"deb {MIRROR}-security {suite}-security main")
    return lines


def _keep_downloads(architecture):
    """Return the hooks that keep the packages for the next image of the same machine."""
    kept = CACHE / f"packages.{architecture}"
    kept.mkdir(exist_ok=True)
    there = "$1/var/cache/apt/archives"
    return [
        "--skip=download/empty", "--skip=essential/unlink", "--skip=cleanup/reproducible",
        f'--setup-hook=mkdir -p "{there}/partial"; cp -l {kept}/*.deb "{there}/" 2>/dev/null || true',
        f'--customize-hook=cp -ln "{there}"/*.deb {kept}/ 2>/dev/null || true; rm -f "{there}"/*.deb',
    ]  # fmt: skip


def remove(path):
    """Remove a folder and everything below it, except files of other file systems."""
    with contextlib.suppress(FileNotFoundError):
        path.lstat()
        subprocess.run(["rm", "-rf", "--one-file-system", path], check=True)
