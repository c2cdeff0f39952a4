# SPDX-License-Identifier: GPL-3.0-or-later
"""In the machine: runs the tests of this boot, and sends all results after the last boot.

One port carries the output of the job at once, another port a tar file with the results.
"""

import json
import os
import pathlib
import subprocess
import tarfile

FOLDER = pathlib.Path(__file__).resolve().parent.parent
RESULTS = FOLDER / "results"
PORTS = pathlib.Path("/dev/virtio-ports")


def run(job, name):
    """Run one file, or a class of one; a job that runs out of time adds one failed check."""
    command = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null",
               "--rootdir=.", "-q", "--tb=short", "--no-summary", name]  # fmt: skip
    with (PORTS / "output").open("wb", 0) as output:
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                timeout=job["timeout"],
                env={**os.environ, **job["environment"], "RESULTS": str(RESULTS)},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            line = {"check": f"{name} ends in its time", "outcome": "failed", "said": str(error)}
            with (RESULTS / "checks").open("a") as file:
                file.write(json.dumps(line) + "\n")


def send():
    """Send the results and this boot's journal."""
    with (RESULTS / "journal").open("wb") as journal:
        subprocess.run(["journalctl", "-b", "--no-pager", "-o", "short-monotonic"], stdout=journal)
    with (
        (PORTS / "results").open("wb", 0) as port,
        tarfile.open(fileobj=port, mode="w|") as archive,
    ):
        archive.add(RESULTS, ".")


def main():
    """Run this boot's tests, then boot again for the next ones, or switch off."""
    job = json.loads((FOLDER / "job.json").read_text())
    counter = FOLDER / "boots"
    boot = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(boot + 1))
    RESULTS.mkdir(exist_ok=True)
    run(job, job["files"][boot])
    os.sync()
    last = boot + 1 == len(job["files"])
    if last:
        send()
    # What is on the disk is thrown away: nothing is to be ended in order.
    subprocess.run(["systemctl", *(["-ff", "poweroff"] if last else ["--no-block", "reboot"])])


if __name__ == "__main__":
    main()
