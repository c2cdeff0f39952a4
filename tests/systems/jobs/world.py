# SPDX-License-Identifier: GPL-3.0-or-later
"""What the jobs share inside of the machine: commands, logins, servers, holders of ports.

Also an image for podman and docker, made of the machine's files.
"""

import contextlib
import os
import pathlib
import pwd
import re
import shlex
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest

FILES = pathlib.Path(__file__).resolve().parent.parent / "files"
PATIENCE_S = 300  # emulated, on a machine that is busy, a start of Java takes two minutes
HELPER = "/usr/libexec/pybind/pybind-helper"
WEB = pathlib.Path("/srv/www")
PYTHON = f"/usr/bin/python3 -m http.server 80 --directory {WEB}"
BUSYBOX = f"/usr/bin/busybox httpd -f -p 80 -h {WEB}"
BIND = (
    "import socket; s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('0.0.0.0', {port})); "
    "print('bound', s.getsockname()[1])"
)
PAGE = "a page of alice's"
IMAGE = "localhost/test"  # of containers
ARCHIVE = pathlib.Path("/var/tmp/image.tar")
PUBLISHED = "127.0.0.1:80:8080"
BUSYBOX_INSIDE = ["busybox", "httpd", "-f", "-p", "80", "-h", "/srv/www"]
SERVE = ["busybox", "httpd", "-f", "-p", "8080", "-h", "/srv/www"]
SERVE_INSIDE = ["pybind", "--port", "80", "--", "python3", "-c", BIND.format(port=80)]
SUPERVISED_INSIDE = ["pybind", "--port", "80", "--", *BUSYBOX_INSIDE]
# The packages whose files make the image: Python, a shell, a few tools and pybind.
PACKAGES = (
    "base-files base-passwd libc6 libc-bin dash coreutils libacl1 libattr1 libselinux1 libgmp10 libssl3 libssl3t64 "
    "libpcre2-8-0 zlib1g libexpat1 libffi8 libcap2 libcap2-bin libseccomp2 libbz2-1.0 liblzma5 libcrypt1 libgcc-s1 "
    "python3 python3-minimal {python} {python}-minimal lib{python}-minimal lib{python}-stdlib "
    "python3-click python3-prctl python3-seccomp python3-colorama busybox-static util-linux libuuid1 netbase "
    "media-types libsystemd0 libzstd1 pybind-ports"
)
WITHOUT_PYBIND = "base-files base-passwd busybox-static netbase"
WITH_CONTENT = ("/etc/pybind", "/srv/www")


def figure(text):
    """Put a measured figure below the job's table."""
    with (pathlib.Path(os.environ["RESULTS"]) / "figures").open("a") as file:
        file.write(text + "\n")


def package():
    """Return the path of the package under test."""
    (path,) = FILES.glob("pybind-ports_*.deb")
    return path


def install():
    """Install the package as an administrator does, and make the page for the servers."""
    run(
        "apt-get",
        "-y",
        "install",
        package(),
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    WEB.mkdir(parents=True, exist_ok=True)
    (WEB / "index.html").write_text(PAGE + "\n")


def run(*argv, status=0, timeout=PATIENCE_S, **options):
    """Run argv to its end, which must have this status (None: any); return the output."""
    argv = [str(word) for word in argv]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", timeout=timeout, **options,
    )  # fmt: skip
    if status is not None:
        assert done.returncode == status, f"{argv}: status {done.returncode}\n{done.stdout}"
    return done.stdout


def login(user, command, **options):
    """Run a shell command in a login of the user, with PAM's session and limits."""
    return run("su", "-", user, "-c", command, **options)


def as_alice(command):
    """Return the argv of a login of alice that becomes `command`."""
    return ["su", "-", "alice", "-c", "exec " + command]


def wait_for(condition, what, patience=PATIENCE_S):
    """Wait until condition() is true; return its value."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.1)


def fetch(url="http://127.0.0.1/"):
    """Return the page, or None if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.read().decode(errors="replace")
    except (OSError, urllib.error.URLError):
        return None


def wait_for_page(server, page=PAGE):
    """Wait until port 80 answers with the page; server: words for the failure."""
    wait_for(lambda: page in (fetch() or ""), server)


def free(port):
    """Tell whether nobody listens on a TCP port."""
    return not run("ss", "-Hltn", f"sport = :{port}")


def holder_pid(port=80):
    """Return the process that listens on a TCP port."""
    return int(re.search(r"pid=(\d+)", run("ss", "-Hltnp", f"sport = :{port}"))[1])


def holder(port=80):
    """Return (user's name, command, effective capabilities) of a TCP port's listener."""
    lines = pathlib.Path(f"/proc/{holder_pid(port)}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    name = pwd.getpwuid(int(status["Uid"].split()[0])).pw_name
    return name, status["Name"].strip(), int(status["CapEff"], 16)


@contextlib.contextmanager
def started(argv, log="/run/server.log", **options):
    """Start argv in its own session; end the whole session afterwards."""
    with open(log, "w") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            **options,
        )  # fmt: skip
    try:
        yield process
    finally:
        for sig in (signal.SIGTERM, signal.SIGKILL):
            run("pkill", f"-{sig.value}", "-s", process.pid, status=None)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)


def serves(argv, page=PAGE, port=80, url=None, user="alice", log="/run/server.log", **options):
    """Run argv, which must serve a page by a process of the user's without a capability."""
    url = url or f"http://127.0.0.1:{port}/"
    with started(argv, log, **options) as process:
        wait_for(lambda: process.poll() is not None or fetch(url) is not None, f"{argv} to answer")
        said = pathlib.Path(log).read_text(errors="replace")
        assert page in (fetch(url) or ""), f"no page from {argv}:\n{said}"
        name, _, capabilities = holder(port)
        assert (name, capabilities) == (user, 0)
        pid = holder_pid(port)
    # The server may be in another session than its starter (systemd-run, machinectl).
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: free(port), f"port {port} to be free again")
    return said


def refused(command, *said, user="alice", status=125):
    """Run a command in a login, which must exit with 125 and print each of the texts."""
    text = login(user, command, status=status)
    for part in said:
        assert part in text, f"{part!r} is not in:\n{text}"
    return text


def every_way():
    """Check each mode, a socket handed on, a UDP bind, and a refusal without a grant."""
    serves(as_alice(f"pybind --port 80 -- {PYTHON}"))
    serves(as_alice(f"pybind --port 80 -- {BUSYBOX}"))
    serves(as_alice(f"pybind --mode supervise --port 80 -- {PYTHON}"))
    handed_on()
    datagram()
    refused("pybind --port 81 -- true", "pybindctl grant alice 81")


def handed_on():
    """Check that a program can take a listening socket."""
    code = "import socket; print(socket.socket(fileno=3).getsockname()[1])"
    assert login("alice", f"pybind --listen --port 80 -- python3 -c {shlex.quote(code)}") == "80\n"


def datagram(address="127.0.0.1"):
    """Check a bind of 53/udp."""
    code = f"import socket; s = socket.socket(2, 2); s.bind(('{address}', 53)); print(s.getsockname()[1])"
    assert login("alice", f"pybind --port 53/udp -- python3 -c {shlex.quote(code)}") == "53\n"


def unit(name, text, user=False):
    """Write a unit of the system or of alice, and reload the manager."""
    folder = pathlib.Path("/home/alice/.config/systemd/user" if user else "/etc/systemd/system")
    if user:
        run("install", "-d", "-o", "alice", "-g", "alice", "/home/alice/.config",
            "/home/alice/.config/systemd", folder)  # fmt: skip
    (folder / name).write_text(text)
    systemctl("daemon-reload", user=user)


def systemctl(*words, user=False, status=0):
    """Run systemctl for the system's manager or for alice's."""
    return run("systemctl", *(("--user", "-M", "alice@") if user else ()), *words, status=status)


def failed(name, user=False):
    """Tell whether a unit has failed."""
    return systemctl("is-active", name, user=user, status=None).strip() == "failed"


def unit_serves(name, user=False, page=PAGE, port=80, holds="alice", started_by=None):
    """Start a unit, check that it serves, and stop it."""
    systemctl("start", started_by or name, user=user)
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for(lambda: fetch(url) is not None or failed(name, user), f"{name} to answer")
        if page not in (fetch(url) or ""):
            pytest.fail(f"no page from {name}:\n{journal(name, user)}")
        if holds:
            assert holder(port)[::2] == (holds, 0)
    finally:
        systemctl("stop", *filter(None, (name, started_by)), user=user, status=None)
    wait_for(lambda: free(port), f"port {port} to be free again")


def journal(name, user=False):
    """Return the messages of a unit in this boot."""
    which = ("_UID=1000", f"USER_UNIT={name}") if user else ("-u", name)
    return run("journalctl", "-b", "--no-pager", "-o", "cat", *which, status=None)[-3000:]


def invocation(name, journalctl="journalctl"):
    """Return what the present or last invocation of a system's unit said."""
    identity = systemctl("show", "-P", "InvocationID", name).strip()
    return run(journalctl, "-b", "-o", "cat", f"_SYSTEMD_INVOCATION_ID={identity}")


def real(path):
    """Return a file's path without the links of a merged /usr above it."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def image_archive(packages=PACKAGES):
    """Pack the image as a tar file, with the helper's capability; return its path."""
    python = pathlib.Path("/usr/bin/python3").resolve().name
    names = packages.format(python=python).split()
    there = [
        name
        for name in names
        if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode == 0
    ]
    listed = run("dpkg", "-L", *there).splitlines()
    # podman refuses a file that occurs twice.
    left_out = (
        "/usr/share/doc/",
        "/usr/share/man/",
        "/proc",
        "/sys",
        "/run",
        "/dev",
        *WITH_CONTENT,
    )
    wanted = {
        real(path) for path in listed if path.startswith("/") and not path.startswith(left_out)
    }
    wanted |= {"/lib", "/lib64", "/bin", "/sbin", "/etc/passwd", "/etc/group", "/etc/ld.so.cache"}
    files = pathlib.Path("/run/files")
    files.write_text("".join(path + "\n" for path in sorted(wanted) if os.path.lexists(path)))
    words = ["--xattrs", "--xattrs-include=*", "--warning=no-timestamp"]
    run("tar", "-cf", ARCHIVE, *words, "--no-recursion", "-T", files, timeout=600)
    run("tar", "-rf", ARCHIVE, *words, *WITH_CONTENT)
    ARCHIVE.chmod(0o644)
    return ARCHIVE


def container_serves(command):
    """Run a container whose server must answer on port 80 of the host."""
    log = pathlib.Path("/run/container.log")
    with started(command, log) as process:
        wait_for(lambda: process.poll() is not None or fetch() is not None, "the container's page")
        assert PAGE in (fetch() or ""), log.read_text()
