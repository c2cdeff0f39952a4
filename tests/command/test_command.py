# SPDX-License-Identifier: GPL-3.0-or-later
"""The command as a user types it, on the installed command, and what its start imports."""

import contextlib
import pathlib
import socket
import subprocess
import sysconfig

import pytest
import support
from support import PREFIX, UID, flag, pybind, rules

BIND = """
import socket, sys
for word in sys.argv[1:]:
    host, port, kind = word.split(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    try:
        sock.bind((host, int(port)))
        print(word, "bound")
    except OSError as error:
        print(word, error.errno)
    sock.close()
"""


def binds(*words, options=()):
    """Run a program under pybind that binds each HOST,PORT,PROTO; return what it printed."""
    done = pybind(*options, "--", "/usr/bin/python3", "-c", BIND, *words)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


def test_who_owns_words_after_the_program():
    """Every word after PROGRAM is an argument of PROGRAM, even if it looks like an option."""
    echo = ["/usr/bin/printf", "%s;"]
    assert pybind(*echo, "--port", "-x", "--", "", "--help").stdout == "--port;-x;--;;--help;"
    assert pybind("--", *echo, "--", "-v").stdout == "--;-v;"
    folder = support.scratch_dir()
    (folder / "-x").write_text("#!/bin/sh\necho dash\n")
    (folder / "-x").chmod(0o755)
    done = pybind("--", "-x", env={"PATH": f"{folder}:/usr/bin:/bin"})
    assert done.stdout == "dash\n"


def test_exit_status():
    """The exit status is the program's, or says the signal that ended it."""
    assert pybind("sh", "-c", "exit 37").returncode == 37
    assert pybind("sh", "-c", "kill -TERM $$").returncode == -15


def test_version_and_help():
    """--version and --help exit with 0 and print to stdout."""
    assert pybind("--version").stdout == "pybind 0.1.0\n"
    text = pybind("--help").stdout
    for option in ("--port", "--depth", "--deep", "--mode", "--verbose", "--quiet", "--check"):
        assert option in text


def test_check():
    """--check exits with 0, 125, 126 or 127 as a start would, and starts and binds nothing."""
    flag("byport/80")
    granted = pybind("--check", "--port", "80", "--port", "80/udp", "false")
    assert granted.returncode == 0
    assert "0.0.0.0:80/tcp: granted (/etc/pybind/byport/80)" in granted.stdout
    assert "[::]:80/udp: granted" in granted.stdout
    assert pybind("--check", "--port", "80").returncode == 0
    assert pybind("--check", "--port", "443", "true").returncode == 125
    assert pybind("--check", "--port", "80", "/etc").returncode == 126
    assert pybind("--check", "--port", "80", "/nonexistent").returncode == 127
    assert pybind("--check", "true").returncode == 0
    assert pybind("--check").returncode == 125


@pytest.mark.parametrize("options", [[], ["--listen"]], ids=" ".join)
def test_check_without_the_program(grant80, options):
    """A program that is not there hides no answer about the ports."""
    granted = pybind("--check", *options, "--port", "80", "no-such-program")
    assert granted.returncode == 127
    assert "80/tcp: granted (/etc/pybind/byport/80)" in granted.stdout
    assert "'no-such-program': not found" in granted.stderr
    refused = pybind("--check", *options, "--port", "443", "no-such-program")
    assert refused.returncode == 125
    assert "sudo pybindctl grant nobody 443/tcp" in refused.stderr
    assert "'no-such-program': not found" in refused.stderr


def test_port_limits(grant80):
    """With --port only listed ports are served; without --port every granted port is."""
    flag("byport/443")
    rules(f"byuser/{UID}", "any,53")
    all_of = ("127.0.0.1,80,tcp", "127.0.0.1,443,tcp", "::1,53,udp", "127.0.0.1,22,tcp")
    assert list(binds(*all_of).values()) == ["bound", "bound", "bound", "13"]
    assert list(binds(*all_of, options=["--port", "443"]).values()) == ["13", "bound", "13", "13"]
    listed = ["--port", "127.0.0.1:80/tcp", "--port", "53/udp"]
    assert list(binds(*all_of, options=listed).values()) == ["bound", "13", "bound", "13"]
    assert binds("127.0.0.2,80,tcp", "127.0.0.1,80,udp", "::ffff:127.0.0.1,80,tcp",
                 options=listed) == {  # fmt: skip
        "127.0.0.2,80,tcp": "13", "127.0.0.1,80,udp": "13", "::ffff:127.0.0.1,80,tcp": "bound"
    }  # fmt: skip


def test_nested_narrows(grant80):
    """A nested pybind serves the ports that both list, and refuses others before the start."""
    flag("byport/443")
    done = pybind("-p", "80", "-p", "443", support.PYBIND, "-p", "443", "--", "/usr/bin/python3",
                  "-c", BIND, "127.0.0.1,80,tcp", "127.0.0.1,443,tcp")  # fmt: skip
    assert done.stdout == "127.0.0.1,80,tcp 13\n127.0.0.1,443,tcp bound\n"
    done = pybind("-p", "80", support.PYBIND, "-p", "443", "true")
    assert done.returncode == 125
    assert "not among the ports of the pybind that started this one" in done.stderr


@pytest.mark.parametrize(
    ("depth", "expected"), [(1, "13"), (2, "13"), (3, "bound"), (None, "bound")]
)
@pytest.mark.hostile("R9")
def test_depth(grant80, depth, expected):
    """--depth N serves the first N programs of a chain; --deep or no option serves all."""
    inner = 'exec sh -c \'exec /usr/bin/python3 -c "$0" "$1"\' "$0" "$1"'
    options = ["--depth", depth] if depth else ["--deep"]
    done = pybind(*map(str, options), "sh", "-c", inner, BIND, "127.0.0.1,80,tcp")
    assert done.stdout.split()[-1:] == [expected], done.stderr


def test_depth_keeps_other_libraries(grant80):
    """Where --depth ends, only pybind's library leaves LD_PRELOAD."""
    other = f"/lib/{sysconfig.get_config_var('MULTIARCH')}/libm.so.6"
    environment = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": other}
    done = pybind("--depth", "1", "sh", "-c", "env", env=environment)
    assert f"LD_PRELOAD={other}\n" in done.stdout


@pytest.fixture
def unprivileged_start():
    """Return a setter of ip_unprivileged_port_start; the old value is put back."""
    name = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    with open(name, encoding="ascii") as file:
        before = file.read()

    def setter(value):
        with open(name, "w", encoding="ascii") as file:
            file.write(str(value))

    yield setter
    setter(before)


@pytest.mark.parametrize("start", [0, 80, 1024, 2000])
@pytest.mark.hostile(30, "R20")
def test_unprivileged_port_start(unprivileged_start, start):
    """The sysctl says which ports are privileged, below 1024 and above."""
    unprivileged_start(start)
    flag("byport/1500")
    granted = binds("127.0.0.1,79,tcp", "127.0.0.1,80,tcp", "127.0.0.1,1500,tcp", "::1,1999,udp")
    for word, port in (("127.0.0.1,79,tcp", 79), ("127.0.0.1,80,tcp", 80), ("::1,1999,udp", 1999)):
        assert granted[word] == ("bound" if port >= start else "13"), word
    assert granted["127.0.0.1,1500,tcp"] == "bound"
    for port in (79, 80, 1500, 1999):
        expected = 0 if port >= start or port == 1500 else 125
        assert pybind("--port", str(port), "true").returncode == expected, port


def test_without_ipv6(grant80):
    """Nothing is refused because the host has no IPv6."""
    setting = pathlib.Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    before = setting.read_text()
    setting.write_text("1")
    try:
        done = pybind("--port", "80", "true")
        assert (done.returncode, done.stderr) == (0, "")
        assert binds("127.0.0.1,80,tcp", options=["--port", "80"]) == {"127.0.0.1,80,tcp": "bound"}
    finally:
        setting.write_text(before)
        for state in ("down", "up"):  # lo gets ::1 back
            subprocess.run(["ip", "link", "set", "lo", state], check=True)


def test_root_is_started_with_the_library():
    """Root's program needs no grant, but gets the library: it may become another user."""
    done = subprocess.run([support.PYBIND, "-v", "--port", "80", "env"], capture_output=True,
                          text=True, cwd="/")  # fmt: skip
    assert done.returncode == 0
    assert f"LD_PRELOAD={support.LIBRARY}\n" in done.stdout
    assert "served by the preload library, for processes of other users" in done.stderr


def test_nothing_privileged_is_started_plainly():
    """The program gets no library if no listed port needs a grant."""
    done = pybind("--port", "8080", "env")
    assert (done.returncode, "LD_PRELOAD" in done.stdout) == (0, False)


@pytest.mark.hostile("R17")
def test_silence(grant80):
    """After the start pybind prints nothing, unless -v asked for it."""
    script = [*("--", "/usr/bin/python3", "-c", BIND), "127.0.0.1,80,tcp", "127.0.0.1,81,tcp"]
    assert pybind("--port", "80", *script).stderr == ""
    assert pybind(*script).stderr == ""
    told = pybind("-v", *script).stderr
    assert "served by the preload library" in told
    assert "bind of port 80/tcp (IPv4): granted, /etc/pybind/byport/80" in told
    assert "bind of port 81/tcp (IPv4): no permission file grants it" in told


def test_script_without_interpreter_line(grant80):
    """A script without #! is run by /bin/sh, as execvp(3) does."""
    path = support.scratch_dir() / "script"
    path.write_text("echo $0 $1\n")
    path.chmod(0o755)
    assert pybind("--port", "80", path, "x").stdout == f"{path} x\n"


def test_unreadable_program(grant80):
    """A program of mode 0711 is started with the library."""
    path = support.scratch_dir() / "python"
    subprocess.run(["cp", "/usr/bin/python3", path], check=True)
    path.chmod(0o711)
    done = pybind("--port", "80", path, "-c", BIND, "127.0.0.1,80,tcp")
    assert done.stdout == "127.0.0.1,80,tcp bound\n"


def test_restart_beside_a_reuseport_server(grant80):
    """An overlapping restart of the same user's server with SO_REUSEPORT passes the proof."""
    code = ("import socket,sys;s=socket.socket();s.setsockopt(1,15,1);s.bind(('0.0.0.0',80));"
            "s.listen();print('up',flush=True);sys.stdin.read()")  # fmt: skip
    first = support.as_user([support.PYBIND, "/usr/bin/python3", "-c", code], text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    with first:
        assert first.stdout.readline() == "up\n"
        assert pybind("--port", "80", "true").returncode == 0
        first.stdin.close()
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 80))


SYSLOG = r"""
mount -t tmpfs -o mode=0755 tmpfs /mnt
for node in null zero urandom; do touch /mnt/$node; mount --bind /dev/$node /mnt/$node; done
ln -s "$1" /mnt/log
mount --move /mnt /dev
for port in 80 443; do
    setpriv --reuid 65534 --regid 65534 --clear-groups env "$2" --port $port true
done
true
"""


def test_syslog(grant80):
    """Each start and each refusal is one line in syslog (auth)."""
    path = support.scratch_dir() / "log"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.settimeout(support.PATIENCE_S)
        subprocess.run(["unshare", "-m", "sh", "-c", SYSLOG, "sh", path, support.PYBIND],
                       check=True, cwd="/", stderr=subprocess.DEVNULL)  # fmt: skip
        started, refused = (listener.recv(4096).decode() for _ in range(2))
    assert started.startswith("<38>")  # auth.info
    assert f"uid {UID} starts /usr/bin/true, served by the preload library; ports: 80" in started
    assert refused.startswith("<37>")  # auth.notice
    assert f"not started: nobody (uid {UID}) may not bind port 443/tcp" in refused


# -- the launch path imports only what it needs, because imports are most of its cost

# Each of these, with its own imports, takes longer than all modules of pybind.
SLOW = {"_collections_abc", "click", "collections", "contextlib", "enum", "functools", "os", "re",
        "signal", "site", "socket", "stat", "subprocess", "typing"}  # fmt: skip
ALWAYS = {"cli", "_lean", "_wire", "diagnose", "errors", "helper", "launch", "log", "model", "options",
          "paths", "plan", "target"}  # fmt: skip
TELL = """
import sys
sys.path.insert(0, sys.argv[1])
import posix
def tell(*_):
    print(*sys.modules)
    sys.stdout.flush()
    posix._exit(0)
posix.execve = tell
from pybind.cli import main
sys.exit(main(sys.argv[2:], "ooodd:-1:-1:-1"))
"""


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([], set()),
        (["--port", "80"], {"binding", "listed", "output", "ports"}),
        (["--port", "80/tcp", "--depth", "2", "-q"], {"binding", "listed", "output", "ports"}),
        (
            ["--listen", "--port", "80"],
            {"binding", "listed", "listening", "output", "ports"},
        ),
    ],
)
def test_imports(options, more):
    """No slow module is loaded, and of pybind exactly the modules that the options need."""
    flag("byport/80")
    python = ["/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", TELL, f"{PREFIX}/share/pybind"]
    done = support.run([*python, *options, "--", "/bin/true"])
    modules = set(done.stdout.split())
    ours = {name.partition(".")[2] for name in modules if name.startswith("pybind.")}
    assert ours == ALWAYS | more, done.stderr
    assert not modules & SLOW


def test_starter_leaves_site_packages_to_who_needs_them():
    """bin/pybind starts Python with -S, but --help still finds click."""
    done = support.run([f"{PREFIX}/bin/pybind", "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "--port" in done.stdout
