# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of the system and of a user, and other ways to become the serving user."""

import pathlib
import re

import pytest
import servers
import world

EXAMPLES = pathlib.Path("/usr/share/doc/pybind-ports/examples")
SERVED = f"/usr/bin/pybind --port 80 -- {world.PYTHON}"
SERVICE = "[Service]\nUser=alice\n{options}\nExecStart=" + SERVED + "\n"
AS_USER = "[Service]\nExecStart={command}\n[Install]\nWantedBy=default.target\n"

# Options of systemd.exec(5) with which the helper works.
FINE = [
    "Type=exec", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "ProtectSystem=strict", "ProtectHome=true",
    "PrivateTmp=true", "ProtectControlGroups=true", "ProtectProc=invisible", "ProcSubset=pid",
    "InaccessiblePaths=/etc/ssl", "UMask=0777", "LimitNOFILE=16", "MemoryMax=200M", "PrivateMounts=true",
    "BindReadOnlyPaths=/usr", "RootDirectory=/", "IgnoreSIGPIPE=no", "StandardError=null",
    "KeyringMode=private", "PrivateIPC=true", "CPUSchedulingPolicy=idle", "Delegate=yes",
]  # fmt: skip
# Since this version systemd installs a filter of system calls before it gives root's rights away.
# Before, a unit with a filter and User= had no_new_privs.
FILTERS_AS_ROOT = 254
VERSION = int(re.search(r"\d+", world.run("systemctl", "--version"))[0])
FILTERS = [
    "PrivateDevices=true", "SystemCallFilter=@system-service", "RestrictNamespaces=true",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "ProtectKernelTunables=true",
    "ProtectKernelModules=true", "ProtectClock=true", "LockPersonality=true",
    "MemoryDenyWriteExecute=true", "RestrictRealtime=true", "RestrictSUIDSGID=true",
]  # fmt: skip
# Options with which the helper cannot work -> a word of the reason that pybind gives.
REFUSED = {
    "NoNewPrivileges=true": "no_new_privs",
    "RestrictAddressFamilies=AF_INET AF_INET6": (
        "RestrictAddressFamilies=AF_UNIX" if VERSION >= FILTERS_AS_ROOT else "no_new_privs"
    ),
    "PrivateUsers=true": "user namespace",
    "CapabilityBoundingSet=": "bounding set",
    "NoExecPaths=/usr/libexec": "pybind-helper",
    "InaccessiblePaths=/etc/pybind": "/etc/pybind",
    "TemporaryFileSystem=/etc": "TemporaryFileSystem=",
    "PrivateNetwork=true": None,  # binds in its own network, where nobody can reach it
}
WAYS = {
    "su": ["su", "alice", "-c", "exec " + SERVED],
    "su, a login": world.as_alice(SERVED),
    "runuser": ["runuser", "-u", "alice", "--", *SERVED.split()],
    "sudo -u": ["sudo", "-u", "alice", *SERVED.split()],
    "setpriv": [
        "setpriv",
        "--reuid",
        "alice",
        "--regid",
        "alice",
        "--init-groups",
        *SERVED.split(),
    ],
    "systemd-run": ["systemd-run", "--uid=alice", "--wait", "--pipe", *SERVED.split()],
    "pybind --user": ["pybind", "--user", "alice", *SERVED.split()[1:]],
    "machinectl shell": ["machinectl", "shell", "alice@", *SERVED.split()],
}


def example(name):
    """Return an example's text as the package has it."""
    return (EXAMPLES / name).read_text().replace("/usr/local/bin/", "/usr/bin/")


@pytest.fixture(scope="module", autouse=True)
def app():
    """Make the program that the examples start, and the user app with a grant of port 80."""
    servers.APP.mkdir(exist_ok=True)
    for name in ("Hello.java", "app.py"):
        (servers.APP / name).write_text(servers.SOURCES[name])
    world.run("javac", servers.APP / "Hello.java", timeout=300)
    (servers.APP / "manifest").write_text("Main-Class: Hello\n")
    world.run("sh", "-c", "cd /srv/app && jar cfm app.jar manifest Hello*.class", timeout=300)
    world.run("cp", "-r", servers.APP, "/home/alice/")
    world.run("chown", "-R", "alice:", "/home/alice/app")
    world.run("pybindctl", "grant", "--yes", "app", "80")


@pytest.mark.parametrize("argv", WAYS.values(), ids=WAYS)
def test_way_to_become_the_user(argv):
    """Started by {}."""
    world.serves(argv)


@pytest.mark.parametrize("option", FINE)
def test_service(option):
    """A service of the system with {}."""
    world.unit("server.service", SERVICE.format(options=option))
    world.unit_serves("server.service")


@pytest.mark.parametrize("option", FILTERS)
def test_service_with_a_filter(option):
    """A service with {} is served; before systemd 254 it is refused, with the reason."""
    if VERSION >= FILTERS_AS_ROOT:
        test_service(option)
    else:
        refused_service(option, "no_new_privs")


def refused_service(option, reason):
    """Start a service with an option, which pybind must end with a word of the reason."""
    world.unit("server.service", SERVICE.format(options=option))
    world.systemctl("start", "server.service", status=None)
    ended = "the unit to fail or to serve"
    world.wait_for(lambda: world.failed("server.service") or world.fetch(), ended)
    assert world.systemctl("show", "-P", "ExecMainStatus", "server.service").strip() == "125"
    assert reason in world.invocation("server.service")
    world.systemctl("reset-failed", "server.service", status=None)


@pytest.mark.parametrize("option", REFUSED)
def test_service_in_which_no_helper_works(option):
    """A service with {} is refused, with the reason."""
    reason = REFUSED[option]
    if reason:
        refused_service(option, reason)
        return
    unbuffered = "\nEnvironment=PYTHONUNBUFFERED=1"  # so that the journal has its line at once
    world.unit("server.service", SERVICE.format(options=option + unbuffered))
    world.systemctl("start", "server.service")
    try:
        world.wait_for(
            lambda: "Serving HTTP" in world.journal("server.service"), "the server to serve there"
        )
        assert world.fetch() is None
    finally:
        world.systemctl("stop", "server.service")


def test_example_service():
    """examples/systemd/app.service."""
    world.unit("app.service", example("systemd/app.service"))
    world.unit_serves("app.service", page="from java", holds="app")


def test_example_socket():
    """examples/systemd/app-hardened.socket, no pybind in it."""
    world.unit("app-hardened.socket", example("systemd/app-hardened.socket"))
    world.unit("app-hardened.service", example("systemd/app-hardened.service"))
    world.unit_serves(
        "app-hardened.service", page="from wsgi", holds=None, started_by="app-hardened.socket"
    )


def test_ambient_capability():
    """A service with AmbientCapabilities= and no_new_privs needs no helper."""
    options = "NoNewPrivileges=true\nAmbientCapabilities=CAP_NET_BIND_SERVICE"
    world.unit("server.service", SERVICE.format(options=options))
    world.unit_serves("server.service", holds=None)


@pytest.fixture(scope="module")
def lingering():
    """Let alice's manager run without a login."""
    world.run("loginctl", "enable-linger", "alice")
    world.wait_for(lambda: pathlib.Path("/run/user/1000/bus").exists(), "alice's manager")


@pytest.mark.parametrize("program", ["preload", "supervised"])
def test_unit_of_a_user(lingering, program):
    """A unit of the user's own manager, with lingering, {}."""
    served = {"preload": world.PYTHON, "supervised": world.BUSYBOX}[program]
    world.unit(
        "own.service", AS_USER.format(command="/usr/bin/pybind --port 80 -- " + served), user=True
    )
    world.unit_serves("own.service", user=True)


@pytest.mark.parametrize(("name", "page"), [("app", "from java"), ("app-sandboxed", "from wsgi")])
def test_example_of_a_user(lingering, name, page):
    """examples/systemd/user/{}."""
    world.unit(f"{name}.service", example(f"systemd/user/{name}.service"), user=True)
    world.unit_serves(f"{name}.service", user=True, page=page)


def test_script_of_system_v():
    """examples/sysv/app, started and stopped by its user."""
    script = pathlib.Path("/etc/init.d/app")
    script.write_text(example("sysv/app"))
    script.chmod(0o755)
    world.run("chown", "-R", "app:", "/srv/app")
    world.run(script, "start")
    world.wait_for_page("the script's server", "from java")
    assert world.holder()[::2] == ("app", 0)
    world.login("app", "/etc/init.d/app status")
    world.login("app", "/etc/init.d/app stop")
    world.wait_for(lambda: world.free(80), "port 80 to be free")
    script.unlink()


def test_socket_bind_deny():
    """SocketBindDeny= of systemd wins, where systemd is built with BPF."""
    if "-BPF_FRAMEWORK" in world.run("systemctl", "--version"):
        pytest.skip("this systemd is built without BPF: the option does nothing")
    world.unit("server.service", SERVICE.format(options="SocketBindDeny=tcp:80"))
    world.systemctl("start", "server.service", status=None)
    world.wait_for(
        lambda: re.search("refused|denied|not permitted", world.journal("server.service"), re.I),
        "a refusal",
    )
    assert world.fetch() is None
    world.systemctl("stop", "server.service")
