# SPDX-License-Identifier: GPL-3.0-or-later
"""What messages say: addresses, and causes and answers that the tests' machine does not have.

Stand-ins play the systems on which a refusal has another cause, and the states of pybindd.
"""

import errno
import os
import pathlib
import socket
import types

import pytest

import pybind
from pybind import _wire, cli, diagnose, explain, holders, pybindd, target
from pybind.admin.asking import in_kernel
from pybind.admin.commands import grant
from pybind.errors import STATUS_REFUSED
from pybind.kernel import layout, records
from pybind.model import Address, Reply, Step, address_word
from pybind.paths import HELPER
from pybind.permissions.rule import parse_line, rule_text
from pybind.permissions.spec import parse_spec, spec_text
from pybind.permissions.who import Who

# -- addresses: one function spells them, as people write them

SPELLED = {
    "127.0.0.1": "7f000001",
    "::1": "0" * 31 + "1",
    "::ffff:127.0.0.1": "0" * 20 + "ffff7f000001",
    "2001:db8::ff:0:0:1": "20010db80000000000ff000000000001",
}
# Names for bind(2), and the names that authbind itself would look for.
OTHERS = {"model.py", "binding.py", "admin/importers/authbind.py"}


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


# -- causes of a refusal


@pytest.fixture
def system(monkeypatch):
    """Replace this system by one on which nothing is wrong with the helper."""
    mount = types.SimpleNamespace(f_flag=0)
    found = types.SimpleNamespace(
        ST_NOSUID=os.ST_NOSUID, ST_NOEXEC=os.ST_NOEXEC, X_OK=os.X_OK, strerror=os.strerror,
        statvfs=lambda _: mount, access=lambda *_: True, getxattr=lambda *_: b"x",
    )  # fmt: skip
    monkeypatch.setattr(diagnose, "posix", found)
    monkeypatch.setattr(diagnose, "own_status", lambda: {"CapBnd": "ffffffff"})
    monkeypatch.setattr(diagnose, "foreign_network", lambda: False)
    monkeypatch.setattr(diagnose, "replaceable", lambda _: "")


def test_kernel_without_file_capabilities(monkeypatch, system):
    """The message names no_file_caps on the kernel's command line."""
    monkeypatch.setattr(diagnose, "_read", lambda _: "BOOT_IMAGE=/vmlinuz quiet no_file_caps\n")
    cause, repair = diagnose.lost_capability()
    assert "no_file_caps" in cause
    assert "command line" in repair
    monkeypatch.setattr(diagnose, "_read", lambda _: "BOOT_IMAGE=/vmlinuz quiet\n")
    assert "none of the known causes" in diagnose.lost_capability()[0]


def test_unknown_mount_flags(monkeypatch):
    """A security module may forbid statvfs(2): the flags are unknown, and nothing ends."""

    def forbidden(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    known = target.classify(b"/usr/bin/env")
    monkeypatch.setattr(diagnose.posix, "statvfs", forbidden)
    assert target.classify(b"/usr/bin/env") == known
    assert diagnose.mount_flags(HELPER) == 0


@pytest.mark.parametrize("place", [b"/usr/bin/env", "/usr/bin/env"])
def test_system_errors_name_the_file(capfd, place):
    """A file's name is printed as a person types it, though the launch has bytes."""

    def start():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)

    assert cli.guard(start) == STATUS_REFUSED
    assert capfd.readouterr().err == "pybind: /usr/bin/env: Permission denied\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.ENOENT, "install"),
        (errno.EAGAIN, "ulimit -u"),
        (errno.ENOMEM, "ulimit -u"),
        (errno.EACCES, "NoExecPaths="),
        (errno.EIO, "Input/output error"),
    ],
)
def test_why_the_helper_cannot_be_started(system, error, words):
    """Only a missing helper is a reason to install one."""
    lines = diagnose.cannot_start(error)
    assert lines[0].startswith(f"cannot start {HELPER}: {os.strerror(error)}")
    assert words in " ".join(lines)
    assert (error == errno.ENOENT) == ("install" in " ".join(lines))


# -- what check and explain say of pybindd, beside the answer of the helper

SAID = {
    "in_force": True, "why_not": None, "netns_cookie": 7, "cgroup": "/sys/fs/cgroup",
    "refuses_all": None, "left_all": None, "left": [], "left_count": 0,
}  # fmt: skip
FILE = "byport/80"


@pytest.fixture
def host(monkeypatch):
    """This process is in the network namespace 7, and the hierarchy is where it is said."""
    monkeypatch.setattr(pybindd, "netns_cookie", lambda: 7)
    monkeypatch.setattr(pybindd, "serves_all", lambda said: said["cgroup"] == "/sys/fs/cgroup")


def reply(reason, *steps):
    """Return a reply of the helper; steps: (name, result)."""
    made = tuple(Step(result, v4_half=False, line=0, name=name) for name, result in steps)
    fields = dict.fromkeys(Reply._fields, 0) | {"reason": reason, "name": FILE, "steps": made}
    return Reply(**fields)


GRANTED = reply(_wire.REASON_GRANTED, (FILE, _wire.STEP_GRANTS))
REFUSED = reply(_wire.REASON_NO_RULE)
LEFT = {"left": [{"name": FILE, "why": "has 2 hard links"}], "left_count": 1}
CASES = [
    (GRANTED, {}, "granted", "pybindd: the kernel grants it too"),
    (REFUSED, {}, "refused", "pybindd: the kernel refuses it too"),
    (GRANTED, LEFT, "left", "pybindd: the kernel leaves it to the helper: byport/80 has 2 hard links"),
    # What the helper refuses is granted by nobody.
    (REFUSED, LEFT, "refused", "pybindd: the kernel refuses it too"),
    (GRANTED, {"in_force": False, "why_not": "no memory"}, "none",
     "pybindd: the kernel grants nothing (no memory), so the helper alone decides"),
    (GRANTED, {"netns_cookie": 8}, "none",
     "pybindd: the kernel grants nothing (it serves another network namespace than this one), so "
     "the helper alone decides"),
    (GRANTED, {"left_count": 3}, "unknown",
     "pybindd: the kernel grants it too, or leaves it to the helper: 3 files are left to the "
     "helper unnamed"),
    (reply(_wire.REASON_CONFIG_UNSAFE), {"refuses_all": "/etc is not root's"}, "refused",
     "pybindd: the kernel refuses it too"),
    (reply(_wire.REASON_CONFIG_MISSING), {}, "unknown",
     "pybindd: the kernel judges by the files: it finds the folders in order"),
    (reply(_wire.REASON_NO_CAPABILITY), {}, "granted",
     "pybindd: the kernel grants it, without the helper"),
    (GRANTED, {"cgroup": "/sys/fs/cgroup/a"}, "granted",
     "pybindd: the kernel grants it too (for the control group /sys/fs/cgroup/a)"),
]  # fmt: skip


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("answer", "said", "word", "text"), CASES)
def test_answers(answer, said, word, text):
    """Each state of pybindd, beside each kind of answer of the helper."""
    found = in_kernel.answer_to(answer, {**SAID, **said})
    assert (found.answer, found.text) == (word, text)


@pytest.mark.usefixtures("host")
def test_a_file_that_is_not_there_is_not_met():
    """A name that the helper looked for in vain is no file that was left to it."""
    other = reply(_wire.REASON_GRANTED, ("byport/80,tcp", _wire.STEP_ABSENT))
    left = {"left": [{"name": "byport/80,tcp", "why": "x"}], "left_count": 1}
    assert in_kernel.answer_to(other, {**SAID, **left}).answer == "granted"


@pytest.mark.usefixtures("host")
def test_nothing_to_say():
    """No pybindd, or a port for which the kernel asks nobody."""
    assert in_kernel.answer_to(GRANTED, None) is None
    assert in_kernel.answer_to(None, SAID) is None


WHERE = [
    ([GRANTED, GRANTED], {}, ""),
    ([GRANTED], {"cgroup": "/sys/fs/cgroup/a"}, "/sys/fs/cgroup/a"),
    ([GRANTED, REFUSED], {}, None),
    ([GRANTED], LEFT, None),
    ([GRANTED], {"left_count": 3}, None),
    ([GRANTED], {"in_force": False, "why_not": "no memory"}, None),
    ([GRANTED], {"netns_cookie": 8}, None),
]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("answers", "said", "where"), WHERE)
def test_without_wrapper(answers, said, where):
    """Only what the kernel is known to grant needs no pybind."""
    assert in_kernel.without_wrapper(answers, {**SAID, **said}) == where
    assert in_kernel.without_wrapper(answers, None) is None


USES = [
    ("80", "", "to use it, as nobody: start PROGRAM as it is, because pybindd runs"),
    ("8000-8010", "", "to use it, as nobody: start PROGRAM as it is, because pybindd runs"),
    ("80", "/a", "to use it, as nobody: in /a start PROGRAM as it is, elsewhere: "
     "pybind --port 80 -- PROGRAM"),
    ("80", None, "to use it, as nobody: pybind --port 80 -- PROGRAM"),
    ("8000-8010", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "where", "line"), USES)
def test_how_to_use_a_grant(spec, where, line):
    """One line, for one port or a range; a command stands at its end."""
    assert grant._use(Who("user", 65534, "nobody"), parse_spec(spec), where) == line


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("said", "this_process", "all_of_them"),
    [(None, True, False), ({}, False, False), ({}, True, True), ({"cgroup": "/a"}, True, False)],
)
def test_judges_all(monkeypatch, said, this_process, all_of_them):
    """True only if this process is judged, and the control group is the topmost one."""
    monkeypatch.setattr(in_kernel, "status", lambda: None if said is None else {**SAID, **said})
    monkeypatch.setattr(pybindd, "judges_this_process", lambda: this_process)
    assert in_kernel.judges_all() == all_of_them
