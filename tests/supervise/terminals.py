# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent as the job of a shell, on its own terminal."""

import contextlib
import os
import pathlib
import select
import socket
import subprocess
import termios

import support
from supervising import SRC, Agent, end

CTRL_C, CTRL_Z, CTRL_BACKSLASH = b"\x03", b"\x1a", b"\x1c"


class Job(Agent):
    """The agent behind the terminal's master (owned), and the shell's channel (owned)."""

    def __init__(self, master, channel):
        super().__init__(master, master)
        self._channel = channel

    def key(self, key):
        """Press a key."""
        os.write(self.to_fd, key)

    def shell(self, command):
        """Give the shell a command."""
        self._channel.sendall(command.encode() + b"\n")
        assert self.event() == command

    def event(self):
        """Return the next thing that the shell reports."""
        line = bytearray()
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self._channel], [], [], support.PATIENCE_S)
            assert ready, f"the shell reports nothing more than {bytes(line)}"
            got = self._channel.recv(1)
            assert got, "the shell has ended"
            line += got
        return line[:-1].decode()

    def has_event(self):
        """Tell whether the shell has something to report."""
        return bool(select.select([self._channel], [], [], 0)[0])

    def close(self):
        """Close the terminal and the channel."""
        super().close()
        self._channel.close()


@contextlib.contextmanager
def on_terminal(argv):
    """Run argv, an agent, as a shell's foreground job on a terminal without echo; yield the Job."""
    master, slave = os.openpty()
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ECHO
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    ours, theirs = socket.socketpair()
    folder = support.scratch_dir()
    script = folder / "jobshell.py"
    script.write_bytes((SRC / "jobshell.py").read_bytes())
    script.chmod(0o644)
    with open(folder / "log", "wb") as log:
        shell = support.as_user(
            ["/usr/bin/python3", script, theirs.fileno(), *argv],
            stdin=slave,
            stdout=slave,
            stderr=log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    os.close(slave)
    theirs.close()
    job = Job(master, ours)
    try:
        assert job.event() == "started"
        yield job
    except AssertionError as error:
        text = pathlib.Path(folder / "log").read_text(errors="replace")
        raise AssertionError(f"{error}\nsaid on stderr: {text}") from error
    finally:
        job.close()  # hangs up the terminal
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(support.PATIENCE_S)
        end(shell)
