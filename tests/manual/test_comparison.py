# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries what docs/alternatives.md says of setcap, ambient capabilities, the sysctl and authbind.

Redirects, proxies and systemd units are not tried here.
"""

import pathlib
import subprocess

import pytest
import support
from support import GID, UID

BINDS = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
int main(int argc, char **argv)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 80)};
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(sock, (struct sockaddr *)&addr, sizeof addr) != 0)
        return perror("bind"), 1;
    return puts("bound") < 0;
}
"""
LIBRARY = '__attribute__((constructor)) static void f(void) { __builtin_puts("loaded"); }'
NNP = ["setpriv", "--no-new-privs"]


@pytest.fixture(scope="module")
def program():
    """Compile a dynamic program that binds one port."""
    return support.compile_c(BINDS)


@pytest.fixture
def capable(program):
    """Return a copy of the program with the file capability."""
    path = support.scratch_dir() / "capable"
    subprocess.run(["install", "-m", "0755", program, path], check=True)
    subprocess.run(["setcap", "cap_net_bind_service=ep", path], check=True)
    return path


@pytest.fixture(scope="module")
def library():
    """Compile a library that says when it is loaded."""
    return support.compile_c(LIBRARY, "-shared", "-fPIC", name="own.so")


def binds(*argv, **options):
    done = support.run(argv, **options)
    return done.stdout.endswith("bound\n")


def ambient(*argv):
    """Run argv as a unit with User= and AmbientCapabilities= would."""
    give = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]
    who = ["--reuid", str(UID), "--regid", str(GID), "--clear-groups"]
    return subprocess.run(["setpriv", *who, *give, *map(str, argv)],
                          capture_output=True, text=True, cwd="/").stdout  # fmt: skip


def test_setcap_on_the_program(program, capable, library):
    """setcap gives everybody all ports, fails with no_new_privs and LD_*, and is lost by upgrades."""
    assert not binds(program)
    assert binds(capable) and binds(capable, "443") and binds(capable, uid=support.OTHER_UID)
    assert not binds(*NNP, capable)
    preloaded = ["env", f"LD_PRELOAD={library}"]
    assert "loaded" not in support.run([*preloaded, capable]).stdout
    subprocess.run(["install", "-m", "0755", program, capable], check=True)  # an upgrade
    assert not binds(capable)


def test_ambient_capabilities(program, library):
    """Ambient capabilities give the unit all ports, and work with no_new_privs and LD_*."""
    assert ambient(program) == "bound\n" == ambient(program, "443")
    assert ambient(*NNP, program) == "bound\n"
    assert ambient("env", f"LD_PRELOAD={library}", program).endswith("loaded\nbound\n")


def test_sysctl(program):
    """The sysctl gives everybody all ports from a number up, and works with no_new_privs."""
    start = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    start.write_text("80")
    try:
        assert binds(program) and binds(program, "443") and binds(*NNP, program)
        assert not binds(program, "79")
    finally:
        start.write_text("1024")


def test_authbind(program):
    """authbind gives single ports to dynamic programs only, and fails with no_new_privs."""
    real = "/usr/bin/authbind"  # PATH may lead to pybind's own authbind first
    folder = pathlib.Path("/etc/authbind/byport")
    subprocess.run(["rm", "-rf", folder.parent], check=True)  # left by a failed test
    for path in (folder, folder.with_name("byaddr"), folder.with_name("byuid")):
        path.mkdir(parents=True)
    (folder / "80").touch(0o755)
    static = support.compile_c(BINDS, "-static")
    try:
        assert binds(real, program) and not binds(real, program, "443")
        assert not binds(real, static) and not binds(real, *NNP, program)
    finally:
        subprocess.run(["rm", "-r", "/etc/authbind"], check=True)


def test_pybind(grant80, program, library):
    """pybind is what its column says."""
    under = [support.PYBIND, "-p", "80", "--"]
    static = support.compile_c(BINDS, "-static")
    assert binds(*under, program) and binds(*under, static)
    assert not binds(*under, *NNP, program)
    assert "loaded" in support.run(["env", f"LD_PRELOAD={library}", *under, program]).stdout
