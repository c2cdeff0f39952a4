# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong command lines that people type: the message says what to type, and that works."""

import os
import subprocess

import printed
import pytest
import support
from support import PYBIND, pybind


def told(done, status=125):
    """Return the lines of a refusal, without the name of the command."""
    assert done.returncode == status, done
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("pybind: ") for line in lines), done.stderr
    return [line.removeprefix("pybind: ") for line in lines]


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
        said = told(pybind(port, "true"), 127 if "/" not in port else 127)
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


def as_root(*argv):
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, cwd="/",
                          timeout=support.PATIENCE_S)  # fmt: skip


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


def outside_of(wrapper, words, supervised, listening):
    """Follow the repair: put `pybind --mode supervise` outside of what stood around pybind."""
    code = "import socket; s = socket.socket(); s.bind(('', 80)); print('bound')"
    program = ["/usr/bin/python3", "-c", code]
    done = support.run([*wrapper, PYBIND, "-p", "80", "--", *program])
    said = "\n".join(told(done))
    assert words in said
    way = printed.said(said, supervised).split()[1:3]
    done = pybind(*way, "-p", "80", "--", *wrapper, *program)
    assert done.stdout == "bound\n", done.stderr
    given = "import socket, sys; print(socket.socket(fileno=3).getsockname()[1])"
    way = printed.said(said, listening).split()[1:2]
    done = pybind(*way, "-p", "80", "--", *wrapper, "/usr/bin/python3", "-c", given)
    assert done.stdout == "80\n", done.stderr


def test_no_new_privs_around_it(grant80):
    """setpriv --no-new-privs goes inside pybind: supervised or with --listen, that works."""
    outside_of(
        ["/usr/bin/setpriv", "--no-new-privs"],
        "no_new_privs is set for this process",
        "diagnose.lost_capability: pybind --mode supervise ... -- COMMAND",
        "diagnose.lost_capability: pybind --listen ... -- COMMAND",
    )


def test_user_namespace_around_it(grant80):
    """unshare goes inside pybind."""
    unshare = ["/usr/bin/unshare", "-U"]
    if support.run([*unshare, "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    names = [
        "diagnose.user_namespace: pybind --mode supervise ... -- COMMAND",
        "diagnose.user_namespace: pybind --listen ... -- COMMAND",
    ]
    outside_of([*unshare, "-r"], "in a user namespace", *names)
    outside_of(unshare, "in a user namespace", *names)


def test_user_namespace_with_a_network_of_its_own():
    """Root of the user namespace binds by itself, other users by grants of that container."""
    unshare = ["/usr/bin/unshare", "-Urn"]
    if support.run([*unshare, "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    code = "import socket; s = socket.socket(); s.bind(('', 80)); print('bound')"
    done = support.run([*unshare, PYBIND, "-q", "-p", "80", "--", "/usr/bin/python3", "-c", code])
    assert done.stdout == "bound\n", done.stderr


def test_capability_of_a_user_namespace(grant80):
    """Root of a user namespace is refused too: that root cannot bind the host's ports."""
    unshare = ["/usr/bin/unshare", "-Ur"]
    if support.run([*unshare, "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    said = told(support.run([*unshare, PYBIND, "--", "true"]))
    assert "in a user namespace" in said[1]


def test_no_sockets_of_af_unix(grant80):
    """The message blames a filter that forbids AF_UNIX, and not the kernel's version."""
    filtered = support.REPOSITORY / "tests/supervise/src/filtered.py"
    done = as_root("/usr/bin/python3", filtered, 97, "socket=1", support.UID,
                   PYBIND, "-p", "80", "true")  # fmt: skip
    said = told(done)
    assert "a filter denies the helper a socket of AF_UNIX" in said[0]
    assert "RestrictAddressFamilies=AF_UNIX" in said[1]
    assert os.uname().release not in done.stderr
