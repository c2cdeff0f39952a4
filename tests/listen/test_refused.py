# SPDX-License-Identifier: GPL-3.0-or-later
"""--listen and --inetd: refusals have clear words, and nothing is started."""

import contextlib
import socket

import printed
import pytest
import support
from support import PYBIND, pybind

WRONG = [
    ([], ["--listen needs --port"]),
    (["-p", "80", "--mode", "auto"], ["--mode does not go with --listen"]),
    (["-p", "80", "--mode", "supervise"], ["--mode does not go with --listen"]),
    (["-p", "80", "--depth", "1"], ["--depth does not go with --listen"]),
    (["-p", "80", "--deep"], ["--deep does not go with --listen"]),
    (["-p", "80", "--inetd"], ["--listen and --inetd exclude each other"]),
    (["-p", "80", "-p", "80/tcp"], ["--port 80 and --port 80/tcp overlap"]),
    (["-p", "127.0.0.1:80", "-p", "any:80"], ["--port 127.0.0.1:80 and --port any:80 overlap"]),
    (["-p", "=80"], ["a name has 1 to 255 characters"]),
    (["-p", "x" * 256 + "=80"], ["a name has 1 to 255 characters"]),
    (["-p", "a:b=80"], ["without a colon"]),
    (["-p", "a\tb=80"], ["printable ASCII"]),
    (["-p", "ä=80"], ["printable ASCII"]),
    (["-p", "a=b=80"], ["bad port 'b=80'"]),
    (["-p", "80", "--backlog", "0"], ["--backlog"]),
    (["-p", "80", "--backlog", "x"], ["--backlog"]),
]
PLACES = [
    (["-p", "80", "-p", "443"], "{fd}", "any of 2 sockets"),
    (["-p", "a=80", "-p", "a=443"], "{fd:a}", "any of 2 sockets"),
    (["-p", "a=80"], "x{fd:b}", "{fd:b}: no --port has that name"),
    (["-p", "80"], "{fd:}", "{fd:}: no --port has that name"),
    (["-p", "80"], "{fd:unknown}", "{fd:unknown}: no --port has that name"),
]


def refused(done, mark, *words):
    """Assert status 125 and the words, and that nothing was started."""
    assert done.returncode == 125, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert all(line.startswith("pybind: ") for line in done.stderr.splitlines())
    for word in words:
        assert word in done.stderr
    assert not mark.exists()


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_wrong_use(granted, options, words):
    """The error names options that exclude each other."""
    mark = support.scratch_dir() / "mark"
    refused(pybind("--listen", *options, "touch", mark), mark, *words)


@pytest.mark.parametrize(("options", "place", "words"), PLACES)
def test_wrong_place(granted, options, place, words):
    """{fd} must mean exactly one socket."""
    mark = support.scratch_dir() / "mark"
    refused(pybind("--listen", *options, "touch", mark, place), mark, words)
    refused(pybind("--check", "--listen", *options, "touch", mark, place), mark, words)


def test_wrong_use_of_the_others(granted):
    """Refused: --inetd with two ports or a name; names, {fd} and --backlog without --listen."""
    mark = support.scratch_dir() / "mark"
    for options, word in (
        (["--inetd", "-p", "80", "-p", "443"], "--inetd takes one --port, and 2 are given"),
        (["--inetd"], "--inetd needs --port"),
        (["--inetd", "-p", "a=80"], "a name needs --listen"),
        (["--inetd", "-p", "80", "--depth", "1"], "--depth does not go with --inetd"),
        (["-p", "a=80"], "a name needs --listen"),
        (["-p", "80", "--backlog", "5"], "--backlog needs --listen or --inetd"),
    ):
        refused(pybind(*options, "touch", mark), mark, word)
    for place in ("{fd}", "--x={fd:web}"):
        done = pybind("-p", "80", "touch", mark, place)
        refused(done, mark, "stands for the descriptor of a socket", "without --listen")


def test_all_or_nothing(granted):
    """If the second port is not granted or busy, the first one is never open either."""
    mark = support.scratch_dir() / "mark"
    refused(pybind("--listen", "-p", "80", "-p", "81", "touch", mark), mark, "port 81/tcp")
    with contextlib.closing(socket.socket(socket.AF_INET6)) as held:
        held.bind(("::1", 443))
        held.listen()
        done = pybind("--listen", "-p", "80", "-p", "443", "touch", mark)
        refused(done, mark, "[::]:443/tcp", "held by root (uid 0)", "ss -Hltnp sport = :443")
        done = pybind("--check", "--listen", "-p", "80", "-p", "443")
        assert done.returncode == 0
        assert "granted but busy" in done.stderr
        assert "[::]:80/tcp: granted (/etc/pybind/byuser/65534 line 1)" in done.stdout


def test_busy_for_datagrams(granted):
    """A UDP port that the same user holds is busy: two sockets would share its datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("0.0.0.0", 80))
        done = pybind("--listen", "-p", "80/udp", "true")
    assert done.returncode == 125
    assert "held by root (uid 0)" in done.stderr


def test_refusals_are_those_of_the_proof(granted):
    """--listen refuses in the same words as a start with --port alone."""
    for spec in ("127.0.0.1:81", "[::1]:22/udp", "192.0.2.1:80", "[::]:81"):
        assert pybind("--listen", "-p", spec, "true").stderr == pybind("-p", spec, "true").stderr
    inside = support.run(["/usr/bin/setpriv", "--no-new-privs", PYBIND, "--listen", "-p", "80",
                          "true"])  # fmt: skip
    assert inside.returncode == 125
    assert "no_new_privs is set" in inside.stderr


def test_missing_program(granted):
    """A missing program gives 127 or 126 before any socket is opened."""
    assert pybind("--listen", "-p", "80", "no-such-program").returncode == 127
    assert pybind("--inetd", "-p", "80", "/etc").returncode == 126


@pytest.mark.parametrize("number", [3, 4])
def test_descriptor_in_the_way(granted, number):
    """A descriptor of the caller in the socket's place is not destroyed: pybind refuses."""
    mark = support.scratch_dir() / "mark"
    script = f'exec "$0" "$@" {number}</etc/hostname'
    argv = ["sh", "-c", script, PYBIND, "--listen", "-p", "80", "-p", "443", "touch", mark]
    done = support.run(argv)
    refused(done, mark, f"descriptor {number} is open already (/etc/hostname)",
            f"pybind ... {number}<&-")  # fmt: skip
    closing = printed.said(done.stderr, "launch.check_free: pybind ... ...<&-").split()[-1]
    again = [*argv[:2], f"{script} {closing}", *argv[3:]]
    assert support.run(again).returncode == 0
    mark.unlink()
    inner = pybind("--listen", "-p", "80", "--", PYBIND, "--listen", "-p", "443", "touch", mark)
    refused(inner, mark, "descriptor 3 is open already (socket:")
    free = ["sh", "-c", 'exec "$0" "$@" 5</etc/hostname', PYBIND, "--listen", "-p", "80", "-p",
            "443", "readlink", "/proc/self/fd/5"]  # fmt: skip
    assert support.run(free).stdout == "/etc/hostname\n"


def test_too_few_descriptors(granted):
    """The error names a limit of descriptors that is too low."""
    script = 'ulimit -n 12; exec "$0" "$@"'
    ports = [word for port in range(9001, 9009) for word in ("-p", str(port))]
    done = support.run(["sh", "-c", script, PYBIND, "--listen", *ports, "true"])
    assert done.returncode == 125
    assert "descriptors" in done.stderr
    more = printed.said(done.stderr, "launch._place: ulimit -n ...")
    script = f'ulimit -S -n 12; {more}; exec "$0" "$@"'
    done = support.run(["sh", "-c", script, PYBIND, "--listen", *ports, "true"])
    assert done.returncode == 0, done.stderr
