# SPDX-License-Identifier: GPL-3.0-or-later
"""The front: the process that the user started, which stands for the program outside.

The front only waits for signals. It forwards those that a process sent. Those of the
terminal go to the whole process group, so the program gets them without the front. The
front stops when the program stops, and ends as the program ends.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import NoReturn

from .messages import EXITED, STARTED, STOPPED, Orders, is_stopped

_KILLED = signal.SIGKILL.value  # the wait status of a program that SIGKILL ended


def run(orders: Orders, supervisor_pid: int) -> NoReturn:
    """Stand for the program until its end. Every signal is blocked here."""
    every = signal.valid_signals()
    program_pid = 0
    while True:
        info = signal.sigwaitinfo(every)
        if info.si_signo != signal.SIGCHLD:
            # si_code (sigaction(2)): 0 or less from a process, more from the kernel. A
            # signal that the program sent to its own group must not come back to it.
            if info.si_code <= 0 and info.si_pid != program_pid:
                orders.forward(info.si_signo)
            continue
        # In this order: after the supervisor's end, all its messages are there to be read.
        gone = _is_gone(supervisor_pid)
        program_pid = _listen(orders, program_pid)
        if gone:
            _end(_KILLED)


def _listen(orders: Orders, program_pid: int) -> int:
    """Obey all messages of the supervisor; returns the program's pid, 0 while unknown."""
    while messages := orders.receive():
        for kind, value in messages:
            if kind == EXITED:
                _end(value)
            elif kind == STARTED:
                program_pid = value
            elif kind == STOPPED:
                # Only if the stop still lasts: the group may have been continued meanwhile.
                if signal.SIGCONT not in signal.sigpending() and is_stopped(program_pid):
                    _stop(value)
                # A shell's fg sends SIGCONT to the whole group: the program has it already.
                signal.sigtimedwait([signal.SIGCONT], 0)
                orders.resumed()
    if messages is None:
        # The supervisor is gone, and has taken the program with it (PR_SET_PDEATHSIG).
        _end(_KILLED)
    return program_pid


def _is_gone(supervisor_pid: int) -> bool:
    ended = os.waitid(os.P_PID, supervisor_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended is not None


def _stop(number: int) -> None:
    """Stop by the signal that stopped the program, so that the shell sees its job stopped."""
    if number != signal.SIGSTOP:
        signal.signal(number, signal.SIG_DFL)
        signal.sigtimedwait([number], 0)  # a pending one of the terminal would stop us twice
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    if number != signal.SIGSTOP:
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])


def _end(status: int) -> NoReturn:
    """End with the program's wait status: its exit code, or its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # No core of the front: the program has left its own.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))
