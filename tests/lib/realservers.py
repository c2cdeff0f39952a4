# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers, and how each is started on a port: for tests of every way to serve them.

What is built, is built once in a run. The words of a start are a list, without pybind.
"""

import functools
import os
import platform
import subprocess

import launching
import pytest
import supervising
import support

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


@functools.cache
def java_classes():
    """Return the folder with the compiled Java programs."""
    javac = launching.need("/usr/bin/javac", "default-jdk-headless")
    folder = support.scratch_dir()
    sources = [launching.SRC / name for name in ("HttpAnswer", "NioAnswer", "DatagramAnswer")]
    files = [os.fspath(source) + ".java" for source in sources]
    subprocess.run([javac, "-J-XX:TieredStopAtLevel=1", "-d", folder, *files], check=True)
    return folder


def java_jar(port=80):
    """The JDK's HttpServer as app.jar; answers "java http"."""
    jar = launching.need("/usr/bin/jar", "default-jdk-headless")
    app = support.scratch_dir() / "app.jar"
    subprocess.run([jar, "cfe", app, "HttpAnswer", "-C", java_classes(), "."], check=True)
    return [*JAVA, "-jar", app, port]


def nginx(folder, body, port=80, more=""):
    """Write nginx's configuration into a folder, or write it anew; return the start.

    more: directives of its server.
    """
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, body=body, port=port, more=more))
    program = launching.need("nginx", "nginx-light")
    return [program, "-p", folder, "-e", folder / "error.log", "-c", config]


def node_cluster(port=80):
    """Two workers of Node; each answers "node PID"."""
    node = launching.need("/usr/bin/node", "nodejs")
    return [node, launching.copy_source("cluster.js", support.scratch_dir()), port]


@functools.cache
def go_server():
    """Return a Go net/http server without cgo; takes a port and answers "go net/http"."""
    return supervising.build_go()


@functools.cache
def cgo_server():
    """Return a Go server with cgo, position-independent, with nothing in it that can be left out."""
    small = ["-buildmode=pie", "-trimpath", "-ldflags=-s -w -buildid="]
    return supervising.build_go(supervising.SRC / "cgo.go", *small, cgo=True)


def caddy(command, port=80):
    """Return (start, environment) of Debian's caddy; /hello has "caddy"."""
    program = launching.need("caddy", "caddy")
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
    program = launching.need("busybox", "busybox-static")
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
    """Return src/server.c, built; takes HOW and a port, and answers "HOW PROTOCOL PORT"."""
    return supervising.build("server.c", *flags, compiler=compiler, package=package)


def server_musl():
    """Return src/server.c as a static program of musl."""
    return server("-static", compiler="musl-gcc", package="musl-tools")


def server32():
    """Return src/server.c as a static 32-bit program."""
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
