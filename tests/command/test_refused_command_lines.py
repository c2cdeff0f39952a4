# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines that are wrong, or that lack something: the message says what to type instead.

A wrong option, or a program that cannot be executed, starts nothing. What a message tells
people to type is typed, and works.
"""

import printed
import pytest
import support
from refusing import as_root, refused, told
from support import PYBIND, UID, pybind


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-x"], ["No such option", "-x"]),
        (["--no-such"], ["No such option", "--no-such", "--help"]),
        (["--port"], ["--port", "requires an argument"]),
        (["--port", "0"], ["port 0 means any free port"]),
        (["--port", "65536"], ["ports are 1 to 65535"]),
        (["--port", "-1"], ["bad port '-1'"]),
        (["--port", "80/xyz"], ["'xyz' is neither tcp nor udp"]),
        (["--port", "[::1"], ["bad port '[::1'"]),
        (["--port", "80"], ["no program is given"]),
        (["--depth", "0"], ["--depth"]),
        (["--depth", "x"], ["--depth"]),
        (["--deep", "--depth", "2"], ["exclude each other"]),
        (["--mode", "magic"], ["magic", "auto"]),
    ],
)
def test_usage(grant80, marked, arguments, words):
    """A wrong command line gets a clear error and status 125, and starts nothing."""
    path, started = marked
    tail = [] if "no program is given" in words else [path]
    done = pybind(*arguments, *tail) if arguments != ["--port"] else pybind("--port")
    refused(done, *words)
    assert not started()


def test_missing_and_not_executable(grant80, marked):
    """The status is 127 for no such program, and 126 for one that cannot be executed."""
    path, started = marked
    refused(pybind("--port", "80", "/nonexistent/x"), "'/nonexistent/x'", status=127)
    refused(pybind("--port", "80", "no-such-program"), "not found in PATH", status=127)
    refused(pybind("--port", "80", ""), "empty", status=127)
    refused(pybind("--port", "80", "/etc"), "not a regular file", status=126)
    path.chmod(0o600)
    refused(pybind("--port", "80", path), f"not executable by uid {UID}", "mode 0600", status=126)
    path.chmod(0o755)
    path.write_text("#!/nonexistent/interpreter\n")
    refused(pybind("--port", "80", path), "interpreter", "/nonexistent/interpreter", status=126)
    assert not started()


def test_script_with_dos_line_ends(grant80):
    """The name of the interpreter ends in a carriage return, and is shown so."""
    path = support.scratch_dir() / "script"
    path.write_text("#!/bin/sh\r\necho no\r\n")
    path.chmod(0o755)
    refused(pybind("--port", "80", path), "interpreter", r"/bin/sh\r", status=126)


def test_several_ports_in_one_option(grant80):
    """80,443 and 80-90 are refused: each port needs its own --port."""
    support.flag("byport/443")
    said = told(pybind("-p", "80,443", "true"))
    assert said == ["bad port '80,443'", "one port per --port: -p 80 -p 443"]
    assert pybind(*said[1].rpartition(": ")[2].split(), "true").returncode == 0
    said = told(pybind("-p", "80-81", "true"))
    assert said[0] == "bad port '80-81'"
    assert said[1].startswith("one port per --port: -p 80 -p 81 and each between them")
    assert "one port per --port: -p http -p https" in told(pybind("-p", "http,https", "true"))
    said = told(pybind("-p", "127.0.0.1", "true"))
    assert said == ["bad port '127.0.0.1'", "the port stands behind the address: 127.0.0.1:80"]


def test_a_port_in_the_place_of_the_program(grant80):
    """`pybind 80 PROGRAM` gets the question: did you mean --port 80?"""
    for port in ("80", "127.0.0.1:80", "80/tcp"):
        said = told(pybind(port, "true"), 127)
        if "/" not in port:
            meant = printed.said(said[-1], "hints.for_program: pybind --port ... -- PROGRAM")
            assert pybind(*meant.replace("PROGRAM", "true").split()[1:]).returncode == 0


def test_options_of_a_script(grant80):
    """The kernel makes one word of #!pybind -p 80 python3; the hint, env -S, works."""
    folder = support.scratch_dir()
    script = folder / "script"
    body = "\nimport socket; s = socket.socket(); s.bind(('', 80)); print('bound')\n"
    script.write_text(f"#!{PYBIND} -p 80 /usr/bin/python3{body}")
    script.chmod(0o755)
    said = told(support.run([script]))
    assert "is one word, as of a #! line" in said[1]
    line = said[1].rpartition("write: ")[2]
    assert line == "#!/usr/bin/env -S pybind -p 80 /usr/bin/python3"
    script.write_text(line + body)
    done = support.run([script], env={"PATH": f"{support.PREFIX}/bin:/usr/bin:/bin"})
    assert done.stdout == "bound\n", done.stderr


def test_program_that_only_administrators_find():
    """The message names a program in /usr/sbin, which a user's PATH does not have."""
    done = pybind("nginx", env={"PATH": "/usr/bin:/bin"})
    said = told(done, 127)
    assert said[1] == "there is /usr/sbin/nginx: give the full path"
    assert pybind("/usr/sbin/nginx", "-v").returncode == 0


@pytest.mark.parametrize("scope", ["4294967296", "99999999999999999999", "٣"])
def test_interface_number_out_of_range(scope):
    """A scope id out of range gets a clear error."""
    said = told(pybind("-p", f"[fe80::1%{scope}]:80", "true"))
    assert "interface" in said[0]


@pytest.mark.parametrize("option", ["--depth", "--backlog"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "2147483648", "9" * 5000, "٣"])
def test_number_out_of_range(option, value):
    """A count that is not a number gets a clear error, however long the text is."""
    said = told(pybind(option, value, "-p", "80", "--listen", "true"))
    assert "is not a number from 1 to 2147483647" in said[0]


def test_the_help_that_an_error_names(grant80):
    """A usage error ends with the command that shows the options, and it shows them."""
    for arguments, name in (
        (["--no-such"], "commandline.parse: pybind --help"),
        (["--port", "80"], "options.request_of: pybind --help"),
    ):
        asked = printed.said("\n".join(told(pybind(*arguments))), name)
        assert "--listen" in pybind(*asked.split()[1:]).stdout


def test_help():
    """-h is --help; the page begins with what everybody needs."""
    short, long = pybind("-h"), pybind("--help")
    assert short.stdout == long.stdout
    assert short.returncode == 0
    lines = [line.strip() for line in short.stdout.splitlines()]
    first = lines.index("sudo pybindctl grant alice 80")
    assert lines[first + 1] == "pybind --port 80 -- java -jar app.jar"
    assert first < 8
    assert "1<=x" not in short.stdout


def test_cron_and_start_scripts_know_no_usr_local():
    """pybind by its full path works with cron's PATH."""
    done = support.run(["/bin/sh", "-c", f"exec {PYBIND} -p 8080 -- true"],
                       env={"PATH": "/usr/bin:/bin"})  # fmt: skip
    assert done.returncode == 0, done.stderr


DROP = """
import os, socket
print("LD_PRELOAD" in os.environ, os.geteuid(), flush=True)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for port in (80, 81):
    try:
        socket.socket().bind(("127.0.0.1", port))
        print("bound", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


@pytest.mark.parametrize("options", [["--port", "80"], [], ["--mode", "preload"]], ids=" ".join)
def test_root_that_becomes_a_user(grant80, options):
    """A program that root starts and that becomes a user may bind what that user was granted."""
    done = as_root(PYBIND, *options, "--", "/usr/bin/python3", "-c", DROP)
    assert done.stdout.split() == ["True", "0", "bound", "13"], done.stderr


def test_root_is_told_of_user(grant80):
    """A note says that the program runs as root, and which option makes it run as a user."""
    argv = ["-p", "80", "--", "/usr/bin/id", "-u"]
    done = as_root(PYBIND, *argv)
    assert done.stdout == "0\n"
    assert "note: /usr/bin/id is started as root" in done.stderr
    line = printed.said(done.stderr, "cli._note_root: pybind --user USER ...")
    assert as_root(PYBIND, "-q", *argv).stderr == ""
    as_user = as_root(PYBIND, *line.replace("USER", "nobody").split()[1:-1], *argv)
    assert (as_user.stdout, as_user.stderr) == ("65534\n", "")
    assert as_root(PYBIND, "-p", "8080", "--", "/usr/bin/id", "-u").stderr == ""


def test_static_launcher_of_a_dynamic_server(grant80):
    """--mode preload starts a static program with a note, and serves what that one executes."""
    launcher = support.compile_c(
        "#include <unistd.h>\nint main(int c, char **v) { execv(v[1], v + 1); return 1; }\n",
        "-static",
    )
    code = "import socket; s = socket.socket(); s.bind(('', 80)); print('bound')"
    argv = ["--mode", "preload", "-p", "80", "--", launcher, "/usr/bin/python3", "-c", code]
    done = pybind(*argv)
    assert done.stdout == "bound\n"
    assert "note: " in done.stderr
    assert "itself is not served (it is statically linked" in done.stderr
    assert "--mode supervise" in done.stderr
    assert pybind("-q", *argv).stderr == ""
