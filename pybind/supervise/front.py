# SPDX-License-Identifier: GPL-3.0-or-later
"""The front: the process that was started, seen from outside as the program.

It waits for signals only: those that a process sent go on to the program,
those of the terminal reached the program by themselves (they go to the whole
process group). It stops when the program stops, and ends as the program ends.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import NoReturn

from .messages import EXITED, STARTED, STOPPED, Orders, is_stopped

_KILLED = signal.SIGKILL.value  # wait status of a program that died of it


def run(orders: Orders, supervisor_pid: int) -> NoReturn:
    """Be the program for whoever started pybind; every signal is blocked here."""
    every = signal.valid_signals()
    program_pid = 0
    while True:
        info = signal.sigwaitinfo(every)
        if info.si_signo != signal.SIGCHLD:
            # si_code (sigaction(2)): 0 and below for a process, above for the kernel.
            # What the program sent to all processes, or to its group, is not for itself.
            if info.si_code <= 0 and info.si_pid != program_pid:
                orders.forward(info.si_signo)
            continue
        # In this order: what the supervisor said before its end is then all there to be read.
        gone = _is_gone(supervisor_pid)
        program_pid = _listen(orders, program_pid)
        if gone:
            _end(_KILLED)


def _listen(orders: Orders, program_pid: int) -> int:
    """Obey all that the supervisor has said; returns the program's pid, 0 while it is not known."""
    while messages := orders.receive():
        for kind, value in messages:
            if kind == EXITED:
                _end(value)
            elif kind == STARTED:
                program_pid = value
            elif kind == STOPPED:
                # Not for a stop that is over: the group was continued meanwhile.
                if signal.SIGCONT not in signal.sigpending() and is_stopped(program_pid):
                    _stop(value)
                # A shell's fg continues the whole group: the program had this one too.
                signal.sigtimedwait([signal.SIGCONT], 0)
                orders.resumed()
    if messages is None:
        # The supervisor is gone and the program with it (PR_SET_PDEATHSIG).
        _end(_KILLED)
    return program_pid


def _is_gone(supervisor_pid: int) -> bool:
    found = os.waitid(os.P_PID, supervisor_pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _stop(number: int) -> None:
    """Stop as the program did, so that the shell sees its job stopped."""
    if number != signal.SIGSTOP:
        signal.signal(number, signal.SIG_DFL)
        signal.sigtimedwait([number], 0)  # the terminal's own, which would stop us twice
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    if number != signal.SIGSTOP:
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])


def _end(status: int) -> NoReturn:
    """End with the program's wait status: its exit code, or its signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # The program's core is the one that matters.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))
