# SPDX-License-Identifier: GPL-3.0-or-later
"""The launch path reads a command line as click does, or leaves the line to click."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybind import commandline, options
from pybind.errors import UsageError

NAMES = [name for option in options.OPTIONS for name in option.names]
VALUES = [
    "80", "http", "web=80", "[::1]:443/tcp", "127.0.0.1:53/udp", "0", "99999", "1", "007", "-1", "+1",
    "", " 1", "2147483648", "auto", "preload", "supervise", "Auto", "nobody", "true", "a b", "{fd}",
]  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(VALUES),
    st.sampled_from(
        ["--", "-", "-vq", "-p80", "-vp", "--por", "--bogus", "--help=x", "-é", "prog"]
    ),
    st.builds("{}={}".format, st.sampled_from([*NAMES, "--bogus"]), st.sampled_from(VALUES)),
)
LIKELY = st.one_of(
    st.sampled_from([["-v"], ["-q"], ["--check"], ["--deep"], ["--listen"], ["--inetd"]]),
    st.sampled_from(
        [["-p", "80"], ["--port", "web=80"], ["--port=443/tcp"], ["-p", "[::1]:53/udp"]]
    ),
    st.sampled_from(
        [["--depth", "2"], ["--mode", "preload"], ["--backlog=9"], ["--user", "nobody"]]
    ),
)
LINES = st.one_of(
    st.lists(WORDS, max_size=8),
    st.builds(lambda parts, rest: [*(word for part in parts for word in part), *rest], st.lists(LIKELY, max_size=4),
              st.lists(WORDS, max_size=3)),
)  # fmt: skip


def outcome(read, line):
    try:
        return read(line)
    except UsageError as error:
        return error.lines


@settings(max_examples=1000, deadline=None)
@given(LINES)
def test_agrees_with_click(line):
    """For each line that the launch path reads, click gives the same Request or refusal."""
    mine = outcome(options.read, line)
    if mine is not None:
        assert mine == outcome(commandline.parse, line)


@pytest.mark.parametrize(
    "line",
    [
        "-- true",
        "true --port 80",
        "--port 80 -- true",
        "-p 80 -p [::1]:443/tcp -v true",
        "--port=80 --depth 2 --mode preload -q true",
        "--listen --port web=80 --backlog 9 --user nobody:nogroup -- true {fd}",
        "--check --port http",
    ],
)
def test_usual_lines_need_no_click(line):
    """The lines that people write are read without click."""
    assert isinstance(options.read(line.split()), options.Request)


@pytest.mark.parametrize("line", ["--help", "--version", "-vq true", "-p80 true", "--port", "--x"])
def test_the_rest_is_click_s(line):
    """click reads help, errors and several short options in one word."""
    assert options.read(line.split()) is None


def test_another_word_for_true_is_found_out():
    """The comparison above can fail: a reader that drops an option disagrees with click."""
    line = ["-v", "true"]
    assert options.read(line[1:]) != commandline.parse(line)
    assert "click" in sys.modules
