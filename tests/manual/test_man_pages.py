# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of the manual as a reader meets them: first screens, and the example of pybind-helper(8).

A screen has 80 columns and 40 lines.
"""

import os
import re
import shutil
import socket
import struct
import subprocess

import pytest
import support
from support import HELPER, REPOSITORY, UID

from pybind import _wire as w

MAN = REPOSITORY / "man"
PAGES = sorted(MAN.glob("*.[1-9]"))
SCREEN = 40  # lines


def shown(page):
    """Return the lines of a page as man(1) shows them, without bold and underlines."""
    command = ["mandoc", "-T", "ascii", "-O", "width=80", page]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.sub(r".\x08", "", text).splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lint(page):
    """mandoc(1) has no warning about any page."""
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("option", ["--port", "--listen", "--user", "--check", "--mode"])
def test_an_option_stands_on_the_first_screen(option):
    """Who looks for an option finds how it is written without turning the page."""
    assert option in "\n".join(shown(MAN / "pybind.1")[:SCREEN])


@pytest.mark.parametrize(
    "line",
    [
        "sudo pybindctl grant alice 80",
        "pybind --port 80 -- java -jar app.jar",
        "pybind --listen --port 80 -- gunicorn app:app",
        "pybind --user www-data --port 80 -- /srv/app/server",
    ],
)
def test_what_to_type_stands_on_the_first_screen(line):
    """The commands that most readers want can be copied from the first screen."""
    assert line in [each.strip() for each in shown(MAN / "pybind.1")[:SCREEN]]


# -- the example of pybind-helper(8), taken from the page, does what the page says


@pytest.fixture(scope="session")
def example():
    """Compile the page's program as the page says, with more warnings; return its path."""
    page = (REPOSITORY / "man/pybind-helper.8").read_text()
    blocks = page.partition("\n.Sh EXAMPLES\n")[2].split("\n.Bd -literal")[1:]
    texts = [block.partition("\n")[2].partition("\n.Ed\n")[0] for block in blocks]
    source, command = (text.replace(r"\e", "\\") for text in texts)
    folder = support.scratch_dir()
    (folder / "example.c").write_text(source + "\n")
    shutil.copy(REPOSITORY / "helpers/protocol.h", folder)
    command = [*command.split(), "-Wall", "-Wextra", "-Werror"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "example"


def test_bound(grant80, example):
    """A program that calls the helper itself binds a granted port."""
    done = support.run([example])
    assert (done.stdout, done.stderr, done.returncode) == ("bound: granted\n", "", 0)


def test_any_descriptors(grant80, example):
    """The program works too if descriptors 0 and 3 were free when it made its sockets."""
    done = support.run(["/bin/sh", "-c", f"exec {example} <&- 3<&-"])
    assert (done.stdout, done.returncode) == ("bound: granted\n", 0)


def test_refused(example):
    """A port without a grant is refused, with the reason."""
    done = support.run([example])
    assert done.stdout == "Permission denied: no permission file grants it\n"
    assert done.returncode == 1


def test_without_capability(grant80, example):
    """With no_new_privs the helper's answer says that it lacks its capability."""
    done = support.run(["/usr/bin/setpriv", "--no-new-privs", example])
    assert done.stdout == "Permission denied: granted, but the helper has no CAP_NET_BIND_SERVICE\n"


def test_kernels_own_error(grant80, example):
    """If bind(2) itself fails, the program gets the kernel's errno."""
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 80))
        done = support.run([example])
    assert done.stdout == "Address already in use: granted, but bind(2) itself failed\n"


def test_upgraded(grant80, example, other_version):
    """A program of another version is told that the versions differ."""
    other_version()
    assert support.run([example]).stdout == "Permission denied: the helper is of another version\n"


def test_removed(grant80, example, installed):
    """Without a helper there is no answer, and the program looks at the socket instead."""
    os.unlink(HELPER)
    assert support.run([example]).stdout == "Permission denied: the helper did not answer\n"


@pytest.mark.parametrize("given", [subprocess.DEVNULL, None])
def test_typed_in_a_shell(given):
    """In a shell, where descriptor 0 is no socket, the helper exits silently with 1."""
    close = {} if given else {"preexec_fn": lambda: os.close(0)}
    done = subprocess.run([HELPER], stdin=given, capture_output=True, **close)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_stream():
    """The helper takes a stream socket, but a message in two parts is malformed."""
    request = struct.pack(w.REQUEST_FORMAT, w.MAGIC, w.VERSION, w.OP_CHECK, socket.AF_INET,
                          socket.IPPROTO_TCP, socket.htons(80), 0, 0, 0, bytes(16))  # fmt: skip
    for first, reason in ((request, w.REASON_NO_RULE), (request[:20], w.REASON_MALFORMED)):
        ours, theirs = socket.socketpair()
        ours.send(first)
        process = support.as_user([HELPER], uid=UID, stdin=theirs)
        assert process.wait(support.PATIENCE_S) == 0
        assert struct.unpack_from("=IHH", ours.recv(8)) == (w.MAGIC, w.VERSION, reason)
        ours.close()
        theirs.close()
