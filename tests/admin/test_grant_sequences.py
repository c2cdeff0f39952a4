# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG005 # a table reads better with one signature
"""Any sequence of grants and revokes gives exactly the permitted set, as the helper sees it."""

import socket

from ctl import run_here, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import clear_config, flag, rules

from pybind import _wire
from pybind.admin.asking.ask import ask
from pybind.model import Address
from pybind.permissions.who import Identity

ALICE, BOB, WWW = 1001, 1002, 1003  # ALICE is in WWW
HOSTS = ["0.0.0.0", "127.0.0.1", "192.0.2.5", "::", "2001:db8::7"]
PORTS = [80, 85, 511, 512, 600, 1023, 1024]
POINTS = [(host, port, proto) for host in HOSTS for port in PORTS for proto in ("tcp", "udp")]
HAND = ["# by hand", "any,22-25 # keep this", "", "  # and this", "192.0.2.0/24:30,31"]

# SPEC -> its meaning, written without the code under test.
SPECS = {
    "80": lambda h, p, t: p == 80,
    "85/tcp": lambda h, p, t: p == 85 and t == "tcp",
    "80-90": lambda h, p, t: 80 <= p <= 90,
    "500-1030/udp": lambda h, p, t: 500 <= p <= 1030 and t == "udp",
    "600": lambda h, p, t: p == 600,
    "127.0.0.1:80-700": lambda h, p, t: h == "127.0.0.1" and 80 <= p <= 700,
    "192.0.2.0/24:80": lambda h, p, t: h == "192.0.2.5" and p == 80,
    "0.0.0.0:80/tcp": lambda h, p, t: h == "0.0.0.0" and p == 80 and t == "tcp",
    "[2001:db8::]/32:26-65535": lambda h, p, t: h == "2001:db8::7",
    "[::]/0:1023-1024": lambda h, p, t: ":" in h and p in (1023, 1024),
    "[::]:85": lambda h, p, t: h == "::" and p == 85,
}
EVERYONES = ["80", "85/tcp", "80-90", "600", "0.0.0.0:80/tcp", "[::]:85"]
STEPS = st.one_of(
    st.tuples(st.sampled_from(["grant", "revoke"]), st.sampled_from([str(ALICE), str(BOB), f"@{WWW}"]),
              st.sampled_from(sorted(SPECS))),
    st.tuples(st.sampled_from(["grant", "revoke"]), st.just("everyone"), st.sampled_from(EVERYONES)),
)  # fmt: skip


def granted(uid, gid, groups):
    """Return the points (address, port, protocol) that the helper grants."""
    addresses = []
    for host, port, proto in POINTS:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        addr = socket.inet_pton(family, host)
        addresses.append(Address(int(family), addr, 0, port, proto == "udp"))
    replies = ask(Identity(uid, gid, groups, None), addresses)
    return {at for at, reply in zip(POINTS, replies) if reply.reason == _wire.REASON_GRANTED}


def expected(held, *names):
    """Return what a user with these names may bind; :: needs 0.0.0.0 too."""
    union = set().union(*(held[name] for name in names))
    return {at for at in union if at[0] != "::" or ("0.0.0.0", *at[1:]) in union}


@settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.lists(STEPS, min_size=1, max_size=8), st.booleans())
def test_sequences(steps, with_flag):
    """Sequences for users, a group and everyone, with or without another's flag file."""
    clear_config()
    held = {name: set() for name in (str(ALICE), str(BOB), f"@{WWW}", "everyone")}
    rules(f"byuser/{ALICE}", *HAND)
    if with_flag:
        flag("byport/85", gid=WWW)
        held[f"@{WWW}"] = {at for at in POINTS if at[1] == 85}
    for command, who, spec in steps:
        before = snapshot()
        status, _ = run_here(command, who, spec, "--yes")
        points = {at for at in POINTS if SPECS[spec](*at)}
        if status == 1 and snapshot() == before and (with_flag or who == "everyone"):
            continue  # refused, because a flag file cannot express the grant
        assert status == 0 or (status == 1 and ":" in spec), (command, who, spec)
        held[who] = held[who] | points if command == "grant" else held[who] - points
    assert granted(ALICE, ALICE, [WWW]) == expected(held, str(ALICE), f"@{WWW}", "everyone"), steps
    assert granted(BOB, BOB, []) == expected(held, str(BOB), "everyone"), steps
    assert granted(9999, 9999, []) == expected(held, "everyone"), steps
    kept = snapshot()[f"byuser/{ALICE}"][4].decode().splitlines()
    assert kept[: len(HAND)] == HAND
    assert all(found[:2] == (0, 0 if name != "byport/85" else WWW) for name, found in
               snapshot().items() if name != "byport/85")  # fmt: skip
