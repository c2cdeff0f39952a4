# SPDX-License-Identifier: GPL-3.0-or-later
"""What check and explain say of pybindd, where a test cannot easily make it so."""

import pytest

from pybind import _wire, pybindd
from pybind.admin.asking import in_kernel
from pybind.admin.commands import grant
from pybind.model import Reply, Step
from pybind.permissions.spec import parse_spec
from pybind.permissions.who import Who

SAID = {
    "in_force": True, "why_not": None, "netns_cookie": 7, "cgroup": "/sys/fs/cgroup",
    "refuses_all": None, "left_all": None, "left": [], "left_count": 0,
}  # fmt: skip
FILE = "byport/80"


@pytest.fixture(autouse=True)
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


@pytest.mark.parametrize(("answer", "said", "word", "text"), CASES)
def test_answers(answer, said, word, text):
    """Each state of pybindd, beside each kind of answer of the helper."""
    found = in_kernel.answer_to(answer, {**SAID, **said})
    assert (found.answer, found.text) == (word, text)


def test_a_file_that_is_not_there_is_not_met():
    """A name that the helper looked for in vain is no file that was left to it."""
    other = reply(_wire.REASON_GRANTED, ("byport/80,tcp", _wire.STEP_ABSENT))
    left = {"left": [{"name": "byport/80,tcp", "why": "x"}], "left_count": 1}
    assert in_kernel.answer_to(other, {**SAID, **left}).answer == "granted"


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


@pytest.mark.parametrize(
    ("said", "this_process", "all_of_them"),
    [(None, True, False), ({}, False, False), ({}, True, True), ({"cgroup": "/a"}, True, False)],
)
def test_judges_all(monkeypatch, said, this_process, all_of_them):
    """True only if this process is judged, and the control group is the topmost one."""
    monkeypatch.setattr(in_kernel, "status", lambda: None if said is None else {**SAID, **said})
    monkeypatch.setattr(pybindd, "judges_this_process", lambda: this_process)
    assert in_kernel.judges_all() == all_of_them
