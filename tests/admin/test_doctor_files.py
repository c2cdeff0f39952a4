# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl doctor on permission files that refuse what somebody should have."""

import ctl
import doctoring
import printed
import pytest
import support
from doctoring import examine
from support import OTHER_UID, UID, flag, rules

repaired = pytest.fixture(autouse=True)(doctoring.repaired)
TOPIC = "permission files"


def _broken_line():
    rules(f"byuser/{UID}", "any,80", "any,8o")


def _writable():
    rules(f"byuser/{UID}", "any,80", mode=0o666)


def _no_regular_file():
    (support.CONFIG / "byport/80").mkdir()


@pytest.mark.parametrize("prepare", [_broken_line, _writable, _no_regular_file])
def test_a_file_that_refuses(prepare):
    """The file is broken for doctor too, with the repair of lint; after the repair all is well."""
    assert examine()[TOPIC][0] == "ok"
    prepare()
    level, text, repair = examine(status=1)[TOPIC]
    finding = ctl.as_json("lint", status=3)["findings"][0]
    line = f" line {finding['line']}" if finding["line"] else ""
    assert (level, [finding["repair"]]) == ("broken", repair)
    assert text.startswith(f"{finding['file']}{line}: ")
    printed.type_as_root(repair[0])
    assert examine()[TOPIC][0] == "ok"


def test_several_files():
    """The first one is shown, and what shows the others."""
    _broken_line()
    rules(f"byuser/{OTHER_UID}", "rubbish")
    shown = ctl.pybindctl("doctor").stdout
    assert shown.count("broken  permission files: ") == 1
    for uid in (UID, OTHER_UID):
        assert f"/etc/pybind/byuser/{uid}" in printed.typed(
            shown, "doctor._permission_files: sudo pybindctl lint", status=3
        )


def test_what_refuses_nothing():
    """Sound files, and a broken folder, which has its own finding, are no broken files."""
    rules(f"byuser/{UID}", "any,80")
    flag("byport/443")
    assert examine()[TOPIC][0] == "ok"
    (support.CONFIG / "byuser").chmod(0o777)
    assert TOPIC not in examine(status=1)


def test_an_ordinary_user():
    """A file that the user may not read is no fault; one that refuses is seen by anybody."""
    rules(f"byuser/{OTHER_UID}", "any,80", gid=OTHER_UID, mode=0o640)
    assert support.run([ctl.PYBINDCTL, "doctor"]).returncode == 0
    _broken_line()
    done = support.run([ctl.PYBINDCTL, "doctor"])
    assert (done.returncode, "line 2" in done.stdout) == (1, True)
