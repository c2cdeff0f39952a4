# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs jobs in systems, prints what failed, and writes the record and docs/systems.md.

`make test-systems SYSTEMS='bookworm trixie' JOBS='life units'`. JOBS=all is every one.
"""

import argparse
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from . import catalogue, images, machine, record

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = TREE / "build/systems"


def package(architecture):
    """Build the working tree's package for an architecture; return its path."""
    folder = BUILD / f"deb-{architecture}"
    cross = () if architecture == "amd64" else ("-a", architecture)
    subprocess.run([TREE / "tools/package", "deb", *cross, folder], check=True)
    (path,) = folder.glob(f"pybind-ports_*_{architecture}.deb")
    return path


def tree():
    """Pack the working tree for the job that builds and tests it; return the tar file's path."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([TREE / "tools/package", "tree", f"{folder}/tree"], check=True)
        path = BUILD / "tree.tar"
        subprocess.run(["tar", "-cf", path, "-C", f"{folder}/tree", "."], check=True)
    return path


def run(job, system, deb, remember):
    """Run one job in one system; return whether all its checks passed."""
    out = BUILD / system.name / job.name
    print(f"== {system.name}: {job.name}", flush=True)
    description = {
        "files": job.files, "timeout": job.seconds,
        "environment": {**dict(job.environment), "IN_FORCE": "\n".join(job.in_force)},
    }  # fmt: skip
    files = [
        deb,
        TREE / "contrib/apparmor/pybind-helper",
        *([tree()] if job.name == "suite" else []),
    ]
    try:
        image = images.get(job.image(system))
        seconds = machine.run(
            image, system.architecture, description, files, out, job.words, job.disks
        )
    except (machine.Died, images.NoImage) as error:
        print(f"{system.name}: {job.name}: {error}", file=sys.stderr)
        return False
    result = record.read(out)
    result.update(
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(), seconds=round(seconds)
    )
    bad = [check for check in result["checks"] if check["outcome"] == "failed"]
    print(
        f"== {system.name}: {job.name}: {len(result['checks'])} checks, {len(bad)} failed, {seconds:.0f} s"
    )
    (out / "result.json").write_text(json.dumps(result))
    if remember:
        record.remember(system.name, job.name, result)
    return bool(result["checks"]) and not bad


def main():
    """Run the chosen jobs, one machine at a time, because each takes all processors."""
    parser = argparse.ArgumentParser(prog="test-systems")
    parser.add_argument(
        "--systems", default="bookworm trixie forky", help="of: " + " ".join(catalogue.SYSTEMS)
    )
    short = " ".join(job.name for job in catalogue.JOBS.values() if job.default)
    parser.add_argument(
        "--jobs",
        default=short,
        help="all, or of: " + " ".join(catalogue.JOBS) + f" (else: {short})",
    )
    parser.add_argument("--record", action="store_true", help="write docs/systems.md anew")
    options = parser.parse_args()
    if options.jobs == "all":
        options.jobs = " ".join(catalogue.JOBS)
    if os.geteuid():
        sys.exit(
            "test-systems: needs root, to make the systems' disks (try: sudo make test-systems)"
        )
    for asked, known in ((options.systems, catalogue.SYSTEMS), (options.jobs, catalogue.JOBS)):
        unknown = [name for name in asked.split() if name not in known]
        if unknown:
            sys.exit(f"test-systems: there is no {' '.join(unknown)}, but: {' '.join(known)}")
    # After a signal the machine is ended and its files are removed, as at the end of a run.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    passed = True
    for system in (catalogue.SYSTEMS[name] for name in options.systems.split()):
        deb = package(system.architecture)
        for job in (catalogue.JOBS[name] for name in options.jobs.split()):
            if system.name in job.systems:
                passed &= run(job, system, deb, options.record)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
