# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervised mode is silent, but says with -v which way was taken and why."""

import launching
import pytest
import support
from supervising import started, under_pybind

pytestmark = pytest.mark.usefixtures("grant80")


def said(argv):
    """Run a program that ends at once; return the messages of pybind."""
    result = support.run(argv)
    assert (result.returncode, result.stdout) == (0, "")
    return result.stderr


@pytest.fixture(scope="module")
def go_program():
    """Return a Go program that reads no stdin, such as Debian's go."""
    return launching.need(launching.GO, "golang-go")


@pytest.mark.hostile("R17")
def test_auto_prints_nothing(agent, dynamic_agent):
    """Neither mode prints anything, even if a bind is refused."""
    for program in (agent, dynamic_agent):
        with started(under_pybind(program)) as (front, talk):
            assert talk.ask("bind tcp 127.90.0.1 80") == 0
            assert talk.ask("bind tcp 127.90.0.1 81") == 13
            assert front.said() == ""
        assert said(under_pybind(program)) == ""


def test_verbose_names_the_way(agent, dynamic_agent):
    """-v says that a supervisor serves a static program, and why."""
    words = said(under_pybind(agent, options=["-v"]))
    assert "supervisor" in words
    assert "statically linked" in words
    words = said(under_pybind(dynamic_agent, options=["-v"]))
    assert "preload library" in words
    assert "supervisor" not in words
    words = said(under_pybind(dynamic_agent, mode="supervise", options=["-v"]))
    assert "supervisor" in words
    assert "--mode" in words


def test_verbose_names_go(go_program):
    """-v says that a program is a Go program."""
    result = support.run(under_pybind(go_program, "version", options=["-v"]))
    assert result.returncode == 0
    assert "supervisor" in result.stderr
    assert "Go" in result.stderr


def test_verbose_tells_of_each_bind(agent):
    """-v prints a line about each bind of a privileged port."""
    with started(under_pybind(agent, options=["-v"])) as (front, talk):
        assert talk.ask("bind tcp 127.90.0.1 80") == 0
        assert talk.ask("bind tcp 127.90.0.1 8080") == 0
        (support.CONFIG / "byport" / "80").unlink()
        assert talk.ask("bind tcp 127.90.0.2 80") == 13
        support.wait_for(lambda: "no permission" in front.said(), "a word about the refusal")
        words = front.said()
    assert "bind of port 80/tcp (IPv4): granted" in words
    assert (
        f"no permission file grants it; to grant it: sudo pybindctl grant {support.UID} 80/tcp"
        in words
    )
    assert "8080" not in words
    assert all(line.startswith("pybind: ") for line in words.splitlines())


def test_preload_of_a_static_program_points_here(agent):
    """--mode preload starts a static program, and names the mode that would serve it."""
    result = support.run(under_pybind(agent, mode="preload"))
    assert result.returncode == 0
    assert "note: " in result.stderr
    assert "--mode supervise" in result.stderr
