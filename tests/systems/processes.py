# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs processes that do not outlive this process."""

import contextlib
import os
import signal
import subprocess

# The kernel ends the process when its parent ends in any way.
WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]

# A PID namespace ends its descendants too, even daemons.
ALL_WITH_PARENT = [*WITH_PARENT, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@contextlib.contextmanager
def started(command, **options):
    """Start command in its own session; end what is left of the session afterwards."""
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
    """Run command with its output in a file. Raises subprocess.SubprocessError. Root only."""
    with started([*ALL_WITH_PARENT, *command], stdout=output, stderr=output) as process:
        status = process.wait(timeout)
        if status:
            raise subprocess.CalledProcessError(status, str(command[0]))
