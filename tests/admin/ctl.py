# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of pybindctl share: how to run and ask it, how to read its files, how to break in on it."""

import contextlib
import errno
import io
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile

import printed
import support
from support import CONFIG, FOLDERS, GID, HELPER, LIBRARY, PATIENCE_S, UID

from pybind.admin import cli
from pybind.permissions import access
from pybind.permissions.changing import writing

PYBINDCTL = support.PREFIX + "/bin/pybindctl"
SANE = {"PATH": f"{support.PREFIX}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
NOBODY = ("--user", "nobody")
CAPABILITY = "cap_net_bind_service=p"
AUTHBIND = pathlib.Path("/etc/authbind")
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


def as_root(*arguments, **options):
    """Run pybindctl as the administrator, with an environment of its own."""
    return pybindctl(*arguments, **{"cwd": "/", "env": SANE, **options})


def as_himself(*arguments, **options):
    """Run pybindctl as UID."""
    return support.run([PYBINDCTL, *arguments], **options)


def question(*arguments):
    """Return the JSON answer, which must be the same for root and for the user."""
    theirs = as_root(*arguments, "--json", *NOBODY)
    own = as_himself(*arguments, "--json")
    assert theirs.stderr == own.stderr == ""
    answer = json.loads(theirs.stdout)
    assert answer == json.loads(own.stdout)
    assert answer["schema"] == 1
    assert theirs.returncode == own.returncode == (0 if answer["granted"] else 1)
    return answer


def granted(spec):
    """Tell whether check says that UID is granted, to root and to that user."""
    answer = question("check", spec)
    pybind = support.pybind("-q", "--check", "--port", spec)
    assert (pybind.returncode == 0) == answer["granted"]
    return answer["granted"]


def check_grants(spec, uid=UID):
    """Tell whether check says to root that this user is granted."""
    return pybindctl("check", spec, "--user", uid).returncode == 0


def served(*ports):
    """Tell whether UID can bind these ports now."""
    return all(support.pybind("-q", "--port", port, "true").returncode == 0 for port in ports)


def allowed(port, host="127.0.0.1", udp=False, uid=UID, gid=GID):
    """Ask the helper, as pybind --check does, whether uid may bind."""
    spec = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    argv = [support.PYBIND, "--check", "--port", f"{spec}/{'udp' if udp else 'tcp'}"]
    return support.run(argv, uid=uid, gid=gid).returncode == 0


def repair(command, name):
    """Type a command at a terminal, and answer grant's question with yes."""
    command = printed.said(command, name).replace("pybindctl grant ", "pybindctl grant --yes ")
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], input=b"y\n", env=SANE,
        capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def lint(*arguments):
    """Return {(code, file below the folder, line)} of lint's findings."""
    process = pybindctl("lint", "--json", *arguments)
    assert process.returncode in (0, 3), process.stderr
    found = as_json("lint", *arguments, status=process.returncode)
    assert (process.returncode == 3) == bool(found["broken"])
    assert found["broken"] + found["warnings"] == len(found["findings"])
    return {
        (entry["code"], entry["file"].replace(f"{CONFIG}/", ""), entry["line"]): entry
        for entry in found["findings"]
    }


def examine(*args, status=0, **options):
    """Return topic -> (level, text, repair) of doctor's findings."""
    process = pybindctl("doctor", "--json", *args, **options)
    assert process.returncode == status, (process.stdout, process.stderr)
    answer = json.loads(process.stdout)
    assert answer["schema"] == 1
    assert answer["healthy"] == (status == 0)
    return {f["topic"]: (f["level"], f["text"], f["repair"]) for f in answer["findings"]}


def as_installed():
    """Restore the helper, the library and the permission folders after a test (a fixture's body)."""
    yield
    support.clear_config()
    for path in (HELPER, LIBRARY):
        os.chown(path, 0, 0)
        pathlib.Path(path).chmod(0o755)
    pathlib.Path(HELPER).parent.chmod(0o755)
    printed.type_as_root(f"setcap {CAPABILITY} {HELPER}")


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


def make_authbind():
    """Leave empty folders of authbind's, as its package makes them."""
    shutil.rmtree(AUTHBIND, ignore_errors=True)
    for folder in (AUTHBIND, *(AUTHBIND / name for name in ("byport", "byaddr", "byuid"))):
        folder.mkdir(mode=0o755)


def authbind_folders():
    """Give a test empty folders of authbind's, and remove them afterwards (a fixture's body)."""
    make_authbind()
    yield AUTHBIND
    shutil.rmtree(AUTHBIND, ignore_errors=True)


def every_address():
    """Make every address local; afterwards remove authbind's folder too (a fixture's body)."""
    paths = [f"/proc/sys/net/{family}/ip_nonlocal_bind" for family in ("ipv4", "ipv6")]
    for path in paths:
        pathlib.Path(path).write_text("1")
    yield
    for path in paths:
        pathlib.Path(path).write_text("0")
    shutil.rmtree(AUTHBIND, ignore_errors=True)


def old_flag(name, uid=0, gid=0, mode=0o755):
    """Make a flag file of authbind's."""
    path = AUTHBIND / name
    path.touch()
    os.chown(path, uid, gid)
    path.chmod(mode)
    return path


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
