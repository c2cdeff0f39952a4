# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the supervised mode: what it refuses, and that it serves no more than preload."""

import errno
import os
import subprocess

import pytest
import support
from supervising import started, under_pybind

OK, EACCES = 0, errno.EACCES
ADDRESSES = ["127.90.0.1", "127.90.0.2", "0.0.0.0", "::1", "::", "::ffff:127.90.0.1"]
BINDS = [f"{protocol} {addr} {port}" for protocol in ("tcp", "udp", "mptcp")
         for addr in ADDRESSES for port in (80, 81, 82, 8080, 0)]  # fmt: skip


def refused(result, *words, most=4):
    """Assert a clear refusal: status 125, no stdout, at most so many lines, all pybind's, the words."""
    assert result.returncode == 125, (result.returncode, result.stderr)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= most
    assert all(line.startswith("pybind: ") for line in lines), result.stderr
    for word in words:
        assert word in result.stderr
    return result.stderr


@pytest.mark.parametrize("mode", ["auto", "supervise"])
def test_depth_is_refused(grant80, agent, mode):
    """--depth is refused with the reason if only this mode can serve the program."""
    argv = under_pybind(agent, mode=mode, options=["--depth", "2"])
    refused(support.run(argv), "--depth", "descendant")


def test_deep_is_accepted(grant80, agent):
    """--deep is accepted, because this mode always serves every descendant."""
    result = support.run(under_pybind(agent, options=["--deep"]))
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("specs", [["80"], ["81"], ["80/udp"], ["127.90.0.1:80", "82/tcp"]])
def test_fails_fast_as_preload(marked, specs):
    """Without a grant nothing is started, and the words are those of the preload mode."""
    path, was_started = marked
    support.flag("byport/82")
    results = [support.run(under_pybind(path, mode=mode, ports=specs))
               for mode in ("preload", "supervise")]  # fmt: skip
    refused(results[1], "nothing in /etc/pybind grants it")
    assert results[1].stderr == results[0].stderr
    assert not was_started()


def test_busy_port(grant80, marked):
    """A busy port is refused before the start, as in the preload mode."""
    path, was_started = marked
    with support.socket.socket() as sock:
        sock.bind(("127.0.0.1", 80))
        sock.listen()
        result = support.run(under_pybind(path, mode="supervise"))
    refused(result, "held by root (uid 0)")
    assert not was_started()


def test_check_starts_nothing(grant80, marked):
    """--check says what would happen, and starts nothing."""
    path, was_started = marked
    result = support.run(under_pybind(path, mode="supervise", options=["--check"]))
    assert result.returncode == 0
    assert "0.0.0.0:80/tcp: granted" in result.stdout
    assert not was_started()


def answers(agent, mode, specs, around=()):
    """Return the errno of every bind of BINDS, with the listed ports."""
    argv = [*around, *under_pybind(agent, mode=mode, ports=specs, options=["-q"])]
    with started(argv) as (_, talk):
        return {wanted: talk.ask(f"bind {wanted}") for wanted in BINDS}


SPECS = [[], ["80"], ["80/udp"], ["127.90.0.1:80"], ["[::1]:80", "81/tcp"], ["0.0.0.0:80"]]
SPECS += [["[::]:80/tcp"], ["[::ffff:127.90.0.1]:80"]]


@pytest.mark.parametrize("specs", SPECS, ids=" ".join)
def test_serves_what_preload_serves(dynamic_agent, specs):
    """For any listed ports each bind gets the same answer as in the preload mode."""
    support.flag("byport/80")
    support.flag("byport/81")
    supervised = answers(dynamic_agent, "supervise", specs)
    assert supervised == answers(dynamic_agent, "preload", specs)
    assert set(supervised.values()) == {OK, EACCES}
    assert supervised["tcp 127.90.0.1 82"] == EACCES
    assert supervised["udp :: 8080"] == supervised["tcp 0.0.0.0 0"] == OK


@pytest.mark.parametrize(("outer", "inner", "words"), [
    (["80", "81"], ["80"], None), (["80"], [], None), (["80"], ["81"], "not among the ports"),
])  # fmt: skip
def test_nested_in_preload_narrows(dynamic_agent, outer, inner, words):
    """A nested --port only narrows, even if the outer pybind uses the preload mode."""
    support.flag("byport/80")
    support.flag("byport/81")
    around = under_pybind(mode="preload", ports=outer)
    if words:
        argv = [*around, *under_pybind(dynamic_agent, mode="supervise", ports=inner)]
        refused(support.run(argv), words)
    else:
        found = answers(dynamic_agent, "supervise", inner, around)
        assert found["tcp 127.90.0.1 80"] == OK
        assert found["tcp 127.90.0.1 81"] == EACCES


@pytest.mark.parametrize("entry", ["byport/80", "byuser"])
def test_removed_entry_stops_binds_at_once(agent, entry):
    """No answer is remembered: removing an entry stops the next bind, restoring it helps."""
    if entry == "byuser":
        entry = f"byuser/{support.UID}"

    def grant():
        return support.rules(entry, "any,80") if "byuser" in entry else support.flag(entry)

    path = grant()
    with started(under_pybind(agent)) as (_, talk):
        for _ in range(3):
            assert talk.ask("bind tcp 127.90.0.1 80") == OK
            path.unlink()
            assert talk.ask("bind tcp 127.90.0.1 80") == EACCES
            grant()
        assert talk.ask("bind tcp 127.90.0.1 80") == OK


@pytest.mark.hostile("R11")
def test_root_is_refused(grant80, agent):
    """Root's program is not supervised: its processes of other users would be judged as root."""
    argv = under_pybind(agent, mode="supervise")
    refused(support.run(argv, uid=0, gid=0), "root")


def test_root_needs_none(agent):
    """With `auto` root's program is started plainly, in pybind's own process."""
    with started(under_pybind(agent), uid=0, gid=0) as (process, talk):
        pid, parent, *_ = talk.ask("pid")
        assert (pid, parent) == (process.pid, os.getpid())
        assert talk.ask("bind tcp 127.90.0.1 80") == OK


@pytest.mark.hostile(60)
def test_program_that_is_not_dumpable(grant80):
    """A program of mode 0711 is refused with the mode, because nobody can read its descriptors."""
    hidden = support.compile_c("int main(void) { return 0; }", "-static")
    hidden.chmod(0o711)
    refused(support.run(under_pybind(hidden, mode="supervise")), os.fspath(hidden))


@pytest.mark.hostile(60)
def test_descendant_that_is_not_dumpable(grant80, agent):
    """An undumpable descendant gets EACCES, as without pybind, and does not hang."""
    hidden = support.scratch_dir() / "agent"
    hidden.write_bytes(agent.read_bytes())
    hidden.chmod(0o711)
    argv = under_pybind("/bin/sh", "-c", f"{hidden}; true", mode="supervise")
    with started(argv) as (_, talk):
        assert talk.ask("bind tcp 127.90.0.1 80") == EACCES
        assert talk.ask("bind tcp 127.90.0.1 8080") == OK
        assert talk.ask("unix") == OK


@pytest.mark.hostile(60)
def test_nested_supervisors(grant80, agent):
    """A second supervisor is refused, because the kernel allows one listener (EBUSY)."""
    inner = under_pybind(agent, mode="supervise")
    refused(support.run(under_pybind(*inner, mode="supervise")), "already", "busy")


@pytest.mark.parametrize("linked", ["static", "dynamic"])
def test_auto_inside_of_a_supervisor(grant80, agent, dynamic_agent, linked):
    """pybind with `auto` works inside of a supervised tree, whose supervisor serves it."""
    program = agent if linked == "static" else dynamic_agent
    inner = under_pybind(program)
    with started(under_pybind(*inner, mode="supervise")) as (_, talk):
        assert talk.ask("bind tcp 127.90.0.1 80") == OK
        assert talk.ask("bind tcp 127.90.0.1 81") == EACCES


@pytest.mark.hostile("R20")
def test_no_new_privs_of_the_caller(grant80, agent):
    """Under no_new_privs pybind refuses before the start: no helper could gain its capability."""
    argv = ["/usr/bin/setpriv", "--no-new-privs", *under_pybind(agent)]
    refused(support.run(argv), "no_new_privs", most=5)  # three ways out


def test_network_namespace_of_the_program(grant80, agent):
    """In its own network namespace a program binds as without pybind."""
    unshare = ["/usr/bin/unshare", "--user", "--map-root-user", "--net"]
    native = support.run([*unshare, "/bin/true"])
    if native.returncode != 0:
        pytest.skip(f"this system allows a user no namespaces: {native.stderr.strip()}")
    with started(under_pybind(*unshare, agent, mode="supervise")) as (_, talk):
        assert talk.ask("bind tcp 0.0.0.0 80") == OK
        assert talk.ask("bind tcp 0.0.0.0 81") == OK
        assert talk.ask("bind tcp 0.0.0.0 8080") == OK


@pytest.mark.hostile(30)
def test_sysctl_lowered_meanwhile(agent):
    """Lowering ip_unprivileged_port_start to 80 also helps a running program."""
    sysctl = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    with started(under_pybind(agent, mode="supervise", ports=())) as (_, talk):
        assert talk.ask("bind tcp 127.90.0.1 80") == EACCES
        subprocess.run(
            ["/bin/sh", "-c", f"echo 80 >{sysctl}"], check=True, timeout=support.PATIENCE_S
        )
        try:
            assert talk.ask("bind tcp 127.90.0.1 80") == OK
            assert talk.ask("bind tcp 127.90.0.1 79") == EACCES
        finally:
            subprocess.run(
                ["/bin/sh", "-c", f"echo 1024 >{sysctl}"], check=True, timeout=support.PATIENCE_S
            )


@pytest.mark.hostile("R3")
def test_helper_that_is_gone(grant80, agent):
    """A missing helper gives EACCES, and later binds work when the helper is back."""
    with started(under_pybind(agent)) as (_, talk):
        assert talk.ask("bind tcp 127.90.0.1 80") == OK
        os.rename(support.HELPER, support.HELPER + ".aside")
        try:
            assert talk.ask("bind tcp 127.90.0.1 80") == EACCES
            assert talk.ask("bind tcp 127.90.0.1 8080") == OK
        finally:
            os.rename(support.HELPER + ".aside", support.HELPER)
        assert talk.ask("bind tcp 127.90.0.1 80") == OK
