# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for the examples: its own /run and /srv, the user app, a Java server."""

import subprocess

import placing
import pytest
import support

JAVA = support.REPOSITORY / "tests/programs/src/Answer.java"


@pytest.fixture(scope="session")
def host():
    """Mount an empty /run and /srv, and make the user app; both end with the sandbox."""
    javac, jar = placing.need("javac", "default-jdk-headless"), placing.need("jar", "default-jdk")
    for folder in ("/run", "/srv"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder], check=True)
    # Not 1000: tests/manual gives that number to alice.
    subprocess.run(["useradd", "--uid", "4321", "--no-create-home", "--home", placing.SRV, "app"],
                   check=True)  # fmt: skip
    placing.SRV.mkdir()
    classes = support.scratch_dir()
    subprocess.run([javac, "-d", classes, JAVA], check=True)
    subprocess.run([jar, "--create", "--file", placing.JAR, "--main-class", "Answer",
                    "-C", classes, "."], check=True)  # fmt: skip
    subprocess.run(["chown", "-R", "app:app", placing.SRV], check=True)
    yield
    subprocess.run(["userdel", "app"], check=True, capture_output=True)
    for folder in ("/run", "/srv"):
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def granted(host):
    """Grant port 80 to app, with the command that the examples name."""
    subprocess.run([support.PREFIX + "/bin/pybindctl", "grant", "app", "80"], check=True,
                   capture_output=True)  # fmt: skip
