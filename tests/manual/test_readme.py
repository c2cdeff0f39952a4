# SPDX-License-Identifier: GPL-3.0-or-later
"""Types every command of the README and of docs/ as a user with sudo; each must work.

The commands are the indented blocks of the pages, not the fenced ones. The test types
them page by page in their order; a repeated command is typed at its last place. The
user is alice, in a folder with the programs that the commands name. A command that
starts a server works if its port accepts a connection, any other if it exits with 0.
"""

import contextlib
import html
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import pytest
import support
from support import REPOSITORY

ALICE = 1000
# Pages whose commands do not work in a sandbox; the jobs of tests/systems type them.
ELSEWHERE = {"containers", "systems"}
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if page.stem not in ELSEWHERE]
INSTALL = (REPOSITORY / "docs/install.md").read_text()
TOOL_PATH = "/usr/local/bin:/usr/bin:/bin"  # a user's PATH in Debian, without sbin

# Commands that cannot be typed in the sandbox, each with the reason.
NOT_HERE = {
    "sudo make test": "it is what runs this test",
    "sudo make demo": "makes a sandbox of its own; test_pictures runs what it runs in it",
    "sudo apt-get": "there is no network; test_packages compares the names",
    "sudo make deb": "make test-deb builds the package, installs it and types what follows",
    "sudo apt install ./build": "the same",
    "sudo python3 -m venv": "tools/test-wheel types it and what follows, without a network",
    "sudo /opt/pybind": "the same",
    "sudo pybindd --trial": "only for process 1's mount namespace; tests/kernel types it with --cgroup",
    "sudo systemctl enable --now pybindd": "there is no systemd; the job kernel of tests/systems",
    "python3 -m http.server 80": "the same; tools/demo types it beside a pybindd",
    "sudo pybindctl log": "the same; tests/admin/test_log.py has a journal for it",
    "semanage": "this kernel has no SELinux",
    "restorecon": "the same",
    "ausearch": "the same",
}
NO_DRIFT = "sudo pybindctl apply --check"  # status 1 says that something would change
SERVER_PY = """#!/usr/bin/python3
import socket, sys
ports = [80, 443] if "--config" in sys.argv else [80]
socks = [socket.create_server(("0.0.0.0", port)) for port in ports]
while True:
    socks[0].accept()[0].close()
"""
RESOLVER_PY = """#!/usr/bin/python3
import socket
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.bind(("::1", 53))
while True:
    sock.sendto(*sock.recvfrom(512))
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"wsgi"]
"""
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"asgi"})
"""


def commands(page):
    """Return a page's commands without comments, each once, at its last place."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    lines = re.findall(r"^ {4,}(\S.*)$", text, re.M)
    bare = [re.sub(r"\s+#.*$", "", line) for line in lines]
    return [line for at, line in enumerate(bare) if line not in bare[at + 1 :]]


def typed(page):
    """Return the commands of a page that can be typed here."""
    return [line for line in commands(page) if not line.startswith(tuple(NOT_HERE))]


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def alice():
    """Return the home of a user with sudo, with every file that the README names."""
    home = support.scratch_dir()
    for name, line in {
        "passwd": f"alice:x:{ALICE}:{ALICE}::{home}:/bin/sh",
        "group": f"alice:x:{ALICE}:",
        "shadow": "alice:*:20000:0:99999:7:::",
        "sudoers.d/pybind-readme": "alice ALL=(ALL) NOPASSWD: ALL",
    }.items():
        path = pathlib.Path("/etc") / name
        old = path.read_text().splitlines() if path.exists() else []
        # Remove any account of this host with the same number or name.
        kept = [e for e in old if f":x:{ALICE}:" not in e and not e.startswith("alice:")]
        path.write_text("\n".join([*kept, line, ""]))
    executable(home / "server", SERVER_PY)
    executable(home / "resolver", RESOLVER_PY)
    (home / "grants.toml").write_text(re.search(r"^```toml\n(.*?)^```", INSTALL, re.M | re.S)[1])
    (home / "app.py").write_text(WSGI)
    (home / "api.py").write_text(ASGI)
    source = REPOSITORY / "tests/programs/src/Answer.java"
    subprocess.run(["javac", "-d", home, source], check=True)
    jar = ["jar", "--create", "--file", "app.jar", "--main-class", "Answer"]
    classes = sorted(path.name for path in home.glob("*.class"))
    subprocess.run([*jar, *classes], cwd=home, check=True)
    # The sandbox shares the host's /srv, so a tmpfs covers it in this mount namespace.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/srv"], check=True)
    (pathlib.Path("/srv") / "app").mkdir()
    executable(pathlib.Path("/srv/app/server"), SERVER_PY)
    byuid = pathlib.Path("/etc/authbind/byuid")
    shutil.rmtree(byuid.parent, ignore_errors=True)  # left by a failed test
    byuid.mkdir(parents=True)
    for folder in ("byport", "byaddr"):
        (byuid.parent / folder).mkdir()
    (byuid / str(ALICE)).write_text("0.0.0.0/0:81,81\n")
    yield home
    shutil.rmtree(byuid.parent)
    subprocess.run(["umount", "/srv"], check=True)


def descendants(pid):
    """Return pid and all processes below it."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def ended(pid):
    """Tell whether a process is gone, or a zombie without threads, which holds no port."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z" and len(threads) == 1


def end(process):
    """End a command and all its descendants."""
    pids = descendants(process.pid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    support.wait_for(lambda: all(map(ended, pids)), f"the end of {pids}")


def answers(line):
    """Tell whether the ports in a command accept connections now."""
    for addr, port, protocol in re.findall(r"--port '?(\[::1\]:)?(\d+)(?:/(\w+))?", line):
        host = "::1" if addr else "127.0.0.1"
        if protocol == "udp":
            if support.udp_echo(host=host, port=int(port)) is None:
                return False
            continue
        with socket.socket() as sock:
            if sock.connect_ex((host, int(port))) != 0:
                return False
    return True


def type_it(line, home):
    """Run one command as alice; fail unless it works."""
    serves = "--port" in line and "--check" not in line
    cwd = REPOSITORY if "make" in line.split() else home
    log = home / "log"
    with open(log, "w") as out:
        process = support.as_user(
            ["env", "-i", f"PATH={TOOL_PATH}", f"HOME={home}", "TERM=xterm", "sh", "-c", line],
            uid=ALICE, gid=ALICE, cwd=cwd, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        try:
            if serves:
                support.wait_for(lambda: process.poll() is not None or answers(line), line)
            else:
                process.wait(support.PATIENCE_S)
            right = (None,) if serves else (0, 1) if line.startswith(NO_DRIFT) else (0,)
            assert process.poll() in right, f"{line}\n{log.read_text()}"
        finally:
            end(process)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if typed(page)], ids=lambda page: page.stem
)
def test_commands(page, alice, installed):
    """All commands of a page work, in the order of the page."""
    support.clear_config()
    if page.stem != "README":  # readers of another page have read the README
        type_it("sudo pybindctl grant alice 80 443", alice)
    for line in typed(page):
        type_it(line, alice)


def test_pages_have_commands():
    """The README has more than ten commands, and all pages together more than thirty."""
    assert len(typed(PAGES[0])) > 10
    assert sum(len(typed(page)) for page in PAGES) > 30


def test_reasons_are_used():
    """Every command in the list of exceptions still stands in a page."""
    for prefix in NOT_HERE:
        assert any(line.startswith(prefix) for page in PAGES for line in commands(page)), prefix


def test_packages():
    """The packages of docs/install.md are those of tools/need for a build."""
    page = REPOSITORY / "docs/install.md"
    line = next(line for line in commands(page) if line.startswith("sudo apt-get install gcc"))
    build = re.search(r'^build="(.*)"$', (REPOSITORY / "tools/need").read_text(), re.M)[1]
    assert {*line.split()[3:]} == {*build.split()} - {"linux-libc-dev"}  # libc6-dev brings it


def shown(picture):
    """Return the words of a picture, in their order."""
    svg = picture.read_text()
    assert "http" not in re.sub(r"<text.*?</text>|<!--.*?-->|xmlns=\"[^\"]*\"", "", svg)
    parts = re.findall(r'<text class="demo-r\d+" x="[\d.]+" y="([\d.]+)"[^>]*>([^<]*)</text>', svg)
    rows = {}
    for y, text in parts:
        rows[float(y)] = rows.get(float(y), "") + html.unescape(text).replace("\xa0", " ")
    return " ".join(rows[y] for y in sorted(rows)).split()


def test_pictures():
    """The pictures show what the demonstration prints; only the server's process ID differs."""
    environ = {**os.environ, "PYBIND_SANDBOX": str(support.scratch_dir())}
    done = subprocess.run([REPOSITORY / "tools/demo"], env=environ, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
    first, mark, second = re.sub(r"\x1b\[\d*m", "", done.stdout).partition("5. pybindd")
    printed = {"demo": first.split(), "kernel": (mark + second).split()}
    if "not here:" in second:  # this kernel cannot judge; tests/kernel says so as a skip
        del printed["kernel"]
    for name, words in printed.items():
        words[:] = ["N" if before == "-p" else word for before, word in zip(["", *words], words)]
        drawn = shown(REPOSITORY / f"docs/{name}.svg")
        drawn = ["N" if before == "-p" else word for before, word in zip(["", *drawn], drawn)]
        assert drawn == words, "make the pictures anew: tools/picture.py"
