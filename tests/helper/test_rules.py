# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of pybind(5), asked of the installed helper."""

import errno
import os
import socket

import pytest
import support
from support import CONFIG, GID, OTHER_UID, UID, flag, rules

from pybind import _wire as w

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


def verdict(answer):
    return answer["reason"], answer["name"], answer["line"]


def test_nothing_grants(ask):
    """Without files nothing is granted, and files are tried in authbind's order."""
    answer = ask({}, groups=(1001, 1002))
    assert verdict(answer) == (w.REASON_NO_RULE, "", 0)
    assert answer["error"] == errno.EACCES
    assert [step[0] for step in answer["steps"]] == [
        "byport/80,tcp", "byport/80",
        "byaddr/0.0.0.0,80,tcp", "byaddr/0.0.0.0:80", "byaddr/0.0.0.0,80",
        f"byuser/{UID}", f"bygroup/{GID}", "bygroup/1001", "bygroup/1002",
    ]  # fmt: skip
    assert {step[1] for step in answer["steps"]} == {w.STEP_ABSENT}


def test_ipv6_names(ask):
    """File names with an IPv6 address are tried in the short and the long spelling."""
    answer = ask({"family": V6, "addr": "2001:db8::1", "port": 443, "protocol": 17})
    assert [step[0] for step in answer["steps"]][:6] == [
        "byport/443,udp", "byport/443",
        "byaddr/2001:db8::1,443,udp", "byaddr/2001:db8:0:0:0:0:0:1,443,udp",
        "byaddr/2001:db8::1,443", "byaddr/2001:db8:0:0:0:0:0:1,443",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("addr", "short", "long"),
    [
        ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
        ("1:0:0:4:0:0:7:8", "1::4:0:0:7:8", "1:0:0:4:0:0:7:8"),
        ("1:0:0:4:0:0:0:8", "1:0:0:4::8", "1:0:0:4:0:0:0:8"),
        ("1:2:3:4:5:6:0:0", "1:2:3:4:5:6::", "1:2:3:4:5:6:0:0"),
        ("::ab:cd", "::0.171.0.205", "0:0:0:0:0:0:ab:cd"),
        ("::1", "::1", "0:0:0:0:0:0:0:1"),
        ("::1:0:0", "::1:0:0", "0:0:0:0:0:1:0:0"),
    ],
)
def test_ipv6_spellings(ask, addr, short, long):
    """The short spelling is that of pybind(5), whatever this system's inet_ntop(3) writes."""
    steps = ask({"family": V6, "addr": addr})["steps"]
    assert [step[0] for step in steps][4:6] == [f"byaddr/{short},80", f"byaddr/{long},80"]


@pytest.mark.parametrize(
    ("port", "mark"), [(511, ""), (512, "!"), (631, "!"), (1023, "!"), (1024, "")]
)
def test_reserved_mark(ask, port, mark):
    """Ports 512 to 1023 need '!' in the name of every file."""
    answer = ask({"port": port})
    names = [step[0] for step in answer["steps"]]
    assert f"byport/{mark}{port}" in names
    assert all(name.partition("/")[2].startswith("!") == bool(mark) for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "byport/80",
        "byport/80,tcp",
        "byaddr/127.0.0.1:80",
        "byaddr/127.0.0.1,80",
        "byaddr/127.0.0.1,80,tcp",
    ],
)
def test_flag_grants(ask, name):
    """A flag file that the caller may execute grants."""
    flag(name)
    assert verdict(ask({"addr": "127.0.0.1"})) == (w.REASON_GRANTED, name, 0)


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "granted"),
    [(UID, 0, 0o500, True), (0, GID, 0o750, True), (0, 0, 0o755, True), (0, 0, 0o750, False),
     (0, GID, 0o640, False), (UID, 0, 0o077, False), (OTHER_UID, 0, 0o700, False)],
)  # fmt: skip
def test_flag_modes(ask, uid, gid, mode, granted):
    """access(2) decides by owner, group, then others; a refusal ends the search."""
    flag("byport/80", uid, gid, mode)
    rules(f"byuser/{UID}", "any,80")  # must not be reached
    expected = w.REASON_GRANTED if granted else w.REASON_FLAG_DENIED
    assert verdict(ask({})) == (expected, "byport/80", 0)


def test_protocol_form_comes_first(ask):
    """byport/80,udp decides for UDP before byport/80 is looked at."""
    flag("byport/80")
    flag("byport/80,udp", mode=0o600)
    tcp, udp = ask({}, {"protocol": 17})
    assert verdict(tcp)[0] == w.REASON_GRANTED
    assert verdict(udp) == (w.REASON_FLAG_DENIED, "byport/80,udp", 0)


@pytest.mark.parametrize("kind", ["directory", "symlink", "dangling", "fifo"])
def test_flag_must_be_regular(ask, kind):
    """A flag file that is not a regular file refuses."""
    path = CONFIG / "byport" / "80"
    if kind == "directory":
        path.mkdir(mode=0o755)
    elif kind == "fifo":
        os.mkfifo(path, 0o755)
    else:
        path.symlink_to("/bin/true" if kind == "symlink" else "/nonexistent")
    assert verdict(ask({})) == (w.REASON_FLAG_KIND, "byport/80", 0)


def test_user_then_groups(ask):
    """byuser is asked first, then the real group, then the supplementary groups."""
    rules(f"byuser/{UID}", "any,81")
    rules(f"bygroup/{GID}", "any,82")
    rules("bygroup/4242", "any,83", "any,80")
    mine, without = ask({}, groups=(4242,)), ask({})
    assert verdict(mine) == (w.REASON_GRANTED, "bygroup/4242", 2)
    assert verdict(without)[0] == w.REASON_NO_RULE
    assert verdict(ask({}, uid=OTHER_UID, gid=OTHER_UID))[0] == w.REASON_NO_RULE


@pytest.mark.parametrize(
    ("line", "yes", "no"),
    [
        ("any,80", ["0.0.0.0", "127.0.0.1", "::1"], []),
        ("0.0.0.0/0,80", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::1"]),
        ("::/0,80", ["::1", "2001:db8::"], ["127.0.0.1", "::ffff:1.2.3.4", "::"]),
        ("10.0.0.0/8,80", ["10.255.255.255"], ["11.0.0.0", "9.255.255.255"]),
        ("10.0.0.0/9:80,80", ["10.127.255.255"], ["10.128.0.0"]),
        ("10.1.2.3-10.1.2.9,80", ["10.1.2.3", "10.1.2.9"], ["10.1.2.2", "10.1.2.10"]),
        ("10.1.2.3/32,70-90", ["10.1.2.3"], ["10.1.2.2"]),
        ("::1-::5,80", ["::1", "::5"], ["::6", "127.0.0.1"]),
        ("any,80/tcp", ["127.0.0.1"], []),
        ("any,80/udp", [], ["127.0.0.1"]),
        ("any, 80 \t# web", ["127.0.0.1"], []),
        ("# any,80", [], ["127.0.0.1"]),
        ("any,81-65535", [], ["127.0.0.1"]),
        ("any,0-79", [], ["127.0.0.1"]),
    ],
)
def test_rule_lines(ask, line, yes, no):
    """A line covers the addresses that pybind(5) says, and the reply has its number."""
    rules(f"byuser/{UID}", "# first", "", line)
    for addresses, expected in (
        (yes, (w.REASON_GRANTED, f"byuser/{UID}", 3)),
        (no, (w.REASON_NO_RULE, "", 0)),
    ):
        for addr in addresses:
            family = V6 if ":" in addr else V4
            assert verdict(ask({"family": family, "addr": addr})) == expected, addr


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("any,80,", w.FAULT_SYNTAX), ("any", w.FAULT_SYNTAX), ("any,", w.FAULT_SYNTAX),
        ("any,080", w.FAULT_SYNTAX), ("any,+80", w.FAULT_SYNTAX), ("any,8o", w.FAULT_SYNTAX),
        ("any,4294967376", w.FAULT_PORT), ("any,-4294967216-80", w.FAULT_SYNTAX),
        ("any,65536", w.FAULT_PORT), ("any,90-70", w.FAULT_ORDER),
        ("any,80/sctp", w.FAULT_PROTOCOL), ("any,80/tcpx", w.FAULT_SYNTAX),
        ("alice,80", w.FAULT_ADDRESS), ("10.0.0,80", w.FAULT_ADDRESS),
        ("010.0.0.0/8,80", w.FAULT_ADDRESS), ("10.0.0.1/8,80", w.FAULT_HOST_BITS),
        ("0.0.0.0/33,80", w.FAULT_LENGTH), ("0.0.0.0/4294967295,80", w.FAULT_LENGTH),
        ("::/129,80", w.FAULT_LENGTH), ("10.0.0.9-10.0.0.1,80", w.FAULT_ORDER),
        ("10.0.0.1-x,80", w.FAULT_ADDRESS), ("any,80\x7f", w.FAULT_BYTE),
        ("10.0.0.1-::1,80", w.FAULT_ORDER), ("::1-10.0.0.1,80", w.FAULT_ORDER),
        ("0.0.0.0/0:80", w.FAULT_SYNTAX), ("::/0:80,90", w.FAULT_SYNTAX), ("0.0.0.0:80,80", w.FAULT_ADDRESS),
        (" any,80", w.FAULT_ADDRESS), ("any,80\r", w.FAULT_BYTE), ("any,80\0", w.FAULT_BYTE),
        ("any,80 \x1b[2K# harmless", w.FAULT_BYTE), ("any,80é", w.FAULT_BYTE),
        ("#" + "x" * 255, w.FAULT_TOO_LONG),
        ("#" * 300 + "\nany,80", w.FAULT_TOO_LONG),
    ],
)  # fmt: skip
@pytest.mark.hostile(54, 55)
def test_broken_line(ask, line, fault):
    """One broken line anywhere refuses the whole file; the reply has its number."""
    rules(f"byuser/{UID}", "any,80", line, "any,80")
    rules(f"bygroup/{GID}", "any,80")  # must not be reached
    answer = ask({})
    assert verdict(answer) == (w.REASON_RULES_BROKEN, f"byuser/{UID}", 2)
    assert answer["fault"] == fault


@pytest.mark.parametrize(
    ("line", "tcp", "udp"),
    [
        ("any,80", True, True),
        ("any,80/tcp", True, False),
        ("any,80/udp", False, True),
        ("127.0.0.0/8:79,81/udp", False, True),
        ("any,81/udp", False, False),
        ("any,79/udp", False, False),
        ("127.0.0.1,80 # caf\u00e9 is fine here", True, True),
    ],
)
def test_protocols_of_a_line(ask, line, tcp, udp):
    """A line without a protocol covers both; the reply has the first line that covers."""
    rules(f"byuser/{UID}", "any,1", line, line)
    answers = ask({"addr": "127.0.0.1"}, {"addr": "127.0.0.1", "protocol": 17})
    for answer, granted in zip(answers, (tcp, udp)):
        expected = (w.REASON_GRANTED, f"byuser/{UID}", 2) if granted else (w.REASON_NO_RULE, "", 0)
        assert verdict(answer) == expected


@pytest.mark.hostile(55)
def test_edges_of_a_file(ask):
    """Lines of 255 bytes, files of 1 MiB, no last newline and empty files are allowed."""
    path = rules(f"byuser/{UID}", "#" + "x" * 254)
    path.write_bytes(path.read_bytes() + b"any,80")
    assert verdict(ask({})) == (w.REASON_GRANTED, f"byuser/{UID}", 2)
    path.write_bytes(b"")
    assert verdict(ask({}))[0] == w.REASON_NO_RULE
    path.write_bytes(b"any,80\n" + b"#\n" * ((1 << 19) - 4) + b"\n")
    assert path.stat().st_size == 1 << 20
    assert verdict(ask({})) == (w.REASON_GRANTED, f"byuser/{UID}", 1)
    path.write_bytes(path.read_bytes() + b"\n")
    assert verdict(ask({})) == (w.REASON_RULES_TOO_BIG, f"byuser/{UID}", 0)


@pytest.mark.hostile(26)
def test_unsafe_rule_files(ask):
    """Refused: a rule file that others can write, that is not regular, or not readable."""
    name = f"byuser/{UID}"
    for options, reason in (
        ({"uid": UID}, w.REASON_RULES_UNSAFE), ({"mode": 0o664}, w.REASON_RULES_UNSAFE),
        ({"mode": 0o646}, w.REASON_RULES_UNSAFE), ({"mode": 0o600}, w.REASON_RULES_UNREADABLE),
        ({"gid": GID, "mode": 0o640}, w.REASON_GRANTED),
    ):  # fmt: skip
        rules(name, "any,80", **options)
        assert verdict(ask({}))[0] == reason, options
        (CONFIG / name).unlink()
    (CONFIG / name).mkdir()
    assert verdict(ask({}))[0] == w.REASON_RULES_UNSAFE
    (CONFIG / name).rmdir()
    rules("byuser/real", "any,80")
    (CONFIG / name).symlink_to("real")
    assert verdict(ask({}))[0] == w.REASON_RULES_UNSAFE


@pytest.mark.parametrize("folder", ["", "byport", "byaddr", "byuser", "bygroup"])
@pytest.mark.parametrize("harm", ["group", "world", "owner", "symlink", "file"])
@pytest.mark.hostile(26)
def test_unsafe_folders(ask, folder, harm):
    """/etc/pybind and its folders must be folders that only root can write, or all is refused."""
    flag("byport/80", mode=0o755)
    path = CONFIG / folder
    if harm == "owner":
        os.chown(path, UID, 0)
    elif harm in ("symlink", "file"):
        moved = path.rename(path.parent / "moved.aside")
        path.symlink_to(moved) if harm == "symlink" else path.touch(0o755)
    else:
        path.chmod(0o775 if harm == "group" else 0o757)
    try:
        answer = ask({})
    finally:
        if harm in ("symlink", "file") and not folder:
            path.unlink()
            moved.rename(path)
    assert verdict(answer) == (w.REASON_CONFIG_UNSAFE, folder, 0)


def test_missing_folders(ask):
    """A missing folder counts as empty, but a missing /etc/pybind refuses."""
    rules(f"bygroup/{GID}", "any,80")
    for folder in ("byport", "byaddr", "byuser"):
        (CONFIG / folder).rmdir()
    assert verdict(ask({})) == (w.REASON_GRANTED, f"bygroup/{GID}", 1)
    support.shutil.rmtree(CONFIG)
    assert verdict(ask({})) == (w.REASON_CONFIG_MISSING, "", 0)


@pytest.mark.hostile(29)
def test_unsearchable_folder(ask):
    """Any error but ENOENT refuses; the next file is not tried."""
    rules(f"byuser/{UID}", "any,80")
    (CONFIG / "byport").chmod(0o700)
    answer = ask({})
    assert verdict(answer) == (w.REASON_FLAG_ERROR, "byport/80,tcp", 0)
    assert answer["cause"] == errno.EACCES


@pytest.mark.hostile(52)
def test_both_wildcards(ask):
    """:: needs a grant for 0.0.0.0 too, and the refusal says which half it is about."""
    rules(f"byuser/{UID}", "::/0,80")
    answer = ask({"family": V6})
    assert verdict(answer) == (w.REASON_NO_RULE, "", 0)
    assert answer["flags"] & w.FLAG_V4_HALF
    assert any(half for _, _, half, _ in answer["steps"])
    rules(f"byuser/{UID}", "::/0,80", "0.0.0.0/0,80")
    assert verdict(ask({"family": V6})) == (w.REASON_GRANTED, f"byuser/{UID}", 2)
    rules(f"byuser/{UID}", "0.0.0.0/0,80")
    answer = ask({"family": V6})
    assert (answer["reason"], answer["flags"] & w.FLAG_V4_HALF) == (w.REASON_NO_RULE, 0)


@pytest.mark.hostile(49)
def test_mapped_is_judged_as_ipv4(ask):
    """::ffff:127.0.0.1 takes the IPv4 port, so the IPv4 files count."""
    flag("byaddr/127.0.0.1,80")
    assert verdict(ask({"family": V6, "addr": "::ffff:127.0.0.1"}))[0] == w.REASON_GRANTED
    assert verdict(ask({"family": V6, "addr": "::127.0.0.1"}))[0] == w.REASON_NO_RULE


def test_many_groups(ask):
    """Every supplementary group is asked; a flag says that the trace was cut."""
    groups = range(2000, 2400)
    rules("bygroup/2399", "any,80")
    answer = ask({}, groups=groups)
    assert verdict(answer) == (w.REASON_GRANTED, "bygroup/2399", 1)
    assert answer["flags"] & w.FLAG_TRUNCATED
    assert len(answer["steps"]) == w.TRACE_MAX
