# SPDX-License-Identifier: GPL-3.0-or-later
"""The AppArmor profile allows exactly what the helper does.

The tests need no kernel with AppArmor: they compare the profile with the helper's
system calls. root traces the helper, because root's tracing keeps its capability.
"""

import re
import subprocess

import pytest
import support
from support import CONFIG, GID, HELPER, PYBIND, REPOSITORY

PROFILE = REPOSITORY / "contrib/apparmor/pybind-helper"
CALLS = "%file,socket,getsockopt,bind,capset"  # %file: every call that takes a path
SERVER = """
import socket
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as sock:
            sock.bind((address, 80))
"""


def rules():
    """Return the profile's rules without comments, as words."""
    text = re.sub(r"#.*", "", PROFILE.read_text())
    return [line.rstrip(",").split() for line in map(str.strip, text.splitlines()) if line]


def path_rules():
    """Return {rule's path: regular expression}; AppArmor's * stops at a slash."""
    found = {}
    for rule in rules():
        if rule[0].startswith("/") and len(rule) == 2:
            pattern = re.escape(rule[0]).replace(r"\*", "[^/]+")
            pattern = re.sub(r"\\{(.*?)\\}", lambda m: f"(?:{m[1].replace(',', '|')})", pattern)
            found[rule[0]] = re.compile(pattern + r"\Z")
    return found


@pytest.fixture(scope="module")
def traced():
    """Return the helper's lines of strace, from its execve(2) on."""
    support.clear_config()
    support.rules(f"bygroup/{GID}", "any,80")  # the last file that the helper looks at
    log = support.scratch_dir() / "strace"
    argv = ["strace", "-f", "-s", "200", "-e", f"trace={CALLS}", "-o", log]
    drop = ["setpriv", "--reuid", support.UID, "--regid", GID, "--clear-groups", "--inh-caps=-all"]
    argv += [*drop, "env", PYBIND, "--port", "80", "--", "/usr/bin/python3", "-c", SERVER]
    subprocess.run([str(word) for word in argv], check=True, timeout=support.PATIENCE_S)
    helpers, lines = set(), []
    for line in log.read_text().splitlines():
        pid, call = line.split(None, 1)
        if call.startswith(f'execve("{HELPER}"') and "= 0" in call:
            helpers.add(pid)
        elif pid in helpers:
            lines.append(call)
    assert lines
    return lines


def paths_of(lines):
    """Return the paths that were opened or looked at, with '/' after folders."""
    found = set()
    for line in lines:
        if match := re.match(r'\w+\((?:AT_FDCWD, |(\d+), )?"([^"]*)"', line):
            path = f"{CONFIG}/{match[2]}" if match[1] else match[2]
            folder = (
                "S_IFDIR" in line or "O_DIRECTORY" in line or path in (str(CONFIG), "/", "/etc")
            )
            found.add(path.rstrip("/") + "/" if folder else path)
    return found


def test_parser_accepts_it():
    """apparmor_parser compiles the profile, without a kernel that could load it."""
    argv = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--stdout", PROFILE]
    done = subprocess.run(argv, capture_output=True, timeout=support.PATIENCE_S)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout


def test_files_are_those_of_the_helper(traced):
    """Each path that the helper uses has a rule; each rule but the helper's own is used."""
    patterns = path_rules()
    used = set()
    for path in paths_of(traced):
        matching = {rule for rule, pattern in patterns.items() if pattern.match(path)}
        assert matching, f"{path} has no rule"
        used |= matching
    own = {rule for rule, pattern in patterns.items() if pattern.match(HELPER)}
    # The C library opens /dev/null if a caller leaves 0, 1 or 2 closed; the preload library never does.
    assert used | own | {"/dev/null"} == set(patterns)
    given = {rule[0]: rule[1] for rule in rules() if rule[0] in patterns}
    assert {rule for rule in given if given[rule] != "r"} == own | {"/dev/null"}


def test_sockets_are_those_of_the_helper(traced):
    """Network rules cover the helper's own socket, the reply socket, and each bound kind."""
    own = {tuple(m) for line in traced for m in re.findall(r"socket\(AF_(\w+), SOCK_(\w+)", line)}
    assert own == {("UNIX", "DGRAM")}
    bound = {m for line in traced for m in re.findall(r"bind\(3, {sa_family=AF_(\w+).*= 0", line)}
    assert bound == {"INET", "INET6"}
    kinds = {
        m for line in traced for m in re.findall(r"SO_TYPE, \[SOCK_(\w+)|SO_TYPE, \[(\d)", line)
    }
    assert len(kinds) == 2, kinds
    allowed = {tuple(rule[1:]) for rule in rules() if rule[0] == "network"}
    served = {(family, kind) for family in ("inet", "inet6") for kind in ("stream", "dgram")}
    assert allowed == served | {("unix", "dgram"), ("unix", "seqpacket")}
    protocol = (REPOSITORY / "helpers/protocol.h").read_text()
    assert "SOCK_SEQPACKET" in protocol


def test_capability_is_the_one(traced):
    """Helper and profile have CAP_NET_BIND_SERVICE and no other capability."""
    raised = {
        m for line in traced for m in re.findall(r"capset\(.*effective=(.*?), permitted", line)
    }
    assert raised == {"0", "1<<CAP_NET_BIND_SERVICE"}
    assert [rule[1:] for rule in rules() if rule[0] == "capability"] == [["net_bind_service"]]
