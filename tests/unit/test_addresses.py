# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses in messages: one function spells them, as people write them."""

import pathlib
import socket

import pytest

import pybind
from pybind import explain, holders
from pybind.kernel import layout, records
from pybind.model import Address, address_word
from pybind.permissions.rule import parse_line, rule_text
from pybind.permissions.spec import spec_text

SPELLED = {
    "127.0.0.1": "7f000001",
    "::1": "0" * 31 + "1",
    "::ffff:127.0.0.1": "0" * 20 + "ffff7f000001",
    "2001:db8::ff:0:0:1": "20010db80000000000ff000000000001",
}
# Names for bind(2), and the names that authbind itself would look for.
OTHERS = {"model.py", "binding.py", "admin/importers/authbind_answers.py"}


class NoNames:
    """Stands for pybindd's names of files."""

    def name(self, _number):
        return None


def in_log(addr):
    """Return the line of pybindd's log about a bind of this address."""
    number = int.from_bytes(addr, "big")
    family = 4 if len(addr) == 4 else 6
    fields = (number >> 64, number & (1 << 64) - 1, 0, 1000, 4711, 0, 80, family, 0)
    return records.line_of(layout.RECORD.pack(*fields, layout.GRANTED, 0, b"java"), NoNames())[1]


@pytest.mark.parametrize("word", SPELLED)
def test_every_message_spells_alike(word):
    """A mapped address ends as an IPv4 address, in every place that prints one."""
    addr = bytes.fromhex(SPELLED[word])
    family = socket.AF_INET if len(addr) == 4 else socket.AF_INET6
    bracketed = f"[{word}]" if ":" in word else word
    rule = parse_line(f"{word},80/tcp".encode())
    assert address_word(addr) == word
    assert explain.address_text(Address(family, addr, 0, 80, False)) == f"{bracketed}:80/tcp"
    assert holders.Socket("tcp", addr, 80, 1000, 4711).text == f"{bracketed}:80"
    assert f" tcp {bracketed}:80 " in in_log(addr)
    assert rule_text(rule) == f"{word},80/tcp"
    assert spec_text(rule) == f"{bracketed}:80/tcp"


def test_ranges_of_mapped_addresses():
    """A prefix and a range are spelled like their ends, and can be read again."""
    for text in ("::ffff:10.0.0.0/104,80", "::ffff:10.0.0.1-::ffff:10.0.0.6,80"):
        assert rule_text(parse_line(text.encode())) == text


def test_one_function_spells():
    """No module spells an address for people by itself."""
    folder = pathlib.Path(pybind.__file__).parent
    spelling = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if "socket.inet_ntop(" in path.read_text() or "import ipaddress" in path.read_text()
    }
    assert spelling == OTHERS
