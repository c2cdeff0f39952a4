# SPDX-License-Identifier: GPL-3.0-or-later
"""list: the grants that it shows, with file and line, are those of the helper."""

import ipaddress
import json
import os
import shutil
import socket
import subprocess

import generate
import pytest
import support
from ctl import PYBINDCTL, as_json, done, failed, pybindctl
from support import CONFIG, UID, flag, rules

from pybind import _wire
from pybind.admin.asking import ask
from pybind.admin.commands import lint
from pybind.admin.commands import list as listing
from pybind.model import Address
from pybind.paths import FOLDERS
from pybind.permissions import delegations
from pybind.permissions.names import Flag, Owner, parse_name
from pybind.permissions.who import Identity, identity_of

SEED = int(os.environ.get("PYBIND_SEED", "4"))
CONFIGURATIONS = int(os.environ.get("PYBIND_CONFIGURATIONS", "60"))
FILE_REASONS = {
    _wire.REASON_FLAG_KIND, _wire.REASON_RULES_UNSAFE, _wire.REASON_RULES_UNREADABLE,
    _wire.REASON_RULES_ERROR, _wire.REASON_RULES_TOO_BIG, _wire.REASON_RULES_BROKEN,
}  # fmt: skip
MAPPED = b"\0" * 10 + b"\xff\xff"


def write(files):
    """Write a generated configuration, and nothing else."""
    for path in (CONFIG, CONFIG.with_name("pybind.target")):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    for name, entry in sorted(files.items()):
        path = CONFIG / name if name else CONFIG
        if entry.kind in ("symlink", "dangling"):
            target = path.with_name(path.name + ".target")
            path.symlink_to(target.name)
            path = target
        if entry.kind == "dangling":
            continue
        if entry.kind == "directory" or (entry.kind == "symlink" and "/" not in name):
            path.mkdir(exist_ok=True)
        elif entry.kind == "fifo":
            os.mkfifo(path)
        else:
            path.write_bytes(entry.content)
        os.chown(path, entry.uid, entry.gid)
        path.chmod(entry.mode)


def questions(configuration):
    """Return the addresses of the requests, each with both protocols."""
    found = {}
    for request in configuration.requests:
        family = socket.AF_INET if len(request.address) == 4 else socket.AF_INET6
        for udp in (False, True):
            found[Address(int(family), request.address, 0, request.port, udp)] = None
    return list(found)


def covers(entry, addr, port, protocol):
    """Tell whether an entry of the JSON covers a question, by the documentation."""
    if not entry["ports"][0] <= port <= entry["ports"][1] or protocol not in entry["protocols"]:
        return False
    text, address = entry["address"], ipaddress.ip_address(addr)
    if text == "any":
        return True
    if "-" in text:
        low, high = map(ipaddress.ip_address, text.split("-"))
        return low.version == address.version and low <= address <= high
    return address in ipaddress.ip_network(text)


def is_flag_for(name, addr, port, protocol):
    """Tell whether a flag file decides a question."""
    what = parse_name(*name[len(str(CONFIG)) + 1 :].split("/", 1))
    rule = what.rule
    return (
        rule.port_min == port
        and rule.protocol in (None, protocol)
        and (rule.family == 0 or rule.addr_min == addr)
    )


def says(entries, address):
    """Tell whether the entries of list grant one address."""
    addr = address.addr[12:] if address.addr.startswith(MAPPED) else address.addr
    protocol = "udp" if address.udp else "tcp"
    halves = [addr, bytes(4)] if addr == bytes(16) else [addr]
    return all(
        any(
            covers(entry, half, address.port, protocol)
            and not any(
                is_flag_for(name, half, address.port, protocol)
                for name in entry["decided_before_by"]
            )
            for entry in entries
        )
        for half in halves
    )


def is_meant(entry, caller):
    """Tell whether an entry of the list of all users applies to a caller."""

    def fits(who):
        if who["kind"] == "user":
            return who["id"] == caller.uid
        return who["kind"] == "everyone" or who["id"] in (caller.gid, *caller.groups)

    return fits(entry["who"]) and not any(map(fits, entry["but"]))


def objects(found):
    """Return the objects that --json shows for the delegations."""
    return [listing._as_object(row, found.flags) for row in found.delegations]


def test_what_list_says_is_what_the_helper_grants():
    """list and the helper agree on generated files, callers and requests."""
    seen = {True: 0, False: 0}
    for number in range(CONFIGURATIONS):
        configuration = generate.configuration(SEED, number)
        write(configuration.files)
        asked = questions(configuration)
        everybody = delegations.delegations()
        general = objects(everybody)
        for caller in generate.CALLERS:
            who = Identity(caller.uid, caller.gid, caller.groups, None)
            own = delegations.delegations(who)
            entries = objects(own)
            replies = ask.ask(who, asked)
            for address, reply in zip(asked, replies):
                case = (SEED, number, who, address, reply)
                granted = reply.reason == _wire.REASON_GRANTED
                assert says(entries, address) == granted, case
                meant = [entry for entry in general if is_meant(entry, caller)]
                if granted or not own.refusing:
                    assert says(meant, address) == granted, case
                if granted:
                    file, line = f"{CONFIG}/{reply.name}", reply.line or None
                    assert any((e["file"], e["line"]) == (file, line) for e in entries), case
                seen[granted] += 1
    assert min(seen.values()) > 5 * CONFIGURATIONS, seen


def test_lint_calls_broken_what_the_helper_does():
    """lint names every file or folder that makes the helper refuse, in whole configurations."""
    causes = set()
    for number in range(CONFIGURATIONS):
        configuration = generate.configuration(SEED, number)
        write(configuration.files)
        found, _ = lint.everything()
        broken = {finding.file for finding in found if finding.level == "broken"}
        unsearchable = {finding.file for finding in found if finding.code == "folder-search"}
        asked = questions(configuration)
        for caller in generate.CALLERS:
            for reply in ask.ask(Identity(*caller[:3], None), asked):
                case = (SEED, number, caller, reply, sorted(broken))
                path = f"{CONFIG}/{reply.name}".rstrip("/")
                causes.add(reply.reason)
                if reply.reason in (_wire.REASON_CONFIG_UNSAFE, _wire.REASON_CONFIG_MISSING):
                    assert path in broken, case
                elif (reply.cause == 13 and os.path.dirname(path) in unsearchable | broken) or (
                    reply.cause == 13 and str(CONFIG) in unsearchable
                ):
                    continue
                elif reply.reason in FILE_REASONS - {_wire.REASON_RULES_UNREADABLE}:
                    assert path in broken, case
    assert {_wire.REASON_RULES_BROKEN, _wire.REASON_RULES_UNSAFE, _wire.REASON_CONFIG_UNSAFE,
            _wire.REASON_FLAG_KIND} <= causes  # fmt: skip


def alone(name):
    """Ask the helper a question that only this file can decide; return the reply."""
    what = parse_name(*name.split("/"))
    who, port, addr, udp = Identity(UID, UID, (), None), 80, bytes(4), False
    if isinstance(what, Flag):
        port, udp = what.rule.port_min, what.rule.protocol == "udp"
        addr = what.rule.addr_min or addr
    elif isinstance(what, Owner):
        port = 600 if what.reserved else 80
        who = Identity(UID, what.ident, (), None)
        if what.folder == "byuser":
            who = identity_of(what.ident)
    family = socket.AF_INET if len(addr) == 4 else socket.AF_INET6
    return ask.ask(who, [Address(int(family), addr, 0, port, udp)])[0]


def test_lint_calls_broken_exactly_what_the_helper_does():
    """lint calls a generated file broken if and only if the helper refuses it."""
    seen = {True: 0, False: 0}
    for number in range(CONFIGURATIONS):
        for name, entry in generate.configuration(SEED, number).files.items():
            if "/" not in name:
                continue
            support.clear_config()
            folders = {f: generate.Entry("directory", 0o755) for f in ("", *FOLDERS)}
            write({**folders, name: entry})
            reply = alone(name)
            found, _ = lint.everything()
            broken = [finding for finding in found if finding.level == "broken"]
            case = (SEED, number, name, entry, reply, broken)
            refuses = reply.reason in FILE_REASONS
            assert bool(broken) == refuses, case
            assert all(finding.file == f"{CONFIG}/{name}" for finding in broken), case
            if reply.reason == _wire.REASON_RULES_BROKEN:
                assert broken[0].line == reply.line, case
                assert _wire.FAULT_TEXTS[reply.fault] in broken[0].text, case
            single, _ = lint.these([f"{CONFIG}/{name}"])
            assert single == [f for f in found if not f.file.endswith(".target")], case
            seen[refuses] += 1
    assert min(seen.values()) > CONFIGURATIONS // 4, seen


def test_table():
    """The table has user, address, port, protocol, file and line, in the order of the files."""
    flag("byport/443", mode=0o755)
    flag("byport/25", uid=1, gid=2, mode=0o710)
    flag("byaddr/::1,443,tcp", mode=0o750)
    rules(f"byuser/{UID}", "# comment", "any,80", "192.0.2.0/24,1-1023/tcp", "::ffff:1.2.3.4,80")
    rules(f"byuser/!{UID}", "2001:db8::1-2001:db8::5,631/udp", "any,80")
    rules("bygroup/4711", "any,25")
    assert done("list").splitlines() == [
        "WHO       ADDRESS                  PORT   PROTOCOL  FROM",
        f"nobody    192.0.2.0/24             1-511  tcp       byuser/{UID} line 3",
        "  in part not in force: byport/25, byport/443 decide first",
        "daemon    any                      25     tcp+udp   byport/25",
        "@bin      any                      25     tcp+udp   byport/25",
        "@4711     any                      25     tcp+udp   bygroup/4711 line 1",
        "  not in force: byport/25 decides first",
        f"nobody    any                      80     tcp+udp   byuser/{UID} line 2",
        "everyone  any                      443    tcp+udp   byport/443",
        "@nogroup  ::1                      443    tcp       byaddr/::1,443,tcp",
        "  not in force: byport/443 decides first",
        f"nobody    2001:db8::1-2001:db8::5  631    udp       byuser/!{UID} line 1",
    ]
    assert [line.split()[2] for line in done("list", "--port", "80").splitlines()[1:]] == [
        "1-511", "not", "80",
    ]  # fmt: skip
    mine = done("list", "--user", "nobody")
    assert mine.splitlines()[1].split() == [
        "nobody",
        "192.0.2.0/24",
        "1-511",
        "tcp",
        f"byuser/{UID}",
        "line",
        "3",
    ]
    assert "25 " not in done("list", "--user", "nobody", "--port", "443")


def test_access_lists():
    """Entries of an access control list are delegations; excluded users are named."""
    path = flag("byport/80", gid=0, mode=0o700)
    subprocess.run(["setfacl", "-m", f"u:{UID}:x,u:1:r,g:33:x", path], check=True)
    found = as_json("list")["delegations"]
    assert [(entry["who"]["kind"], entry["who"]["id"]) for entry in found] == [
        ("user", UID), ("group", 33),
    ]  # fmt: skip
    assert [who["id"] for who in found[1]["but"]] == [1]
    subprocess.run(["setfacl", "-m", "m::r", path], check=True)
    assert [entry["who"]["name"] for entry in as_json("list")["delegations"]] == ["root"]
    subprocess.run(["setfacl", "-m", "m::x,o::x,g:33:-", path], check=True)
    assert done("list").splitlines()[1].startswith("everyone but daemon, @root, @www-data  any")


def test_refusing_files_are_named():
    """A broken file grants nothing, is named on standard error, and stops its user's search."""
    rules(f"byuser/{UID}", "any,80", "any,8o")
    rules(f"bygroup/{UID}", "any,81")
    process = pybindctl("list")
    assert process.returncode == 3
    assert "byuser" not in process.stdout
    assert f"/etc/pybind/byuser/{UID} line 2: not of the form" in process.stderr
    process = pybindctl("list", "--user", "nobody")
    assert (process.returncode, process.stdout) == (3, "nothing is granted\n")
    (refusing,) = as_json("list", status=3)["refusing"]
    assert refusing["repair"].endswith(f"'2s/^/# /' {CONFIG}/byuser/{UID}")
    del refusing["repair"]
    assert refusing == {"file": f"{CONFIG}/byuser/{UID}", "line": 2, "why": _wire.FAULT_TEXTS[3]}
    (CONFIG / "byaddr").chmod(0o777)
    process = pybindctl("list")
    assert process.stdout == "nothing is granted\n"
    assert "/etc/pybind/byaddr: others than root can write it" in process.stderr


def test_needs_no_root():
    """An ordinary user may list everybody's delegations; unreadable files are named."""
    rules("byuser/1", "any,80")
    rules("byuser/2", "any,81", gid=2, mode=0o640)
    process = support.run([PYBINDCTL, "list"])
    assert process.returncode == 0
    assert process.stdout.splitlines()[1].split() == [
        "daemon", "any", "80", "tcp+udp", "byuser/1", "line", "1",
    ]  # fmt: skip
    assert "byuser/2 was not looked at" in process.stderr


def test_empty_and_missing():
    """No files, no folders or a file in a folder's place gives no traceback."""
    assert done("list") == "nothing is granted\n"
    assert as_json("list") == {"schema": 1, "delegations": [], "refusing": []}
    shutil.rmtree(CONFIG / "byport")
    rules("byuser/1", "any,80")
    assert "daemon" in done("list")
    shutil.rmtree(CONFIG)
    assert "does not exist" in pybindctl("list").stderr
    CONFIG.touch()
    assert "is not a directory" in pybindctl("list").stderr
    CONFIG.unlink()


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--port", "x"], ["--user", "no-such"]])
def test_wrong_input(arguments):
    """Wrong input gets a clear error and no table."""
    process = pybindctl("list", *arguments)
    assert (process.returncode, process.stdout) == (2, "")
    assert "Traceback" not in process.stderr


def test_many_files_on_a_terminal():
    """With many files a progress bar is shown, only if standard error is a terminal."""
    for number in range(600):
        rules(f"byuser/{20000 + number}", "any,80", "10.0.0.0/8,443/tcp")
    quiet = pybindctl("list")
    assert quiet.stderr == ""
    assert len(quiet.stdout.splitlines()) == 1201
    shown = subprocess.run(
        ["script", "-qec", f"{PYBINDCTL} list", "/dev/null"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env={"TERM": "xterm"},
    )  # fmt: skip
    head, _, rest = shown.stdout.partition("WHO")
    assert "reading" in head
    assert "reading" not in rest
    assert len(rest.splitlines()) == 1201
    assert len(json.loads(pybindctl("list", "--json").stdout)["delegations"]) == 1200


def test_port_by_name():
    """--port takes a number or the name of a service, and says what is wrong with others."""
    done("grant", "--yes", "nobody", "80", "443")
    by_number = done("list", "--port", "80")
    assert done("list", "--port", "http") == by_number
    assert " 443 " not in by_number
    for wrong, word in [("0", "port 0"), ("65536", "1 to 65535"), ("80/tcp", "every address"),
                        ("80,443", "one port"), ("no-such", "no service")]:  # fmt: skip
        failed(2, "list", "--port", wrong, words=[word])
