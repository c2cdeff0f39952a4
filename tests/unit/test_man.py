# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual says what the code does."""

import pathlib
import re
import sys

import click

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "compat"))

from pybind import _wire, commandline  # noqa: E402


def words(name):
    """Return a page as plain words, without mdoc's macros and quoting."""
    text = (ROOT / "man" / name).read_text()
    text = re.sub(r"^\.\\\".*$", "", text, flags=re.M)
    text = re.sub(r"^\.(It Sy|It|Sy|Pa|Li|Er|Ql|Pq)\b", "", text, flags=re.M)
    return re.sub(r"[\s\"]+", " ", text)


def test_every_option_is_described():
    """Each option of the command stands in pybind(1), and none that it lacks."""
    options = {
        opt.lstrip("-")
        for param in commandline.command.get_params(click.Context(commandline.command))
        if isinstance(param, click.Option)
        for opt in param.opts
    }
    page = (ROOT / "man" / "pybind.1").read_text()
    described = set()
    for line in re.findall(r"^\.It Fl (.*)$", page, re.M):
        described |= {m.lstrip("-") for m in re.findall(r"(?:^|Fl )(-?[a-z]+)", line)}
    assert described == options


def test_every_reason_is_explained():
    """Each reason of the helper has its entry under DIAGNOSTICS."""
    page = words("pybind.1")
    for number, text in _wire.REASON_TEXTS.items():
        assert number == _wire.REASON_GRANTED or text in page, text


def test_differences_from_authbind_are_listed():
    """pybind(5) has the list that the differential test uses, word for word."""
    from differences import DIFFERENCES

    page = words("pybind.5")
    for difference in DIFFERENCES:
        assert difference.identifier in page, difference
        assert re.sub(r"\s+", " ", difference.text) in page, difference.text
