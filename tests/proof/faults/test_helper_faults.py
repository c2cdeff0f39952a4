# SPDX-License-Identifier: GPL-3.0-or-later
"""Each system call of the helper fails in turn: no bind without a grant, no false answer.

The helper is the installed one, with its capability. PYBIND_FAULTS_ALL=1 tries more errors.
"""

import array
import errno
import os
import re
import select
import socket
import struct
import subprocess
from typing import Callable, NamedTuple

import faulting
import pytest
import support
from support import CONFIG, GID, UID, flag, rules

from pybind import _wire as w

PORT = 80
ERRORS = ["EIO", "EINTR", "ENOENT"]
MORE = ["EPERM", "EACCES", "ENOMEM", "ENOSYS", "EAGAIN", "EMFILE", "ELOOP", "EINVAL", "ESTALE"]
# These calls always succeed. A false id would be that of another caller.
IDS = ("getuid", "getgid", "geteuid", "getegid")


class Scenario(NamedTuple):
    """granted: the decision of the files. hides: a false ENOENT would hide the refusing file,
    so that error is not a fault but another state of the files."""

    prepare: Callable[[], object]
    address: str
    granted: bool
    hides: bool


def _refusing_flag():
    flag("byport/80", mode=0o700)
    rules(f"byuser/{UID}", "any,80")
    rules(f"bygroup/{GID}", "any,80")


def _broken_rules():
    rules(f"byuser/{UID}", "any,80", "any,80,")
    rules(f"bygroup/{GID}", "any,80")


def _unsafe_folder():
    flag("byport/80", mode=0o755)
    (CONFIG / "bygroup").chmod(0o777)


def _half_of_the_wildcard():
    rules(f"byuser/{UID}", "::/0,80")


SCENARIOS = {
    "flag": Scenario(lambda: flag("byport/80"), "127.0.0.1", True, False),
    "rule": Scenario(lambda: rules(f"bygroup/{GID}", "any,80"), "::", True, False),
    "nothing": Scenario(lambda: rules(f"byuser/{UID}", "any,81"), "127.0.0.1", False, False),
    "refusing-flag": Scenario(_refusing_flag, "127.0.0.1", False, True),
    "broken-rules": Scenario(_broken_rules, "127.0.0.1", False, True),
    "unsafe-folder": Scenario(_unsafe_folder, "::1", False, True),
    "half": Scenario(_half_of_the_wildcard, "::", False, False),
}


def _wrong(scenario, fault, outcome):
    """Return the fault of an outcome in words, or None."""
    bound = outcome.port == PORT
    if outcome.port not in (0, PORT):
        return "another port"
    if bound and not scenario.granted:
        return "bound without a grant"
    if outcome.reason == w.REASON_GRANTED and not bound:
        return "false success"
    if outcome.error and bound:
        return "refused and bound"
    if outcome.reason is not None and (outcome.reason == w.REASON_GRANTED) != (not outcome.error):
        return "reason and error disagree"
    if outcome.error and outcome.error != errno.EACCES and outcome.reason != w.REASON_KERNEL:
        return "a refusal that is not EACCES"
    if not outcome.injected:
        return "no fault took place"
    return None


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_call_fails(name):
    """Whichever call fails, the answer and the socket agree, and only a grant binds."""
    scenario = SCENARIOS[name]
    scenario.prepare()
    plain = faulting.ask(scenario.address, PORT)
    assert (plain.port == PORT) == scenario.granted, plain
    assert plain.calls[-1] == "exit_group"
    errors = [e for e in ERRORS + MORE * faulting.ALL if not (scenario.hides and e == "ENOENT")]
    tried, bad = 0, []
    for fault in faulting.faults(plain.calls, errors):
        if scenario.hides and fault.call in IDS and not fault.kills():
            continue
        outcome = faulting.ask(scenario.address, PORT, fault)
        tried += 1
        wrong = _wrong(scenario, fault, outcome)
        if wrong:
            bad.append(f"{wrong}: {fault} {outcome[:4]}")
    print(f"{tried} faults, {len(bad)} failures")
    assert not bad, "\n".join(bad)
    assert tried > 100


@pytest.mark.parametrize(("call", "nth"), [("socket", 1), ("getsockopt", 5), ("getsockopt", 6)])
def test_unknown_namespace(grant80, call, nth):
    """The helper refuses if the kernel cannot tell a namespace."""
    outcome = faulting.ask("127.0.0.1", PORT, faulting.Fault(call, nth, "error=ENOPROTOOPT"))
    assert outcome.injected
    assert (outcome.reason, outcome.port) == (w.REASON_NETNS_UNKNOWN, 0)


RECEIVED = re.compile(r"^recvmsg\(.* = \d+$", re.MULTILINE)


@pytest.mark.hostile(32)
def test_passed_descriptors_are_not_kept(grant80):
    """The helper keeps none of 100 descriptors that came with the message."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = support.scratch_dir() / "log"
    with ours, theirs, socket.socket() as sock:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()] * 100))]
        ours.sendmsg([faulting.encode(sock, "127.0.0.1", PORT)], rights)
        held_up = ("-o", str(log), "-e", "inject=sendto:delay_enter=2s:when=1")
        tracer = subprocess.Popen(
            faulting.helper_with(sock, *held_up), stdin=theirs, pass_fds=[sock.fileno()], cwd="/"
        )
        try:
            support.wait_for(
                lambda: log.exists() and RECEIVED.search(log.read_text()), "its message"
            )
            (helper,) = faulting.helpers_left()
            assert set(os.listdir(f"/proc/{helper}/fd")) == {"0", "3"}
            assert not select.select([ours], [], [], 0)[0]  # the helper has not answered yet
            assert tracer.wait(support.PATIENCE_S) == 0
        finally:
            tracer.kill()
            tracer.wait()
        reply = struct.unpack_from(w.REPLY_FORMAT, ours.recv(4096))
        assert (reply[2], sock.getsockname()[1]) == (w.REASON_MALFORMED, 0)


IPV6_ADDRFORM = 1  # ipv6(7)


def _become_ipv4(sock):
    """Turn an unbound IPv6 datagram socket into an unbound IPv4 socket."""
    sock.connect(("::ffff:127.0.0.1", 9))
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_ADDRFORM, socket.AF_INET)
    faulting.disconnect(sock)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_INET


@pytest.mark.hostile(39)
@pytest.mark.parametrize("flips", [False, True], ids=["stays", "flips"])
def test_family_changes_after_the_check(flips):
    """SO_DOMAIN can change after the helper's check; the kernel compares the families again."""
    rules(f"byuser/{UID}", "::1,80")
    log = support.scratch_dir() / "log"
    log.touch(mode=0o666)
    log.chmod(0o666)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        ours.send(faulting.encode(sock, "::1", PORT))
        # The change comes between the helper's verdict and its bind.
        options = ["-o", str(log), "-e", "inject=capset:delay_enter=2s:when=2"]
        process = subprocess.Popen(
            faulting.helper_with(sock, *options),
            stdin=theirs, pass_fds=[sock.fileno()], stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        support.wait_for(lambda: "byuser/" in log.read_text(), "the verdict")
        if flips:
            _become_ipv4(sock)
        assert process.wait(support.PATIENCE_S) == 0
        _, _, reason, error, *_ = struct.unpack_from(w.REPLY_FORMAT, ours.recv(4096))
        text = log.read_text()
        assert text.index("byuser/") < text.index("(DELAYED)") < text.index("bind(3")
        if flips:
            assert (reason, error) == (w.REASON_KERNEL, errno.EAFNOSUPPORT)
            assert sock.getsockname() == ("0.0.0.0", 0)
        else:
            assert (reason, sock.getsockname()[:2]) == (w.REASON_GRANTED, ("::1", PORT))
