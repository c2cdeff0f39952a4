# SPDX-License-Identifier: GPL-3.0-or-later
"""Address policy and rule files: addresses that mean more, lines that could mean two things."""

import contextlib
import errno
import os
import pathlib
import shutil
import socket
import subprocess

import attacked
import hostile
import launching
import pytest
import support
from hostile import V6, as_uid, ask, bind_request, granted
from support import CONFIG, OTHER_UID, UID, rules

from pybind import _wire as w

NO_RULE = hostile.refused(w.REASON_NO_RULE)
BROKEN = hostile.refused(w.REASON_RULES_BROKEN)
AUTHBIND = "/etc/authbind/byuid"
AUTHBIND_BUFFER = 298


def ask_v6(addr, **more):
    """Run by a uid: return the outcome for an IPv6 socket."""
    with socket.socket(V6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return ask(sock, bind_request(addr=addr, family=V6, **more))


def test_case_49_mapped_address(uid):
    """::ffff:127.0.0.1 takes the IPv4 port, so only rules for 127.0.0.1 cover it."""
    rules(f"byuser/{uid}", "::/0,80", "::ffff:0:0/96,80", "::ffff:127.0.0.1,80")
    assert as_uid(uid, ask_v6, "::ffff:127.0.0.1") == NO_RULE
    assert as_uid(uid, ask_v6, "::1") == granted()  # control
    rules(f"byuser/{uid}", "127.0.0.1,80")
    assert as_uid(uid, ask_v6, "::ffff:127.0.0.1") == granted()
    assert as_uid(uid, ask_v6, "::ffff:127.0.0.2") == NO_RULE

    def takes_the_port():
        with socket.socket(V6) as sock, socket.socket() as other:
            assert ask(sock, bind_request(addr="::ffff:127.0.0.1", family=V6)) == granted()
            sock.listen()
            return ask(other).error

    assert as_uid(uid, takes_the_port) == errno.EADDRINUSE


def flip_v6only(count):
    """Run by a uid: (outcomes for ::, values seen) while another process flips IPV6_V6ONLY."""
    with socket.socket(V6) as sock:
        pid = os.fork()
        while pid == 0:
            for value in (0, 1):
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, value)
        try:
            outcomes, seen = set(), set()
            for _ in range(count):
                outcomes.add(ask(sock, bind_request(addr="::")))
                seen.add(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
            return outcomes, seen
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


@pytest.mark.parametrize("line", ["::/0,80", "::,80", "0.0.0.0/0,80"])
def test_case_52_wildcard_with_one_half_granted(uid, line):
    """`::` needs grants for both halves, whatever the value of IPV6_V6ONLY."""
    rules(f"byuser/{uid}", line)
    for v6only in (0, 1):

        def asking(v6only=v6only):
            with socket.socket(V6) as sock:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
                return ask(sock, bind_request(addr="::"))

        assert as_uid(uid, asking) == NO_RULE
    assert as_uid(uid, flip_v6only, 200) == ({NO_RULE}, {0, 1})
    rules(f"byuser/{uid}", "::,80", "0.0.0.0,80")
    assert as_uid(uid, ask_v6, "::") == granted()  # control


def test_case_53_scope(uid):
    """Rules ignore a scope id, but it reaches the kernel."""
    rules(f"byuser/{uid}", "fe80::1,80", "::1,80")
    index = socket.if_nametoindex("lo")
    subprocess.run(["ip", "address", "add", "fe80::1/64", "dev", "lo", "nodad"], check=True)
    try:
        assert as_uid(uid, lambda: ask_v6("fe80::1", scope=index)) == granted()
        none = as_uid(uid, ask_v6, "fe80::1")
        assert none == hostile.refused(w.REASON_KERNEL, errno.EINVAL)
        gone = as_uid(uid, lambda: ask_v6("fe80::1", scope=99))
        assert (gone.reason, gone.port) == (w.REASON_KERNEL, 0)
        assert as_uid(uid, lambda: ask_v6("::1", scope=99)) == granted()
        rules(f"byuser/{uid}", "::1,80")
        assert as_uid(uid, lambda: ask_v6("fe80::1", scope=index)) == NO_RULE
    finally:
        subprocess.run(["ip", "address", "del", "fe80::1/64", "dev", "lo"], check=True)


def authbind_binds(uid, content):
    """Tell whether authbind's own helper lets the uid bind port 80 with this rule file."""
    path = pathlib.Path(AUTHBIND)
    path.mkdir(parents=True, exist_ok=True)
    (path / str(uid)).write_bytes(content)
    code = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 80))"
    try:
        done = support.run(["/usr/bin/authbind", "/usr/bin/python3", "-c", code], uid=uid)
    finally:
        shutil.rmtree("/etc/authbind")
    return done.returncode == 0


@pytest.mark.parametrize(
    "size", [252, 254, 255, 256, 298, 300, 511, 1000, 1023, 1024, 4095, 4096, 65536]
)
def test_case_54_tail_of_a_long_comment(uid, size):
    """The end of a long comment is never read as a rule; a too long line breaks the file."""
    path = rules(f"byuser/{uid}")
    for at in (size - 1, size, size + 1):
        path.write_bytes(b"#" * at + b"0.0.0.0/0,80\n")
        outcome = as_uid(uid, ask)
        assert outcome == (BROKEN if at + 12 > 255 else NO_RULE)


def test_case_54_control(uid):
    """Control: authbind 2.1.3, which reads 298 bytes at a time, reads such an end as a rule."""
    launching.need("authbind", "authbind")
    assert authbind_binds(uid, b"#" * AUTHBIND_BUFFER + b"0.0.0.0/0,80\n")
    assert not authbind_binds(uid, b"#" + b"0.0.0.0/0,80\n")


HOSTILE_LINES = [
    b"any,4294967376", b"any,65616", b"any,-4294967216-80", b"any,80\0", b"\0any,80", b"any,80\r",
    b"any,80\r\nany,80", b"0.0.0.0/4294967295,80", b"0.0.0.0/4294967296,80", b"0.0.0.0/33,80",
    b"any,90-70", b"127.0.0.9-127.0.0.1,80", b"127.0.0.1/8,80", b"any,080", b"any,0x50", b"any,+80",
    b"any, 80 81", b"any,80;any,81", b"any,80/tcp,udp", b"\xef\xbb\xbfany,80", b"any\xc2\xa0,80",
    b"any,80\x0b", b"any,80\x1b[8m", b"127.1,80", b"0177.0.0.1,80", b"localhost,80", b"*,80",
    b"127.0.0.1%lo,80", b"[::1],80", b"include /etc/shadow", b",80", b"any,",
]  # fmt: skip


@pytest.mark.parametrize("line", HOSTILE_LINES, ids=repr)
def test_case_55_lines_that_one_parser_reads_so(uid, line):
    """A line with two possible readings makes its whole file refuse."""
    path = rules(f"byuser/{uid}")
    for content in (line + b"\n", b"any,80\n" + line + b"\n", line + b"\nany,80\n", line):
        path.write_bytes(content)
        assert as_uid(uid, ask) == BROKEN


def test_case_55_missing_last_newline(uid):
    """The last line counts without its newline, and an empty file grants nothing."""
    path = rules(f"byuser/{uid}")
    path.write_bytes(b"any,80")
    assert as_uid(uid, ask) == granted()
    path.write_bytes(b"")
    assert as_uid(uid, ask) == NO_RULE
    path.write_bytes(b"\n\n#\n \t\n")
    assert as_uid(uid, ask) == NO_RULE


@pytest.fixture
def accounts():
    """Add accounts whose names look like numbers and paths to the sandbox's /etc/passwd."""
    passwd = pathlib.Path("/etc/passwd")
    before = passwd.read_text()
    lines = [f"{OTHER_UID}:x:20001:20001::/:/bin/sh", f"{UID}:x:20002:20002::/:/bin/sh",
             "..:x:20003:20003::/:/bin/sh", "a/b:x:20004:20004::/:/bin/sh"]  # fmt: skip
    passwd.write_text(before + "\n".join(lines) + "\n")
    yield {str(OTHER_UID): 20001, str(UID): 20002, "..": 20003, "a/b": 20004}
    passwd.write_text(before)


def test_case_56_names_are_not_looked_up(uid, accounts):
    """An account whose name looks like a number or a path is judged by its own uid."""
    rules(f"byuser/{uid}", "any,80")
    for number in accounts.values():
        assert as_uid(number, ask) == NO_RULE
    assert as_uid(uid, ask) == granted()
    (CONFIG / "byuser" / str(uid)).unlink()
    rules("byuser/nobody", "any,80")
    (CONFIG / "byuser/a").mkdir()
    rules("byuser/a/b", "any,80")
    for number in (uid, *accounts.values()):
        assert as_uid(number, ask) == NO_RULE


@pytest.mark.hostile("R18")
def test_case_56_name_service_that_is_down(uid, grant):
    """The helper and the library work with a broken name service."""
    switch = pathlib.Path("/etc/nsswitch.conf")
    before = switch.read_text()
    switch.write_text("passwd: ldap\ngroup: ldap\nhosts: ldap\n")
    try:
        with pytest.raises(subprocess.CalledProcessError):  # control: no name is found
            subprocess.run(["/usr/bin/getent", "passwd", "root"], check=True)
        assert as_uid(uid, ask) == granted()
        done = attacked.under_library(uid, "s = socket.socket(); print(call(s, sin(80)), name(s))")
        assert done.stdout == "0 80\n", done.stderr
    finally:
        switch.write_text(before)
    helper = pathlib.Path(support.HELPER).read_bytes()
    assert not any(word in helper for word in (b"nsswitch", b"/etc/passwd", b"libnss"))
