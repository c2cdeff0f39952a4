# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of pybindctl share: how to run it and how to read the permission files."""

import contextlib
import errno
import io
import json
import os
import signal
import stat
import subprocess
import tempfile

import support
from support import CONFIG, FOLDERS, PATIENCE_S

from pybind.admin import cli
from pybind.permissions import access
from pybind.permissions.changing import writing

PYBINDCTL = support.PREFIX + "/bin/pybindctl"
CALLS = ("open", "mkdir", "link", "rename", "unlink", "fchown", "fchmod", "fsync", "chmod",
         "chown", "setxattr", "removexattr")  # fmt: skip


def pybindctl(*args, **options):
    """Run `pybindctl ARGS...` as root, without a terminal, to its end."""
    options.setdefault("timeout", PATIENCE_S)
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [PYBINDCTL, *map(str, args)], capture_output=True, text=True, check=False, **options
    )


def done(*args, **options):
    """Run pybindctl, which must exit with 0; return its output."""
    process = pybindctl(*args, **options)
    assert process.returncode == 0, (process.stdout, process.stderr)
    return process.stdout


def run_here(*arguments):
    """Run pybindctl in this process; return (status, output)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = cli.main(list(arguments))
    return status, out.getvalue()


def failed(status, *args, words=(), **options):
    """Run pybindctl, which must exit with `status`, print `words` and change nothing."""
    before = snapshot()
    process = pybindctl(*args, **options)
    assert process.returncode == status, (process.stdout, process.stderr)
    for word in words:
        assert word in process.stderr, process.stderr
    assert "Traceback" not in process.stderr
    assert snapshot() == before
    return process.stderr


def as_json(*args, status=0, **options):
    """Run pybindctl with --json; return the object."""
    process = pybindctl(*args, "--json", **options)
    assert process.returncode == status, (process.stdout, process.stderr)
    answer = json.loads(process.stdout)
    assert answer["schema"] == 1
    return answer


def acl(path):
    """Return a file's access control list as bytes, empty if the file has none."""
    try:
        return os.getxattr(path, "system.posix_acl_access")
    except OSError:
        return b""


def snapshot():
    """Return name -> (owner, group, mode, list, contents) of every permission file."""
    found = {}
    for folder in FOLDERS:
        if not (CONFIG / folder).is_dir():
            continue
        for path in sorted((CONFIG / folder).iterdir()):
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
            name = f"{folder}/{path.name}"
            found[name] = (status.st_uid, status.st_gid, status.st_mode, acl(path), content)
    return found


def lines(name):
    """Return the lines of a rule file, none if the file is missing."""
    path = CONFIG / name
    return path.read_text().splitlines() if path.exists() else []


class Counting:
    """Stands in for os: of the calls that change files, number `at` kills us, fails or comes with Ctrl-C."""

    def __init__(self, at, what):
        self.at, self.what, self.seen = at, what, 0

    def __getattr__(self, name):
        call = getattr(os, name)
        return (lambda *args, **options: self.count(call, args, options)) if name in CALLS else call

    def count(self, call, args, options):
        self.seen += 1
        if self.seen == self.at and self.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "Ctrl-C":
            if 0 < self.at <= self.seen:  # and again at every call that comes after
                os.kill(os.getpid(), signal.SIGINT)
        elif self.seen == self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*args, **options)


def killed(at, what, arguments):
    """Run pybindctl in a child that dies or fails at a call; return status, calls, stderr."""
    with tempfile.TemporaryFile("w+") as err, tempfile.TemporaryFile("w+") as out:
        pid = os.fork()
        if pid == 0:
            writing.os = access.os = counting = Counting(at, what)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
                status = cli.main(list(arguments))
            print(counting.seen, file=out, flush=True)
            err.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        err.seek(0)
        out.seek(0)
        return status, int(out.read() or 0), err.read()
