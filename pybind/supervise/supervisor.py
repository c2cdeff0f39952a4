# SPDX-License-Identifier: GPL-3.0-or-later
"""The supervisor: answers every bind(2) of the tree, and adopts its orphans.

It is one process with one loop, and lives as long as any process of the tree. It is
their subreaper, so orphans of the tree become its children. It has left the terminal's
session, and only SIGKILL ends it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal

from .binds import Binds
from .front import EXITED, RESUMED, STOPPED, Report, is_stopped
from .verbose import Lines

_COLLECT_EVERY = 4096
_STOPS_MAX = 64
_HEADROOM = 1 << 21  # bytes; what all binds at once take stays far below


class Supervisor:
    """Serves one tree of processes.

    listener_fd: of the seccomp filter (owned).
    program_pid: the program, a child of this process.
    front: the channel to the front (owned); its end of file means that the front is gone.
    limits: in the form of PYBIND_PORTS, or None.
    verbose_fd: for the lines of -v (owned), or -1.

    The constructor runs before the program starts, and does everything that can fail.
    Raises OSError, RuntimeError if no thread can be started, and MemoryError if a limit
    leaves too little memory (setrlimit(2): RLIMIT_AS, RLIMIT_DATA).
    """

    def __init__(
        self,
        listener_fd: int,
        program_pid: int,
        front: Report,
        limits: bytes | None,
        verbose_fd: int,
    ) -> None:
        self._listener_fd = listener_fd
        self._program_pid = program_pid
        self._front: Report | None = front
        self._stops = 0  # STOPPED messages that the front has not yet answered by RESUMED
        self._lines = Lines(verbose_fd)
        self._poll = select.poll()
        self._binds = Binds(listener_fd, limits, self._lines, self._poll)
        self._listening: bool | None = True  # None: no process has the filter any more
        self._wake_fd, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for fd in (self._listener_fd, self._wake_fd, front.fileno()):
            self._poll.register(fd, select.POLLIN)
        bytearray(_HEADROOM)

    def run(self) -> None:
        """Serve until the last process of the tree is gone."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        gc.collect()
        gc.freeze()
        gc.disable()  # a pause before RECV widens the window of case 59 in docs/hostile.md
        rounds = 0
        while self._reap():
            self._round()
            rounds += 1
            if rounds % _COLLECT_EVERY == 0:
                gc.collect()
        self._lines.finish()

    def _round(self) -> None:
        """Wait, and do what there is to be done."""
        for fd, events in self._poll.poll():
            if fd == self._listener_fd:
                self._on_listener(events)
            elif fd == self._wake_fd:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_fd, 4096)
            elif self._binds.has_helper(fd):
                self._binds.helper_ended(fd)
            elif self._front is not None and fd == self._front.fileno():
                self._on_front()
        self._listen(not self._binds.full)

    def _listen(self, wanted: bool) -> None:
        """Make poll(2) report notifications, or not while no more can be taken."""
        if self._listening is not None and self._listening != wanted:
            self._poll.modify(self._listener_fd, select.POLLIN if wanted else 0)
            self._listening = wanted

    def _reap(self) -> bool:
        """Reap children, and report the program's end or stop; False without any child."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if ended is None:
                break
            if self._binds.is_helper(ended.si_pid):
                break
            _, status = os.waitpid(ended.si_pid, 0)
            if ended.si_pid == self._program_pid:
                self._program_pid = 0
                self._tell(EXITED, status)
        if self._program_pid:
            with contextlib.suppress(ChildProcessError):
                stopped = os.waitid(os.P_PID, self._program_pid, os.WSTOPPED | os.WNOHANG)
                # A stopped front reads nothing. Its socket must keep room for the program's
                # exit status, so the number of unread messages is bounded.
                if stopped is not None and self._stops < _STOPS_MAX:
                    self._stops += 1
                    self._tell(STOPPED, stopped.si_status)
        return True

    def _tell(self, kind: int, value: int) -> None:
        if self._front is not None:
            self._front.send(kind, value)

    def _on_front(self) -> None:
        """Forward signals to the program; when the front is gone, kill the program."""
        assert self._front is not None
        numbers = self._front.receive_signals()
        if numbers is None:  # nothing to read; not the end of the front
            return
        for number in numbers:
            if number == RESUMED:
                self._resume()
            elif self._program_pid:
                with contextlib.suppress(OSError):
                    os.kill(self._program_pid, number)
        if not numbers:
            self._poll.unregister(self._front.fileno())
            self._front.close()
            self._front = None
            # The front ended before the program: whoever killed the front's pid meant the
            # program.
            if self._program_pid:
                os.kill(self._program_pid, signal.SIGKILL)

    def _resume(self) -> None:
        """Continue the program if only the front was continued, by `kill -CONT PID`.

        A program that was stopped again meanwhile stays stopped: the front will follow.
        """
        # In this order: a stop that comes after is_stopped() is counted by _reap().
        stopped = bool(self._program_pid) and is_stopped(self._program_pid)
        self._reap()
        self._stops -= 1
        if stopped and self._program_pid and self._stops == 0:
            os.kill(self._program_pid, signal.SIGCONT)

    def _on_listener(self, events: int) -> None:
        if not events & select.POLLIN:  # POLLHUP: no process has the filter any more
            self._poll.unregister(self._listener_fd)
            self._listening = None
            return
        self._binds.take()
