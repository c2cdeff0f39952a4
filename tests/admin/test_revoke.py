# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: ARG005 # a table reads better with one signature
"""revoke: what it takes away, what it leaves and what it says of that.

Any sequence of grants and revokes gives exactly the permitted set, as the helper sees it.
"""

import socket
import subprocess

import printed
import support
from ctl import allowed, done, lines, pybindctl, run_here, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import GID, UID, clear_config, flag, rules

from pybind import _wire
from pybind.admin.asking.ask import ask
from pybind.model import Address
from pybind.permissions.who import Identity

WHO = str(UID)


def test_revoke_splits():
    """revoke cuts a port out of ranges of ports, addresses and protocols; comments stay."""
    rules(
        f"byuser/{UID}", "# mine", "any,80-90   # web", "", "192.0.2.0/24:443,443", "any,22 # ssh"
    )
    done("revoke", WHO, "85", "192.0.2.7:443/udp", "22")
    assert lines(f"byuser/{UID}") == [
        "# mine", "any,80-84   # web", "any,86-90", "", "192.0.2.0/24,443/tcp",
        "192.0.2.0-192.0.2.6,443/udp", "192.0.2.8-192.0.2.255,443/udp", "# ssh",
    ]  # fmt: skip


def test_revoke_one_address_of_any():
    """revoke says what stays: the user can still take the address by the wildcard."""
    done("grant", WHO, "80/tcp")
    out = done("revoke", WHO, "192.0.2.1:80")
    assert lines(f"byuser/{UID}") == [
        "0.0.0.0-192.0.2.0,80/tcp", "192.0.2.2-255.255.255.255,80/tcp", "::/0,80/tcp"
    ]  # fmt: skip
    assert "grants 0.0.0.0:80/tcp: whoever binds that takes the address too" in out


def test_revoke_says_what_stays():
    """revoke names the group and the flag file that still grant the port."""
    done("grant", WHO, "80")
    done("grant", f"@{GID}", "80")
    assert f"still granted by /etc/pybind/bygroup/{GID} line 1" in done("revoke", WHO, "80")
    done("grant", "everyone", "80", "--yes")
    out = done("revoke", f"@{GID}", "80")
    assert "still granted by /etc/pybind/byport/80: 80/tcp, 80/udp\n" in out
    # One family of two is named: the other one is not granted by that file.
    done("grant", "everyone", "0.0.0.0:81", "--yes")
    out = done("revoke", WHO, "81")
    assert "still granted by /etc/pybind/byaddr/0.0.0.0,81: 0.0.0.0:81/tcp, 0.0.0.0:81/udp\n" in out
    done("revoke", "everyone", "0.0.0.0:81")
    assert "still granted" not in done("revoke", "everyone", "80")
    assert snapshot() == {}


def test_revoke_everything():
    """revoke without ports, or with all of them, removes only the grants of WHO."""
    for words in ((), ("all",)):
        done("grant", WHO, "80", "443/tcp", "631", "--yes")
        done("grant", "1", "80")
        flag("byport/25", gid=0, mode=0o700)
        done("grant", WHO, "25")
        out = done("revoke", WHO, *words)
        assert out.startswith("revoked from nobody (uid 65534): everything\n")
        assert "  - any,443/tcp" in out
        assert not any(allowed(port) for port in (80, 443, 631, 25))
        assert lines("byuser/1") == ["any,80"]
        support.clear_config()
    assert "was granted nothing" in done("revoke", WHO)


def test_own_group_with_an_entry():
    """revoke removes an entry for the file's own group together with its group bits."""
    path = flag("byport/80", gid=2000, mode=0o700)
    subprocess.run(["setfacl", "-m", "g:2000:x", path], check=True)
    assert pybindctl("check", "80", "--user", UID).returncode == 1
    assert "already may bind" in done("grant", "@2000", "80")
    done("revoke", "@2000", "80")
    assert "was granted nothing of that" in done("revoke", "@2000", "80")
    assert "still" not in done("grant", "@2001", "80")
    assert (
        "group:2000"
        not in subprocess.run(
            ["getfacl", "-pn", path], capture_output=True, text=True, check=True
        ).stdout
    )


def test_revoke_names_who_holds_it():
    """revoke names a server that still holds the port, and the command that ends it."""
    done("grant", WHO, "80")
    argv = [support.PYBIND, "/usr/bin/python3", "-m", "http.server", "80"]
    with support.server(argv, ready=support.answers_http) as process:
        for spec in ("80", "all"):
            done("grant", WHO, "80")
            out = done("revoke", WHO, spec)
            assert f"python3 ({process.pid}) of nobody still holds 80/tcp" in out
        printed.typed(out, "revoke._still_held: sudo kill ...")
        process.wait(support.PATIENCE_S)
    assert "still holds" not in done("revoke", WHO, "80")


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


def granted_points(uid, gid, groups):
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
    assert granted_points(ALICE, ALICE, [WWW]) == expected(
        held, str(ALICE), f"@{WWW}", "everyone"
    ), steps
    assert granted_points(BOB, BOB, []) == expected(held, str(BOB), "everyone"), steps
    assert granted_points(9999, 9999, []) == expected(held, "everyone"), steps
    kept = snapshot()[f"byuser/{ALICE}"][4].decode().splitlines()
    assert kept[: len(HAND)] == HAND
    assert all(found[:2] == (0, 0 if name != "byport/85" else WWW) for name, found in
               snapshot().items() if name != "byport/85")  # fmt: skip
