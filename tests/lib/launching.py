# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that tests serve, and pybind before them.

Some programs the system must have, some are built from src, and some are real servers.
A start is a list of words, without pybind. A real server takes the port as an argument.
What a server needs is built once in a run.
"""

import functools
import os
import pathlib
import platform
import shutil
import subprocess

import pytest
import support

SRC = support.REPOSITORY / "tests/programs/src"
GO = "/usr/bin/go"
BUILD_TIMEOUT_S = 300  # Go compiles its library of network functions anew
JAVA = ["/usr/bin/java", "-XX:-UsePerfData"]  # else it leaves a file in /tmp
NO_SUCH_WAY = 77  # server.c: this machine has no such system call
INTEL = platform.machine() == "x86_64"
NGINX = """
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {port};
        listen [::]:{port} ipv6only=on;
        {more}
        location / {{ return 200 "{body}"; }}
    }}
}}
"""


def under_pybind(*program, ports=("80",)):
    """Return the argv that runs PROGRAM with the listed ports.

    PYBIND_TEST_PRELOAD=1 leaves the command out, which tells a fault of the
    library or the helper from one of the command.
    """
    program = [str(word) for word in program]
    if os.environ.get("PYBIND_TEST_PRELOAD"):
        return ["/usr/bin/env", "LD_PRELOAD=" + support.LIBRARY, *program]
    listed = [word for port in ports for word in ("--port", port)]
    return [support.PYBIND, *listed, "--", *program]


def need(program, package):
    """Return PROGRAM's path. If it is missing, fail the test and name its package."""
    path = shutil.which(program)
    assert path, f"{program} is missing: apt-get install {package}"
    return path


def copy_source(name, folder):
    """Copy src/NAME to where UID can read it; returns the copy's path."""
    path = folder / name
    shutil.copyfile(SRC / name, path)
    path.chmod(0o644)
    return path


def build(name, *flags, compiler="gcc", package="gcc"):
    """Compile src/NAME; returns the path of a binary that UID can run."""
    need(compiler, package)
    folder = support.scratch_dir()
    binary = folder / pathlib.Path(name).stem
    subprocess.run(
        [compiler, "-O1", "-g", "-Wall", "-o", binary, SRC / name, "-pthread", *flags],
        check=True,
        timeout=BUILD_TIMEOUT_S,
    )
    return binary


def build_library(macro):
    """Compile the library of src/library.c that MACRO chooses; returns its path."""
    return build("library.c", f"-D{macro}", "-shared", "-fPIC", "-ldl")


def build_go(name, *flags, cgo=False):
    """Compile the Go program src/NAME without a network; returns the binary's path."""
    need(GO, "golang-go")
    folder = support.scratch_dir()
    binary = folder / "server"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GO111MODULE": "off",
        "CGO_ENABLED": "1" if cgo else "0",
    }
    command = [GO, "build", *flags, "-o", binary, SRC / name]
    subprocess.run(command, env=environ, cwd=folder, check=True, timeout=BUILD_TIMEOUT_S)
    return binary


def run_granted(*program, **options):
    """Run PROGRAM under pybind to its end; fails unless its status is 0."""
    ports = options.pop("ports", ("80",))
    result = support.run(under_pybind(*program, ports=ports), **options)
    assert result.returncode == 0, f"status {result.returncode}\n{result.stdout}{result.stderr}"
    return result


def run_filtered(error, calls, *program, uid=support.UID, **options):
    """Run a program as uid, or as root, under a filter that answers calls with an errno.

    The filter is like that of a container engine, and comes without no_new_privs. calls:
    CALL[=FIRST][,CALL]..., see src/filtered.py.
    """
    argv = ["/usr/bin/python3", SRC / "filtered.py", error, calls, uid, *program]
    return subprocess.run([*map(str, argv)], capture_output=True, text=True, cwd="/",
                          timeout=support.PATIENCE_S, **options)  # fmt: skip


@functools.cache
def java_classes():
    """Return the folder with the compiled src/Answer.java."""
    javac = need("/usr/bin/javac", "default-jdk-headless")
    folder = support.scratch_dir()
    command = [javac, "-J-XX:TieredStopAtLevel=1", "-d", folder, SRC / "Answer.java"]
    subprocess.run(command, check=True)
    return folder


def java_jar(port=80):
    """The JDK's HttpServer as app.jar; answers "java http"."""
    jar = need("/usr/bin/jar", "default-jdk-headless")
    app = support.scratch_dir() / "app.jar"
    subprocess.run([jar, "cfe", app, "Answer", "-C", java_classes(), "."], check=True)
    return [*JAVA, "-jar", app, "http", port]


def nginx(folder, body, port=80, more=""):
    """Write nginx's configuration into a folder, or write it anew; return the start.

    more: directives of its server.
    """
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, body=body, port=port, more=more))
    program = need("nginx", "nginx-light")
    return [program, "-p", folder, "-e", folder / "error.log", "-c", config]


def node_cluster(port=80):
    """Two workers of Node; each answers "node PID"."""
    node = need("/usr/bin/node", "nodejs")
    return [node, copy_source("server.js", support.scratch_dir()), "cluster", port]


@functools.cache
def go_server():
    """Return src/server.go, built without cgo; takes a port and answers "go net/http"."""
    return build_go("server.go")


@functools.cache
def cgo_server():
    """Return a Go server with cgo, position-independent, with nothing in it that can be left out."""
    small = ["-buildmode=pie", "-trimpath", "-ldflags=-s -w -buildid="]
    return build_go("cgo.go", *small, cgo=True)


def caddy(command, port=80):
    """Return (start, environment) of Debian's caddy; /hello has "caddy"."""
    program = need("caddy", "caddy")
    folder = support.scratch_dir()
    (folder / "hello").write_text("caddy")
    words = {
        "file-server": ["file-server", "--listen", f":{port}", "--root", folder],
        "respond": ["respond", "--listen", f":{port}", "--body", "caddy"],
    }[command]
    environ = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return [program, *words], {**os.environ, **environ}


def busybox():
    """Return the path of Debian's busybox-static."""
    program = need("busybox", "busybox-static")
    headers = ["/usr/bin/readelf", "--program-headers", program]
    told = subprocess.run(headers, stdout=subprocess.PIPE, check=True, timeout=support.PATIENCE_S)
    assert b"INTERP" not in told.stdout, "apt-get install busybox-static"
    return program


def busybox_httpd(port=80):
    """The web server of Debian's busybox-static; /hello has "busybox"."""
    folder = support.scratch_dir()
    (folder / "hello").write_text("busybox")
    return [busybox(), "httpd", "-f", "-p", port, "-h", folder]


@functools.cache
def server(*flags, compiler="gcc", package="gcc"):
    """Return server.c, built; takes HOW and a port, and answers "HOW PROTOCOL PORT"."""
    return build("server.c", *flags, compiler=compiler, package=package)


def server_musl():
    """Return server.c as a static program of musl."""
    return server("-static", compiler="musl-gcc", package="musl-tools")


def server32():
    """Return server.c as a static 32-bit program."""
    if not INTEL:
        pytest.skip(f"i386 programs are for x86_64, this is {platform.machine()}")
    return server("-static", compiler="i686-linux-gnu-gcc", package="gcc-i686-linux-gnu")


def skip_unless_machine_can(program, how):
    """Skip where the kernel cannot run the program, or has no such system call."""
    command = ["/usr/bin/unshare", "--net", program, how, "8080"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
    finally:
        process.kill()
        status = process.wait(support.PATIENCE_S)
        process.stdout.close()
    if status in (126, 127):
        pytest.skip(f"this kernel does not run {program.name} (CONFIG_IA32_EMULATION)")
    if status == NO_SUCH_WAY:
        pytest.skip(f"this kernel has no system calls of the kind {how!r}")
    assert line.startswith(how), f"without pybind: {line!r}, status {status}"
