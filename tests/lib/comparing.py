# SPDX-License-Identifier: GPL-3.0-or-later
"""What comparisons of several judges share: workers that compare, and the sum of their findings.

A worker is a program with the arguments SEED FIRST STEP CASES. It takes the configurations
FIRST, FIRST + STEP and so on of generate.py until CASES requests were compared, and prints
its Tally as JSON.
"""

import collections
import ipaddress
import json
import subprocess
import sys

CONTENT_SHOWN = 400
FAILURES_SHOWN = 3  # of each kind, by each worker
ISOLATED = ["unshare", "--mount", "--net", "--propagation", "private", "--"]


class Tally:
    """Counts of one worker's comparisons, and its failures."""

    def __init__(self, *counters):
        self.cases = 0
        self.failures = []
        for name in ("verdicts", "failure_counts", *counters):
            setattr(self, name, collections.Counter())

    def fail(self, what, configuration, request, *said):
        """Count a failure of the kind `what`, and keep the first ones in words."""
        self.failure_counts[what] += 1
        if self.failure_counts[what] <= FAILURES_SHOWN:
            self.failures.append(f"{what}: {describe(configuration, request, *said)}")

    def print(self):
        """Print the findings as JSON."""
        json.dump(vars(self), sys.stdout)


def describe(configuration, request, *said):
    """Return everything that is needed to repeat one case."""
    lines = [f"configuration {configuration.number}"]
    for name, entry in configuration.files.items():
        content = repr(entry.content[:CONTENT_SHOWN]) if entry.content else ""
        mode = f"{entry.mode:04o} {entry.uid}:{entry.gid}"
        lines.append(f"  {name or '.'}: {entry.kind} {mode} {content}")
    address, caller = ipaddress.ip_address(request.address), request.caller
    lines.append(
        f"  request: {address} port {request.port} {request.protocol} scope {request.scope} "
        f"by uid {caller.uid} gid {caller.gid} groups {list(caller.groups)}"
    )
    return "\n".join([*lines, *(f"  {what}" for what in said)])


def run_workers(program, seed, cases, more, give_up_s):
    """Run a worker for each entry of `more`, its last arguments; return the sum of the findings.

    Each worker has its own mount and network namespaces. The sum is a dict, with a Counter for
    each counter of the Tally.
    """
    share = -(-cases // len(more))
    workers = [
        subprocess.Popen(
            [*ISOLATED, sys.executable, program, *map(str, (seed, n, len(more), share, *words))],
            stdout=subprocess.PIPE,
        )
        for n, words in enumerate(more)
    ]
    try:
        outputs = [worker.communicate(timeout=give_up_s)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    total = {}
    for name, value in (item for found in map(json.loads, outputs) for item in found.items()):
        if isinstance(value, dict):
            total.setdefault(name, collections.Counter()).update(value)
        else:
            total[name] = total[name] + value if name in total else value
    return total


def assert_none_failed(findings, again):
    """Fail with the workers' failures, and with the command that repeats one configuration."""
    text = "\n\n".join(findings["failures"])
    assert not findings["failure_counts"], (
        f"{dict(findings['failure_counts'])}\n\n{text}\n\n"
        f"once more, configuration NUMBER: tools/sandbox unshare --mount --net /usr/bin/python3 {again}"
    )
