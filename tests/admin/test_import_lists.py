# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl import of PORT:USER lines and of mac_portacl's rules."""

import ctl
import importing
import pytest
from importing import AUTHBIND, granted, old_flag
from support import UID

authbind = pytest.fixture(autouse=True)(importing.empty_folders)


def test_daemonusr(tmp_path):
    """Lines PORT:USER become grants, without unknown users; a second run changes nothing."""
    path = tmp_path / "daemonusr"
    path.write_text(f"# mail\n25:{UID}\n\n80:nobody, 443:www-data # web\n700:{UID}\n25:no-such\n")
    text = ctl.done("import", "daemonusr", "--apply", path)
    assert "no user 'no-such'" in text
    assert "0 of" not in text
    for spec in ("25", "80", "700", "25/udp"):
        assert granted(spec)
    assert granted("443", "www-data")
    assert not granted("443")
    before = ctl.snapshot()
    assert "nothing to do" in ctl.done("import", "daemonusr", "--apply", path)
    assert ctl.snapshot() == before


@pytest.mark.parametrize("line", ["25", "25:", ":exim", "x:1:root", "99999:root", "80:everyone"])
def test_daemonusr_wrong(tmp_path, line):
    """A line that is not PORT:USER is named, and nothing is written."""
    path = tmp_path / "daemonusr"
    path.write_text(f"80:{UID}\n{line}\n")
    ctl.failed(3, "import", "daemonusr", "--apply", path, words=[f"{path} line 2"])


def test_portacl():
    """FreeBSD's rules become grants, even in the form that sysctl prints."""
    words = f"security.mac.portacl.rules: uid:{UID}:tcp:80,gid:2000:udp:53, uid:{UID}:tcp:0"
    answer = ctl.as_json("import", "portacl", words, "--apply")
    assert answer["differences"] == []
    assert answer["asked"] == 14  # the wildcards, the mapped and the other addresses
    assert [note["why"] for note in answer["left"]] == [
        "port 0 means any free port, and needs no grant"
    ]
    assert ctl.lines(f"byuser/{UID}") == ["any,80/tcp"]
    assert ctl.lines("bygroup/2000") == ["any,53/udp"]
    assert granted("80")
    assert not granted("80/udp")


@pytest.mark.parametrize(
    "rule", ["uid:80:tcp", "uid:80:sctp:80", "uid:x:tcp:80", "gid:1:udp:65536"]
)
def test_portacl_wrong(rule):
    """A malformed rule is named, and nothing is written."""
    ctl.failed(3, "import", "portacl", f"uid:1:tcp:80,{rule}", "--apply", words=["rule 2", rule])


def test_names_beside_numbers(tmp_path):
    """The plan says whose a number is, because another system may number users differently."""
    rules_text = "uid:8:tcp:119,gid:33:udp:53,uid:4242:tcp:80"
    text = ctl.done("import", "portacl", rules_text)
    assert "note: rule 1 (uid:8:tcp:119): uid 8 is mail on this host" in text
    assert "gid 33 is @www-data on this host" in text
    assert "uid 4242 has no name on this host" in text
    assert "would be made /etc/pybind/byuser/8 (mail)\n" in text
    path = tmp_path / "list"
    path.write_text("25:8, 26:mail\n")
    text = ctl.done("import", "daemonusr", path)
    assert text.count("uid 8 is mail on this host") == 1
    old_flag("byport/80", uid=8, gid=33, mode=0o550)
    (AUTHBIND / "byuid/8").write_text("127.0.0.1,25\n")
    text = ctl.done("import", "authbind")
    assert "byport/80 (mode 0750 owner 0 group 33 (www-data) user:8 (mail):r-x)" in text
    assert "would be made /etc/pybind/byuser/8 (mail)\n" in text
