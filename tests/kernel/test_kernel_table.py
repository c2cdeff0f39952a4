# SPDX-License-Identifier: GPL-3.0-or-later
"""The data between Python and the programs: structs, tables, lines of the log."""

import re
import socket
import subprocess
import time

import pytest
import support
from support import CONFIG, flag, rules

from pybind.kernel import entries, layout, table
from pybind.kernel import files as files_
from pybind.kernel.records import Log, line_of
from pybind.kernel.watch import Changes, Watch
from pybind.permissions.names import parse_name

HEADER = support.REPOSITORY / "helpers/kernel/table.h"
STRUCTS = {"name": layout.NAME, "file": layout.FILE, "line": layout.LINE, "record": layout.RECORD}


def _c_says(*expressions):
    """Return the values that a C compiler gives expressions about table.h."""
    prints = "".join(f'printf("%zu\\n", (size_t)({e}));' for e in expressions)
    source = f"""
#include <linux/types.h>
#include <stddef.h>
#include <stdio.h>
#include "{HEADER}"
int main(void) {{ {prints} }}
"""
    said = subprocess.run([support.compile_c(source)], capture_output=True, text=True).stdout
    return [int(word) for word in said.split()]


def _offsets(packed):
    """Return the offset of each field of a struct.Struct, without padding."""
    where, at = [], 0
    for count, code in re.findall(r"(\d*)([A-Za-z])", packed.format):
        if code == "x":
            at += int(count or 1)
        elif code == "s":
            where.append(at)
            at += int(count)
        else:
            for _ in range(int(count or 1)):
                where.append(at)
                at += {"Q": 8, "I": 4, "H": 2, "B": 1}[code]
    return where, at


@pytest.mark.parametrize("name", STRUCTS)
def test_structs(name):
    """Python packs each struct of table.h with the same members at the same offsets."""
    body = re.search(rf"^struct {name} {{\n(.*?)^}};", HEADER.read_text(), re.M | re.S)[1]
    declared = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    members = [
        member.strip()
        for line in re.findall(r"\w+ ([^;]+);", declared)
        for member in line.split(",")
        if not member.strip().startswith("zero")
    ]
    members = [re.sub(r"\[.*", "", member) for member in members]
    where, size = _offsets(STRUCTS[name])
    said = _c_says(f"sizeof(struct {name})", *(f"offsetof(struct {name}, {m})" for m in members))
    assert said == [size, *where]


def test_other_sizes():
    """Python agrees with the rest of table.h: control area, list entries, enum numbers."""
    control = (
        "lease_until_ns",
        "netns_cookie",
        "userns_inum",
        "slot",
        "folders",
        "left",
        "ports",
        "numbers",
    )
    assert _c_says(
        "sizeof(struct control)", *(f"offsetof(struct control, {m})" for m in control)
    ) == [
        layout.CONTROL_SIZE, layout.LEASE_UNTIL_NS, layout.NETNS_COOKIE, layout.USERNS_INUM,
        layout.SLOT, layout.FOLDERS, layout.LEFT_ALL, layout.PORTS, layout.NUMBERS,
    ]  # fmt: skip
    assert _c_says(
        "sizeof(union detail)", "offsetof(struct entry, ident)", "offsetof(struct entry, is_group)",
        "offsetof(struct entry, permissions)", "SLOTS", "BYPORT", "BYADDR", "BYUSER", "BYGROUP",
        "JUDGED", "REFUSES", "LEFT", "READABLE", "EXECUTABLE", "TCP", "UDP",
        "GRANTED", "REFUSED", "REFUSED_LEFT", "REFUSED_IDS", "REFUSED_CHANGED", "REFUSED_LATE",
    ) == [
        layout.ENTRY.size, 0, 4, 5, layout.SLOTS,
        layout.BYPORT, layout.BYADDR, layout.BYUSER, layout.BYGROUP,
        layout.JUDGED, layout.REFUSES, layout.LEFT, layout.READABLE, layout.EXECUTABLE,
        layout.PROTOCOLS["tcp"], layout.PROTOCOLS["udp"], layout.GRANTED, layout.REFUSED,
        layout.REFUSED_LEFT, layout.REFUSED_IDS, layout.REFUSED_CHANGED, layout.REFUSED_LATE,
    ]  # fmt: skip


def _item(name, noexec=False):
    return entries.read_item(parse_name(*name.split("/")), noexec)


def test_of_two_spellings_the_first_counts():
    """Of two files for one address, the table has the file that the helper finds first."""
    for first, second in (
        ("byaddr/127.0.0.1:80", "byaddr/127.0.0.1,80"),
        ("byaddr/::1,80", "byaddr/0:0:0:0:0:0:0:1,80"),
    ):
        flag(first, mode=0o700)
        flag(second, mode=0o755)
        for order in ((first, second), (second, first)):
            made = table.build(map(_item, order), table.Numbers())
            assert made.size == 1
            assert layout.FILE.unpack(made.values)[4] == 7
            assert layout.FILE.unpack(made.values)[6] == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda p: p.chmod(0o646), "is not safely root's"),
        (lambda p: p.write_text("any,8o\n"), "line 1 is broken"),
        (lambda p: p.write_bytes(b"#" * (1 << 20) + b"\n"), "is larger than 1 MiB"),
        (lambda p: (p.unlink(), p.mkdir()), "is not a regular file"),
        (lambda p: (p.unlink(), p.symlink_to("/etc/passwd")), "is not a regular file"),
    ],
)
def test_rule_files_that_refuse(change, why):
    """The table refuses, with the reason, a rule file that makes the helper refuse everybody."""
    change(rules("byuser/1000", "any,80"))
    item = _item("byuser/1000")
    assert (item.state, item.why) == (layout.REFUSES, why)


def test_flag_files_that_refuse():
    """The table refuses for an irregular flag file, and for any on a noexec file system."""
    (CONFIG / "byport/80").mkdir()
    assert _item("byport/80").state == layout.REFUSES
    flag("byport/81")
    assert _item("byport/81", noexec=True).state == layout.REFUSES
    assert _item("byport/82") is None


def test_full_table(monkeypatch):
    """Files that do not fit into the table are left to the helper; the others are judged."""
    monkeypatch.setattr(table, "DETAILS_MAX", 3)
    for uid in (1, 2, 3):
        rules(f"byuser/{uid}", "any,80", "any,81")
    made = table.build(map(_item, ("byuser/1", "byuser/2", "byuser/3")), table.Numbers())
    assert made.left == (("byuser/2", "the table is full"), ("byuser/3", "the table is full"))
    assert made.line_count == 2


def test_empty_mask_is_no_list():
    """With an empty mask the table looks only at the mode, as the kernel does."""
    path = flag("byport/80", gid=7, mode=0o705)
    subprocess.run(["setfacl", "-m", "u:1000:-", path], check=True)
    item = _item("byport/80")
    assert item.entries == b""
    assert item.permissions == (7, 0, 5, 0, 7)


def _record(**fields):
    values = {
        "high": 0, "low": 0x7F000001, "lost": 0, "uid": 1000, "tgid": 4711, "file": 1, "port": 80,
        "family": 4, "udp": 0, "event": layout.GRANTED, "foreign": 0, "comm": b"java",
        **fields,
    }  # fmt: skip
    return layout.RECORD.pack(*values.values())


def test_lines_of_the_log():
    """Each record gives one line; a name that a process chose cannot forge another line."""
    numbers = table.Numbers()
    numbers.of("byport/80")
    said = line_of(_record(), numbers)
    assert said == (True, 'granted uid=1000 tcp 127.0.0.1:80 by=byport/80 pid=4711 comm="java"')
    evil = b'a" by=x\n\\\x1b[2J'
    said = line_of(_record(comm=evil, event=layout.REFUSED, file=0, lost=7), numbers)[1]
    assert said == (
        "refused uid=1000 tcp 127.0.0.1:80 by=- pid=4711 "
        'comm="a\\x22 by=x\\x0a\\x5c\\x1b[2J" unlogged=7'
    )
    said = line_of(_record(family=6, low=1, udp=1, foreign=1, event=layout.REFUSED_LEFT), numbers)
    assert said[1] == (
        "refused uid=1000 userns=other udp [::1]:80 by=byport/80 pid=4711 "
        'comm="java" why="left to pybind-helper"'
    )


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (layout.REFUSED_IDS, "real and effective ids differ"),
        (layout.REFUSED_CHANGED, "another program changed the address after it was judged"),
        (layout.REFUSED_LATE, "no longer granted when the kernel came to it"),
    ],
)
def test_reasons_in_the_log(event, why):
    """A refusal that no file explains has its reason."""
    said = line_of(_record(event=event, file=0), table.Numbers())[1]
    assert said.endswith(f' why="{why}"')


def test_syslog():
    """Lines go to syslog's socket with facility and tag; lines that it refuses are counted."""
    path = str(support.scratch_dir() / "log")
    log = Log(path)
    log.write("nobody listens")
    assert log.unlogged == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(path)
        syslog.setblocking(False)
        log.write("granted", notice=False)
        log.write("refused", notice=True)
        assert re.fullmatch(rb"<86>pybindd\[\d+\]: granted", syslog.recv(100))
        assert re.fullmatch(rb"<85>pybindd\[\d+\]: refused", syslog.recv(100))
        for _ in range(10000):  # more lines than the socket holds: the writer never waits
            log.write("x" * 500)
        assert log.unlogged > 1
    log.close()


class _Deaf(Watch):
    """A watch that reports nothing, so that only reading again finds changes."""

    def drain(self):
        super().drain()
        return Changes(frozenset(), folders=False, lost=False)


def _age(*paths):
    """Wait until the change times of files are old enough to be reliable."""
    newest = max(path.stat().st_ctime_ns for path in paths)
    support.wait_for(lambda: time.time_ns() - newest > 2 * 10**9, "the files to be old")


@pytest.mark.hostile(82)
def test_read_again_without_events():
    """Ten steps find every unreported change: mode, list, contents, a new file."""
    flag_path, listed = flag("byport/80"), flag("byport/81")
    rule_path = rules("byuser/1000", "any,80")
    files = files_.Files(_Deaf(), lambda: None)
    numbers = table.Numbers()
    assert files.catch_up(time.monotonic() + 30)
    files.table(numbers)
    _age(flag_path, listed, rule_path)

    def again():
        for _ in range(2 * files_.ROUNDS + 2):
            files.recheck()
        found, files.changed = files.changed, False
        return found

    again()
    assert not again()
    for change in (
        lambda: flag_path.chmod(0o700),
        lambda: subprocess.run(["setfacl", "-m", "u:1000:x", listed], check=True),
        lambda: rule_path.write_text("any,81\n"),
        lambda: flag("byport/82"),
        lambda: flag_path.unlink(),
    ):
        change()
        assert again()
        again()
        assert not again()
