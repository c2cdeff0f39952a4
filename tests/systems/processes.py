# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that do not outlive whoever started them."""

import contextlib
import os
import signal
import subprocess

# The kernel ends the process when its parent ends, however that is.
WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]

# The same for all that it starts, as daemons of their own too: a process namespace that ends with it.
ALL_WITH_PARENT = [*WITH_PARENT, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@contextlib.contextmanager
def started(command, **options):
    """Start command in a session of its own; whatever it left running there is ended after."""
    process = subprocess.Popen(
        [*WITH_PARENT, *map(str, command)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(command, output, timeout):
    """Run command to its end, its output in a file; raises subprocess.SubprocessError. Root only."""
    with started([*ALL_WITH_PARENT, *command], stdout=output, stderr=output) as process:
        status = process.wait(timeout)
        if status:
            raise subprocess.CalledProcessError(status, str(command[0]))
