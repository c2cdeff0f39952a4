# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated authbind configurations are imported: both real helpers give the same answers.

The generator, the helpers' driver and the named differences are those of
tests/proof/compat. Of the differences in pybind(5) only the unavoidable ones remain.
An import adds one on purpose: it leaves out grants that authbind's library never asks for.
"""

import collections
import errno
import os
import socket

import ask
import comparing
import ctl
import generate
import pytest
import reference
import support
from ctl import AUTHBIND

from pybind.admin.importers import authbind, authbind_lines
from pybind.admin.importers.authbind_lines import LIBRARY_PORT_MAX
from pybind.model import Address
from pybind.permissions.rule import Broken, parse_line
from pybind.permissions.who import Identity

CONFIGURATIONS = 200
SEED = int(os.environ.get("PYBIND_COMPAT_SEED", "20240229"))
# The allowed differences: names of pybind(5), with all line- differences as one, and
# grants that an import leaves out because authbind's library never asks for them.
NOT_CARRIED, HIGH_PORT = "line-", "port above 1023"


every_address = pytest.fixture(ctl.every_address)


@pytest.fixture(autouse=True)
def only_authbinds_tree(monkeypatch):
    """Have the generator write authbind's tree only."""
    monkeypatch.setattr(comparing, "TREES", ((AUTHBIND, {"byuser": "byuid"}),))


def judged(request):
    """Return the addresses that pybind(5) judges: IPv4 for a mapped one, both halves of `::`."""
    if reference.is_mapped(request):
        return [request.address[12:]]
    return [request.address, bytes(4)] if request.address == bytes(16) else [request.address]


def old_answers(caller, requests):
    """Return authbind's answers as the import predicts them: (as asked, as judged) for each."""
    reader = authbind._Reader(str(AUTHBIND))
    reader.read_rule_files()

    def ask_old(packed):
        addresses = [
            Address(socket.AF_INET if len(a) == 4 else socket.AF_INET6, a, 0, port, False)
            for a, port in packed
        ]
        return authbind.ask_as(str(AUTHBIND), reader.meanings, Identity(*caller, None), addresses)

    return [
        (
            ask_old([(request.address, request.port)])[0],
            ask_old([(address, request.port) for address in judged(request)]),
        )
        for request in requests
    ]


def names(request, theirs, ours, answers):
    """Return the names of the differences that excuse our answer."""
    if not ours.granted and not theirs.granted:
        return ["refusal-errno"] if ours.error == errno.EACCES else []
    if ours.granted and theirs.granted:
        return ["scope-id"] if request.scope and ours.error == 0 else []
    if reference.is_mapped(request):
        return ["mapped-granted" if ours.granted else "mapped-refused"]
    found = [NOT_CARRIED] if not ours.granted and any(old.why_not for old in answers) else []
    if not ours.granted and request.port > LIBRARY_PORT_MAX:
        found.append(HIGH_PORT)
    if not ours.granted and len(answers) == 2 and not answers[1].granted:
        found.append("wildcard-needs-both")
    return found


class Comparison:
    """Counts of the comparisons and of the excuses."""

    def __init__(self):
        self.imported = 0
        self.requests = 0
        self.verdicts = collections.Counter()
        self.explained = collections.Counter()
        self.failures = []

    def compare(self, configuration, request, answers, believed):
        """Compare authbind's answer, pybind's, and the prediction of the import."""
        assert not isinstance(answers, str), answers
        theirs, ours = answers
        as_asked, as_judged = believed
        self.requests += 1
        self.verdicts[theirs.granted, ours.granted] += 1
        details = (configuration, request, f"authbind {theirs}", f"pybind {ours}", believed)
        if as_asked.granted != theirs.granted:
            self.failures.append("authbind is read wrongly: " + comparing.describe(*details))
        carried = request.port <= LIBRARY_PORT_MAX and all(
            old.granted and not old.why_not for old in as_judged
        )
        if ours.granted != carried:
            self.failures.append("not what was carried over: " + comparing.describe(*details))
        if (ours.granted, ours.error) != (theirs.granted, theirs.error):
            found = names(request, theirs, ours, as_judged)
            self.explained.update(found)
            if not found:
                self.failures.append("unexplained: " + comparing.describe(*details))


def test_same_answers(every_address):
    """After the import of 200 configurations, authbind's real helper and pybind's agree."""
    drivers = ask.start_drivers(generate.CALLERS)
    comparison = Comparison()
    refused = 0
    for number in range(10 * CONFIGURATIONS):
        if comparison.imported == CONFIGURATIONS:
            break
        configuration = generate.configuration(SEED, number)
        comparing.write_files(configuration.files)
        support.clear_config()
        status, said = ctl.run_here("import", "authbind", "--apply")
        assert "Traceback" not in said
        if status not in (0, 1):
            refused += 1
            assert_unusable(configuration, said)
            continue
        assert "DIFFERS" not in said, (configuration, said)
        nothing = "nothing could be taken over" in said
        expected = 1 if nothing else 0
        assert status == expected, (
            comparing.describe(configuration, configuration.requests[0]),
            said,
        )
        if number % 10 == 0:
            before = ctl.snapshot()
            assert ctl.run_here("import", "authbind", "--apply")[0] == expected
            assert ctl.snapshot() == before
        comparison.imported += 1
        for caller, connection in drivers.items():
            requests = [r for r in configuration.requests if r.caller == caller]
            connection.send(requests)
            old = old_answers(caller, requests) if requests else []
            for request, answers, believed in zip(requests, connection.recv(), old):
                comparison.compare(configuration, request, answers, believed)
    print(comparison.requests, refused, dict(comparison.verdicts), dict(comparison.explained))
    assert not comparison.failures, "\n\n".join(comparison.failures[:5])
    assert comparison.imported == CONFIGURATIONS
    assert refused < CONFIGURATIONS / 10
    assert {NOT_CARRIED, HIGH_PORT, "wildcard-needs-both"} <= set(comparison.explained)
    assert comparison.verdicts[True, True] > 100


def assert_unusable(configuration, said):
    """Assert that a refused import is about a folder that some users could not search."""
    folders = [configuration.files.get(name) for name in ("", "byport", "byaddr")]
    odd = [e for e in folders if e is None or e.kind != "directory" or e.mode & 0o111 != 0o111]
    assert odd, said
    assert any(
        word in said for word in ("no such folder", "cannot be searched", "no byport,")
    ), said


def test_odd_lines_are_broken_ones():
    """A line that authbind reads in a way that nobody meant is broken by pybind(5).

    So the lines that an import leaves out fall under the line- differences.
    """
    seen = 0
    for number in range(400):
        for name, entry in generate.configuration(SEED, number).files.items():
            if not name.startswith("byuser/"):
                continue
            for line in authbind_lines.read(entry.content):
                carried = authbind_lines.carry(line)
                assert not isinstance(parse_line(carried.text), Broken), carried
                if any(meaning.odd for meaning in line.meanings):
                    seen += 1
                    assert isinstance(parse_line(line.raw), Broken), line
    assert seen > 20
