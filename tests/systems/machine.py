# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of a virtual machine: boots an image on a throw-away layer and runs a job."""

import dataclasses
import io
import json
import os
import pathlib
import shutil
import tarfile
import tempfile
import time

from . import processes

HERE = pathlib.Path(__file__).resolve().parent
SCRATCH = "/var/tmp"  # big files: not on a tmpfs
# Emulated on a busy machine, two processors wait for each other: one is faster there.
PROCESSORS, MEMORY = int(os.environ.get("PYBIND_SYSTEMS_PROCESSORS", 2)), "3G"
GRACE_S = 240  # for each boot, in addition to the job's time


@dataclasses.dataclass(frozen=True)
class Board:
    """How qemu makes a machine of one architecture."""

    qemu: str
    options: str
    console: str
    package: str


X86 = Board("qemu-system-x86_64", "-machine q35", "ttyS0", "qemu-system-x86")
BOARDS = {
    "amd64": X86,
    "i386": X86,
    # pauth-impdef, because the standard algorithm for signed pointers is very slow in TCG.
    "arm64": Board(
        "qemu-system-aarch64",
        "-machine virt -cpu max,pauth-impdef=on",
        "ttyAMA0",
        "qemu-system-arm",
    ),
    "riscv64": Board("qemu-system-riscv64", "-machine virt", "ttyS0", "qemu-system-misc opensbi"),
}


class Died(Exception):
    """The machine ended without results, or did not end in time."""


def accelerator(architecture):
    """Return qemu's options for KVM if KVM works, else for TCG.

    If the processor has no virtualization of its own (kvm_pvm), /dev/kvm boots only kernels
    that were built for it, so TCG is used.
    """
    modules = [pathlib.Path("/sys/module") / name for name in ("kvm_intel", "kvm_amd")]
    usable = any(path.exists() for path in modules) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    if BOARDS[architecture] is X86 and usable and "PYBIND_SYSTEMS_TCG" not in os.environ:
        return ["-enable-kvm", "-cpu", "host"]
    processor = ["-cpu", "max,la57=off"] if BOARDS[architecture] is X86 else []
    return ["-accel", "tcg,thread=multi,tb-size=1024", *processor]


def _command(image, folder, architecture, words, disks):
    """Return qemu's argv, without network and display, and with an unchanged image."""
    board = BOARDS[architecture]
    line = f"root=/dev/vda rw console={board.console} net.ifnames=0 quiet systemd.show_status=0"
    argv = [
        board.qemu, *board.options.split(), *accelerator(architecture),
        "-smp", PROCESSORS, "-m", MEMORY, "-nic", "none", "-display", "none", "-no-user-config",
        "-nodefaults", "-device", "virtio-rng-pci", "-serial", f"file:{folder}/console",
        "-kernel", image / "vmlinuz", "-initrd", image / "initrd.img",
        "-append", f"{line} pybind.job {words}",
        "-drive", f"if=none,id=root,file={image}/root.raw,format=raw,snapshot=on,cache=unsafe",
        "-device", "virtio-blk-pci,drive=root",
        "-drive", f"if=none,id=job,file={folder}/job.tar,format=raw,readonly=on",
        "-device", "virtio-blk-pci,drive=job,serial=job",
        "-device", "virtio-serial-pci",
    ]  # fmt: skip
    for port in ("output", "results"):
        argv += ["-chardev", f"file,id={port},path={folder}/{port}"]
        argv += ["-device", f"virtserialport,chardev={port},name={port}"]
    for number in range(disks):
        path = pathlib.Path(folder) / f"empty{number}"
        with path.open("wb") as file:
            file.truncate(1 << 30)
        argv += ["-drive", f"if=none,id=empty{number},file={path},format=raw,cache=unsafe"]
        argv += ["-device", f"virtio-blk-pci,drive=empty{number},serial=empty{number}"]
    return argv


def _pack(path, job, files):
    """Write the tar file that the machine finds as a disk: jobs/, files/ and job.json."""
    with tarfile.open(path, "w") as archive:
        description = json.dumps(job).encode()
        entry = tarfile.TarInfo("job.json")
        entry.size = len(description)
        archive.addfile(entry, io.BytesIO(description))
        archive.add(HERE / "jobs", "jobs")
        for file in files:
            archive.add(file, f"files/{file.name}")


def run(image, architecture, job, files, out, words="", disks=0):
    """Boot, run the job, and put its results and the logs into the folder `out`.

    job: {"files": [a pytest file, or a class of one, for each boot], "timeout": seconds of each, "environment": {}}.
    Returns the duration in seconds. Raises Died.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    bound = (job["timeout"] + GRACE_S) * len(job["files"])
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pybind-systems.", dir=SCRATCH) as folder:
        _pack(f"{folder}/job.tar", job, files)
        command = _command(image, folder, architecture, words, disks)
        with (out / "qemu").open("w") as log:
            options = {"stdout": log, "stderr": log, "env": {**os.environ, "TMPDIR": SCRATCH}}
            with processes.started(command, **options) as qemu:
                ended = _follow(qemu, pathlib.Path(folder, "output"), begin + bound)
        for name in ("console", "output"):
            shutil.copyfile(f"{folder}/{name}", out / name)
        if not ended:
            raise Died(f"not done after {bound} s; what it said is in {out}")
        try:
            with tarfile.open(f"{folder}/results") as archive:
                # Python 3.14 requires a filter; the Python of Debian 12 has no such argument.
                named = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                archive.extractall(out, **named)
        except (OSError, tarfile.TarError) as error:
            raise Died(f"it ended without results ({error}); what it said is in {out}") from error
    return time.monotonic() - begin


def _follow(qemu, output, deadline):
    """Print the job's output until the machine is off; return False if its time runs out."""
    with output.open("rb") if output.exists() else _later(output, qemu) as said:
        while True:
            ended = qemu.poll() is not None
            print(said.read().decode(errors="replace"), end="", flush=True)
            if ended or time.monotonic() > deadline:
                return ended
            time.sleep(0.2)


def _later(path, qemu):
    """Open a file that qemu will make soon."""
    while not path.exists() and qemu.poll() is None:
        time.sleep(0.05)
    return path.open("rb") if path.exists() else io.BytesIO()
