# SPDX-License-Identifier: GPL-3.0-or-later
"""jobshell.py FD PROGRAM...: runs one job like a shell with job control.

Descriptor 0 is the terminal, FD a stream socket to the test. Reports a line "stopped
SIGNAL", "continued", "exited STATUS" or "killed SIGNAL" for each change of the job. Obeys
the lines "fg" and "bg", and answers each with its own name.
"""

import fcntl
import os
import select
import signal
import sys
import termios

channel = int(sys.argv[1])
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
wake, wakened = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
signal.set_wakeup_fd(wakened)
signal.signal(signal.SIGCHLD, lambda *_: None)
ready, go = os.pipe2(os.O_CLOEXEC)

job = os.fork()
if job == 0:
    os.read(ready, 1)
    os.close(channel)
    for number in (signal.SIGTTOU, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
os.setpgid(job, job)
os.tcsetpgrp(0, job)
os.write(go, b"x")


def report(text):
    os.write(channel, text.encode() + b"\n")


def report_job():
    """Report all pending changes of the job; exit after the job's end."""
    while True:
        pid, status = os.waitpid(job, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            os.tcsetpgrp(0, os.getpgrp())
            report(f"stopped {os.WSTOPSIG(status)}")
        elif os.WIFCONTINUED(status):
            report("continued")
        else:
            end = "killed" if os.WIFSIGNALED(status) else "exited"
            report(f"{end} {os.WTERMSIG(status) or os.WEXITSTATUS(status)}")
            sys.exit(0)


def obey(commands):
    for command in commands.split():
        report(command.decode())
        if command == b"fg":
            os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)


report("started")
while True:
    found, _, _ = select.select([channel, wake], [], [])
    if wake in found:
        os.read(wake, 100)
    report_job()
    if channel in found:
        obey(os.read(channel, 100))
