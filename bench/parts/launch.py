# SPDX-License-Identifier: GPL-3.0-or-later
"""How long do the start and end of /bin/true take, by the command before it?"""

from __future__ import annotations

import os
import statistics
import time
from functools import partial

import support

from bench import world
from bench.figures import Outcome, Promise, Series, paired

TITLE = "launch of true"
ROUNDS = 15
_LAUNCHES = 10  # of one way, in one round
_BARE = "python3 -I -S -c pass"
_AMBIENT = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]
_IDS = ["--reuid", str(support.UID), "--regid", str(support.GID), "--clear-groups"]
_PLAIN, _PORT = "pybind -- true", "pybind --port 80 -- true"
# All run as nobody, except setpriv: root runs it to give nobody every privileged port.
WAYS = {
    "true": ["/bin/true"],
    "setpriv, a capability (as root)": ["/usr/bin/setpriv", *_IDS, *_AMBIENT, "/bin/true"],
    "authbind true": ["/usr/bin/authbind", "/bin/true"],
    _BARE: ["/usr/bin/python3", "-I", "-S", "-c", "pass"],
    _PLAIN: [support.PYBIND, "--", "true"],
    _PORT: [support.PYBIND, "--port", "80", "--", "true"],
}


def run(rounds: int) -> Outcome:
    """Measure; ratios are to the bare interpreter."""
    world.grant(80)
    ways = {
        name: partial(_median, argv) if "as root" in name
        else partial(world.as_nobody, partial(_median, argv))
        for name, argv in WAYS.items()
    }  # fmt: skip
    series = Series(TITLE, "s", _BARE, paired(ways, rounds, _BARE))
    promises = [
        Promise(f"{_PLAIN} / {_BARE}", series.ratio(_PLAIN), at_most=1.6),
        Promise(f"{_PORT} / {_BARE}", series.ratio(_PORT), at_most=2.0),
    ]
    return Outcome([series], promises, [])


def _median(argv: list[str]) -> float:
    """Return the median of the seconds from before the spawn to after the wait."""
    taken = []
    for _ in range(_LAUNCHES):
        start = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, world.ENVIRON)
        status = os.waitpid(pid, 0)[1]
        taken.append(time.perf_counter() - start)
        if status != 0:
            raise ChildProcessError(f"{argv}: status {os.waitstatus_to_exitcode(status)}")
    return statistics.median(taken)
