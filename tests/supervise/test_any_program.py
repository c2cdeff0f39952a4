# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that no preload library reaches, on port 80: each answers."""

import pathlib
import platform
import shutil
import subprocess

import launching
import pytest
import supervising
import support
from supervising import under_pybind

pytestmark = pytest.mark.usefixtures("grant80")


def answer_of(argv, **options):
    """Return the IPv4 answer of the server argv, whose log must not name pybind."""
    with support.server(argv, ready=support.answers_http, **options) as process:
        body = support.http_get()
        assert "pybind:" not in process.log.read_text(errors="replace")
    return body.decode()


@pytest.fixture(scope="session")
def dynamic_server():
    """Return src/server.c as a dynamic program."""
    return launching.server()


@pytest.mark.hostile(61)
@pytest.mark.program("Go net/http", "golang-go")
def test_go():
    """A Go net/http server, built without cgo, answers over IPv4 and IPv6."""
    with support.server(under_pybind(launching.go_server()), ready=support.answers_http) as process:
        assert support.http_get() == support.http_get("::1") == b"go net/http"
        assert process.log.read_text() == ""


def without_section_headers(program):
    """Remove the section headers, which no kernel or loader needs, as sstrip does."""
    data = bytearray(program.read_bytes())
    data[40:48] = bytes(8)  # e_shoff
    data[60:64] = bytes(4)  # e_shnum, e_shstrndx
    program.write_bytes(data)


def copied(program):
    """Return a copy of a program that UID can run."""
    return pathlib.Path(shutil.copy(program, support.scratch_dir() / program.name))


@pytest.mark.parametrize("less", ["as built", "strip", "no section headers"])
def test_cgo_without_a_build_id(less):
    """A dynamic Go program whose build id was left out is known all the same, and served."""
    program = copied(launching.cgo_server())
    if less == "strip":
        subprocess.run(["/usr/bin/strip", program], check=True)
    elif less == "no section headers":
        without_section_headers(program)
    notes = subprocess.run(["/usr/bin/readelf", "-nlW", program], capture_output=True, text=True)
    assert "INTERP" in notes.stdout
    assert "Go  " not in notes.stdout
    with support.server(under_pybind(program), ready=support.answers_http):
        assert support.http_get() == b"cgo"


def test_dynamic_program_without_section_headers():
    """A C program without section headers stays one that the library serves."""
    program = copied(pathlib.Path("/usr/bin/python3").resolve())
    without_section_headers(program)
    done = support.run([support.PYBIND, "-v", "--", program, "-c", "pass"])
    assert done.returncode == 0, done.stderr
    assert "dynamically linked" in done.stderr


@pytest.mark.program("Caddy", "caddy")
@pytest.mark.parametrize("command", ["file-server", "respond"])
def test_caddy(command):
    """Debian's caddy answers, as file server and with a fixed answer."""
    words, environ = launching.caddy(command)
    with support.server(under_pybind(*words), ready=support.answers_http, env=environ):
        for host in ("127.0.0.1", "::1"):
            assert support.http_get(host, path="/hello") == b"caddy"


@pytest.mark.program("busybox httpd", "busybox-static")
def test_busybox_httpd():
    """The web server of Debian's busybox-static answers with a file."""
    argv = under_pybind(*launching.busybox_httpd())
    with support.server(argv, ready=support.answers_http):
        assert support.http_get(path="/hello") == b"busybox"


@pytest.mark.program("server.c, static glibc")
@pytest.mark.parametrize("how", ["bind", "syscall"])
def test_static_glibc(static_server, how):
    """A static program answers, by the C library's bind and by its own system call."""
    assert answer_of(under_pybind(static_server, how)) == f"{how} 6 80"


@pytest.mark.program("server.c, static musl")
def test_static_musl():
    """A static program of musl answers."""
    assert answer_of(under_pybind(launching.server_musl())) == "bind 6 80"


@pytest.mark.program("server.c, MPTCP")
@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_mptcp(static_server, dynamic_server, mode):
    """An MPTCP server answers, and its socket is still one of MPTCP."""
    static = mode == "static"
    program = static_server if static else dynamic_server
    argv = under_pybind(program, "mptcp", mode="auto" if static else "supervise")
    assert answer_of(argv) == "mptcp 262 80"


@pytest.mark.program("server.c, dynamic")
@pytest.mark.parametrize("how", ["bind", "syscall"])
def test_dynamic_with_supervise(dynamic_server, how):
    """--mode supervise serves a dynamic program, and syscall(SYS_bind) in it."""
    assert answer_of(under_pybind(dynamic_server, how, mode="supervise")) == f"{how} 6 80"


@pytest.mark.program("server.c, bindresvport")
@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.hostile(61)
def test_bindresvport(static_server, dynamic_server, mode):
    """glibc's bindresvport gets a port of 600 to 1023 where ! entries grant them."""
    static = mode == "static"
    support.rules(f"byuser/!{support.UID}", "any,600-1023")
    program = static_server if static else dynamic_server
    argv = under_pybind(program, "bindresvport", mode="auto" if static else "supervise", ports=())
    log = support.scratch_dir() / "log"
    with open(log, "wb") as file:
        process = support.as_user(argv, stdout=file, stderr=file)
        try:
            support.wait_for(lambda: b"\n" in log.read_bytes(), "bindresvport to bind")
            how, protocol, port = log.read_text().split()
            assert (how, protocol) == ("bindresvport", "6")
            assert 600 <= int(port) <= 1023
            assert support.http_get(port=int(port)).decode() == f"bindresvport 6 {port}"
        finally:
            process.terminate()
            process.wait(support.PATIENCE_S)


@pytest.mark.program("server.c, i386")
@pytest.mark.parametrize("how", ["bind", "syscall", "socketcall"])
def test_program_of_32_bits(how):
    """An i386 program answers, by bind's own system call and by socketcall."""
    server32 = launching.server32()
    launching.skip_unless_machine_can(server32, how)
    assert answer_of(under_pybind(server32, how)) == f"{how} 6 80"


@pytest.mark.program("server.c, i386 and x32 calls")
@pytest.mark.parametrize("how", ["int80", "int80-socketcall", "x32"])
def test_other_system_calls_of_a_64_bit_program(static_server, how):
    """The i386 and x32 system calls of a 64-bit program are served too."""
    if not launching.INTEL:
        pytest.skip(f"only x86_64 has such system calls, this is {platform.machine()}")
    launching.skip_unless_machine_can(static_server, how)
    assert answer_of(under_pybind(static_server, how)) == f"{how} 6 80"


@pytest.mark.program("shell script")
@pytest.mark.parametrize("end", ["wait", "exit 0"])
def test_shell_script_with_a_static_server(static_server, end):
    """A script that starts a static server, and waits for it or ends before it."""
    script = support.scratch_dir() / "script"
    script.write_text(f"#!/bin/sh\n{static_server} bind & echo $! >&2\n{end}\n")
    script.chmod(0o755)
    log = support.scratch_dir() / "log"
    with open(log, "wb") as file:
        process = support.as_user(
            under_pybind(script, mode="supervise"), stdout=subprocess.DEVNULL, stderr=file
        )
    try:
        support.wait_for(support.answers_http, "the server of the script")
        assert support.http_get() == b"bind 6 80"
        if end != "wait":
            assert process.wait(support.PATIENCE_S) == 0
            assert support.http_get() == b"bind 6 80"
    finally:
        supervising.kill_all(int(word) for word in log.read_text().split() if word.isdigit())
        supervising.end(process)


@pytest.mark.program("busybox sh script", "busybox-static")
def test_script_of_a_static_interpreter(static_server):
    """A script whose interpreter is static is served without being told."""
    busybox = launching.busybox()
    script = support.scratch_dir() / "script"
    script.write_text(f"#!{busybox} sh\nexec {static_server} bind\n")
    script.chmod(0o755)
    assert answer_of(under_pybind(script)) == "bind 6 80"
