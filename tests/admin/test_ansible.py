# SPDX-License-Identifier: GPL-3.0-or-later
"""The role of contrib/ansible, run by ansible-core on this host."""

import json
import os
import re
import subprocess

import ctl
import pytest
import support
from support import OTHER_UID, UID

ROLES = support.REPOSITORY / "contrib/ansible/roles"
PATIENCE_S = 120  # one run of ansible takes some seconds


@pytest.fixture
def playbook(tmp_path):
    """Return a function that runs the role with variables and returns (status, counts, text)."""

    def run(*options, **variables):
        book = tmp_path / "site.yml"
        book.write_text(
            json.dumps(
                [
                    {
                        "hosts": "localhost",
                        "connection": "local",
                        "gather_facts": False,
                        "vars": {"ansible_python_interpreter": "/usr/bin/python3", **variables},
                        "roles": ["pybind"],
                    }
                ]
            )
        )
        environ = {
            **os.environ,
            "HOME": str(tmp_path),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            "ANSIBLE_ROLES_PATH": str(ROLES),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", *options, book],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        text = done.stdout + done.stderr
        counts = dict(re.findall(r"(\w+)=(\d+)", text.rpartition("PLAY RECAP")[2]))
        return done.returncode, {name: int(count) for name, count in counts.items()}, text

    return run


GRANTS = [
    {"user": "nobody", "ports": [80, "443/tcp"]},
    {"group": 2000, "ports": ["127.0.0.1:53/udp"]},
    {"everyone": True, "ports": [81]},
]


def test_twice(playbook):
    """The first run grants, the second changes nothing."""
    status, counts, text = playbook(pybind_grants=GRANTS)
    assert (status, counts["changed"], counts["failed"]) == (0, 1, 0), text
    for spec in ("80", "443", "81"):
        ctl.done("check", spec, "--user", UID)
    assert ctl.pybindctl("check", "80", "--user", OTHER_UID).returncode == 1
    before = ctl.snapshot()
    status, counts, text = playbook(pybind_grants=GRANTS)
    assert (status, counts["changed"], counts["failed"]) == (0, 0, 0), text
    assert ctl.snapshot() == before


def test_check_mode(playbook):
    """--check --diff shows what would change, and changes nothing."""
    before = ctl.snapshot()
    status, counts, text = playbook("--check", "--diff", pybind_grants=GRANTS)
    assert (status, counts["changed"], counts["failed"]) == (0, 1, 0), text
    assert "+++ /etc/pybind/byuser/65534" in text
    assert ctl.snapshot() == before


def test_prune(playbook):
    """pybind_prune removes the grants that the playbook does not list; otherwise they stay."""
    ctl.done("grant", OTHER_UID, "25", "--yes")
    grants = GRANTS[:1]
    assert playbook(pybind_grants=grants)[1]["changed"] == 1
    ctl.done("check", "25", "--user", OTHER_UID)
    assert playbook(pybind_grants=grants, pybind_prune=True)[1]["changed"] == 1
    assert ctl.pybindctl("check", "25", "--user", OTHER_UID).returncode == 1
    assert playbook(pybind_grants=grants, pybind_prune=True)[1]["changed"] == 0


def test_prune_of_everything(playbook):
    """An empty list, which may be a mistake, removes no grant; the word none removes all."""
    ctl.done("grant", OTHER_UID, "25", "--yes")
    before = ctl.snapshot()
    status, counts, text = playbook(pybind_grants=[], pybind_prune=True)
    assert status != 0
    assert "no [[grant]]" in text
    assert ctl.snapshot() == before
    assert playbook(pybind_grants="none", pybind_prune=True)[1]["changed"] == 1
    assert ctl.snapshot() == {}


@pytest.mark.parametrize("mode", [(), ("--check",)])
def test_wrong_grants_fail(playbook, mode):
    """A user who does not exist fails the play with pybindctl's message; nothing is changed."""
    before = ctl.snapshot()
    grants = [*GRANTS, {"user": "no-such-user", "ports": ["80"]}]
    status, counts, text = playbook(*mode, pybind_grants=grants)
    assert status != 0
    assert counts["failed"] == 1
    assert "no-such-user" in text
    assert ctl.snapshot() == before


@pytest.mark.parametrize("mode", [(), ("--check",)])
@pytest.mark.parametrize("granted", [False, True])
def test_a_host_on_which_all_is_refused(playbook, mode, granted):
    """The play fails and names the file that refuses, even if nothing would change."""
    if granted:
        assert playbook(pybind_grants=GRANTS)[0] == 0
    (support.CONFIG / "byuser").chmod(0o775)
    status, counts, text = playbook(*mode, pybind_grants=GRANTS)
    assert (status != 0, counts["failed"]) == (True, 1), text
    assert "/etc/pybind/byuser" in text
    assert "sudo pybindctl setup" in text
