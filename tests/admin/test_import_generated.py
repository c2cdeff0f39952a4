# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated authbind folders with wildcards, ranges over ::, lists and default lists.

The plan of an import has to list every answer that will differ. The test asks authbind's
own helper before the import and pybind-helper after it, as every user of the
configuration and as a stranger.
"""

import itertools
import json
import os
import random
import socket
import subprocess

import ask
import ctl
import pytest
import support
from ctl import AUTHBIND
from reference import Caller, Request
from support import CONFIG, FOLDERS

from pybind.permissions.spec import parse_spec

CONFIGURATIONS = int(os.environ.get("PYBIND_IMPORTS", "200"))
SEED = int(os.environ.get("PYBIND_COMPAT_SEED", "20240229"))
STRANGER = Caller(4242, 4242)
CALLERS = (Caller(1300, 1300), Caller(1301, 1300, (2000,)), Caller(1302, 1302, (2000, 2001)))
GROUPS = (1300, 2000, 2001)
PORTS = (80, 443, 511, 512, 631, 1023)
V6_RANGES = (
    "::",
    "::/0",
    "::-::5",
    "::-::ffff:ffff:ffff",
    "::/96",
    "::ffff:0:0/96",
    "::1",
    "::2-::9",
)
V6_RANGES += ("::ffff:127.0.0.1", "::/1", "2001:db8::/32", "::-ffff::")
V4_RANGES = ("0.0.0.0", "0.0.0.0/0", "127.0.0.1", "127.0.0.0/8", "0.0.0.0-127.0.0.1", "10.0.0.1")
FLAGGED = ("::", "0.0.0.0", "127.0.0.1", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0")
ASKED = ("0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::5", "2001:db8::1")
ASKED += ("::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:10.0.0.1")


every_address = pytest.fixture(ctl.every_address)


def mark(port):
    return "!" if port >= 512 else ""


def one_list(rng, default=False):
    """Return the arguments of setfacl for a few users and groups."""
    entries = [f"u:{caller.uid}:{rng.choice(('x', 'rx', '-', 'rwx'))}" for caller in CALLERS]
    entries += [f"g:{gid}:{rng.choice(('x', 'rx', '-'))}" for gid in GROUPS]
    entries += [f"u:{STRANGER.uid}:rx"] if default else []
    chosen = ",".join(rng.sample(entries, rng.randint(1, 3)))
    return ["setfacl", *(["-d"] if default else []), "-m", chosen]


def make_flag(rng, folder, name):
    path = folder / name
    path.touch()
    os.chown(path, rng.choice((0, 0, 0, *(c.uid for c in CALLERS))), rng.choice((0, *GROUPS)))
    path.chmod(rng.choice((0o755, 0o750, 0o700, 0o500, 0o070, 0o644, 0o010)))
    if rng.random() < 0.4:
        subprocess.run([*one_list(rng), path], check=True)


def lines(rng, used):
    found = []
    for _ in range(rng.randint(1, 4)):
        port = rng.choice(used)
        ports = rng.choice(
            (f"{port}", f"{port}-{port + 1}", f"{max(1, port - 2)}-{port}", "1-1023")
        )
        found.append(f"{rng.choice(V6_RANGES + V4_RANGES)},{ports}\n")
    return "".join(found)


def make(rng):
    """Write one configuration: authbind's folder, and pybind's, which may be empty.

    Returns the ports of the configuration.
    """
    used = rng.sample(PORTS, 3)
    support.clear_config()
    ctl.make_authbind()
    for _ in range(rng.randint(0, 2)):
        port = rng.choice(used)
        make_flag(rng, AUTHBIND / "byport", f"{mark(port)}{port}")
    for _ in range(rng.randint(0, 3)):
        port, text = rng.choice(used), rng.choice(FLAGGED)
        if ":" not in text and rng.random() < 0.5:
            name = f"{mark(port)}{text}:{port}"
        else:
            name = f"{mark(port)}{text},{port}"
        make_flag(rng, AUTHBIND / "byaddr", name)
    for caller, reserved in itertools.product(CALLERS, ("", "!")):
        if rng.random() < 0.6:
            (AUTHBIND / f"byuid/{reserved}{caller.uid}").write_text(lines(rng, used))
    (AUTHBIND / "byuid/1399").write_text("127.0.0.1,79\n")  # so that there is always a grant
    if rng.random() < 0.25:
        support.rules(
            "byuser/1302", rng.choice(("any,80", "0.0.0.0,443", "::,80", "127.0.0.1,511"))
        )
        support.rules("bygroup/2000", rng.choice(("any,511", "127.0.0.1,80/tcp")))
    for folder in FOLDERS:
        if rng.random() < 0.5:
            subprocess.run([*one_list(rng, default=True), CONFIG / folder], check=True)
    return used


def requests(caller, ports):
    for port, text in itertools.product(ports, ASKED):
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        yield Request(socket.inet_pton(family, text), port, "tcp", 0, caller)


def told(plan, request, granted, groups=True):
    """Tell whether the plan says that this caller's answer becomes `granted`.

    groups: an entry for a group of the caller, or for a stranger, counts too.
    """
    caller = request.caller
    whos = {str(caller.uid)}
    if groups:
        whos |= {*(f"@{gid}" for gid in (caller.gid, *caller.groups)), "everyone"}
    return any(
        difference["granted"] == granted
        and difference["user"] in whos
        and any(holds(parse(spec), request) for spec in difference["ports"])
        for difference in plan["differences"]
    )


def parse(spec):
    """Return (family, low, high, ports) of a SPEC of the plan, which may be v4-mapped."""
    where, _, ports = spec.rpartition(":")
    first, _, last = ports.partition("/")[0].partition("-")
    if "::ffff:" not in where:
        rule = parse_spec(spec)
        return rule.addr_min, rule.addr_max, rule.port_min, rule.port_max
    low, _, high = where.replace("[", "").replace("]", "").partition("-")
    low, _, length = low.partition("/")
    start = int.from_bytes(socket.inet_pton(socket.AF_INET6, low), "big")
    end = start | ((1 << (128 - int(length))) - 1) if length else start
    if high:
        end = int.from_bytes(socket.inet_pton(socket.AF_INET6, high), "big")
    return start.to_bytes(16, "big"), end.to_bytes(16, "big"), int(first), int(last or first)


def holds(box, request):
    low, high, first, last = box
    inside = low <= request.address <= high if low else True
    return len(low) in (0, len(request.address)) and inside and first <= request.port <= last


def answers(connections, ports):
    """Return request -> (authbind's answer, ours), asked as each caller."""
    for caller, connection in connections.items():
        connection.send(list(requests(caller, ports)))
    return {
        request: (theirs.granted, ours.granted)
        for caller, connection in connections.items()
        for request, (theirs, ours) in zip(requests(caller, ports), connection.recv())
    }


def test_plan_tells_what_differs(every_address):
    """Everybody's verdict stays the same, or the plan lists the difference before --apply."""
    connections = ask.start_drivers((*CALLERS, STRANGER))
    differing, named, kept = 0, set(), 0
    for number in range(CONFIGURATIONS):
        rng = random.Random(f"{SEED}/{number}")
        ports = make(rng)
        before = answers(connections, ports)
        files = ctl.snapshot()
        status, said = ctl.run_here("import", "authbind", "--json")
        assert status in (0, 1), said
        plan = json.loads(said)
        assert plan["problem"] == [], plan
        assert ctl.snapshot() == files
        unexplained = [each for each in plan["differences"] if not each["explanation"]]
        assert not unexplained, (number, unexplained)
        status, said = ctl.run_here("import", "authbind", "--apply", "--json")
        applied = json.loads(said)
        assert applied["differences"] == plan["differences"], (number, plan, applied)
        for name in ("changes", "left", "asked"):
            assert applied[name] == plan[name], (number, name)
        for request, (_, now) in answers(connections, ports).items():
            theirs, ours = before[request]
            if (theirs or ours) != now:
                differing += 1
                assert told(plan, request, now), (number, request, theirs, ours, now, plan)
            elif request.caller == CALLERS[0]:  # the plan knows all groups of this caller
                for granted in (False, True):
                    assert not told(plan, request, granted, groups=False), (number, request, plan)
        named |= {difference["name"] for difference in plan["differences"]}
        kept += type_all(plan) if number % 10 == 0 else 0
    print(differing, named, kept)
    assert named >= {"wildcard-needs-both", "mapped-refused", "mapped-granted"}
    assert differing > CONFIGURATIONS
    assert kept > CONFIGURATIONS / 20


def type_all(plan):
    """Type every command of the plan; after that no grant is lost."""
    commands = [command for difference in plan["differences"] for command in difference["commands"]]
    for command in commands:
        status, said = ctl.run_here(*command.split()[1:], "--yes")
        assert status == 0, (command, said)
    again = json.loads(ctl.run_here("import", "authbind", "--json")[1])
    assert not [d for d in again["differences"] if d["commands"]], (commands, again)
    return len(commands)
