# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of pybindctl share: running it, and what it left in the folders."""

import json
import os
import stat
import subprocess

import support
from support import CONFIG, FOLDERS, PATIENCE_S

PYBINDCTL = support.PREFIX + "/sbin/pybindctl"


def pybindctl(*args, **options):
    """Run `pybindctl ARGS...` as root, without a terminal, to its end."""
    options.setdefault("timeout", PATIENCE_S)
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [PYBINDCTL, *map(str, args)], capture_output=True, text=True, check=False, **options
    )


def done(*args, **options):
    """Run pybindctl where it must end with 0; returns its output."""
    process = pybindctl(*args, **options)
    assert process.returncode == 0, (process.stdout, process.stderr)
    return process.stdout


def failed(status, *args, words=(), **options):
    """Run pybindctl where it must end with status, say these words, and change nothing."""
    before = snapshot()
    process = pybindctl(*args, **options)
    assert process.returncode == status, (process.stdout, process.stderr)
    for word in words:
        assert word in process.stderr, process.stderr
    assert "Traceback" not in process.stderr
    assert snapshot() == before
    return process.stderr


def as_json(*args, status=0, **options):
    """Run pybindctl with --json; returns the object."""
    process = pybindctl(*args, "--json", **options)
    assert process.returncode == status, (process.stdout, process.stderr)
    answer = json.loads(process.stdout)
    assert answer["schema"] == 1
    return answer


def acl(path):
    """Return a file's access control list as bytes, empty where there is none."""
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
    """Return the lines of a rule file, none where it is missing."""
    path = CONFIG / name
    return path.read_text().splitlines() if path.exists() else []
