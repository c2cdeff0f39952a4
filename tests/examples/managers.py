# SPDX-License-Identifier: GPL-3.0-or-later
"""A real systemd for the units: process 1 of its own namespaces, or a user's manager.

The manager sees only the units of a test, and runs in a control group that is removed
afterwards.
"""

import contextlib
import os
import pathlib
import subprocess
import tempfile

import placing
import pytest
import support

SYSTEMD = "/lib/systemd/systemd"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
TARGETS = ("basic", "exit", "final", "multi-user", "network", "shutdown", "sockets", "sysinit")
SYSTEM_UNITS = "/usr/lib/systemd/system"

# CGROUP... -- COMMAND...: enters the control groups, without a namespace for them. In a
# namespace systemd would take the root of the host's mounts for its own control group.
ENTER = """
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done
shift
exec unshare --mount --uts --ipc --pid --fork --kill-child --mount-proc "$@"
"""
# As process 1 systemd would start the host's units, raise fs.file-max, set the host's
# name, leave files in /tmp and write to the console. These mounts keep it from that;
# a namespace above keeps the name.
AS_PROCESS_1 = """
for folder in "$1" /tmp /var/tmp; do mount -t tmpfs tmpfs "$folder"; done
mount -o bind,ro /proc/sys /proc/sys
mount -o bind /dev/null /dev/console
for name in $2; do echo "[Unit]" >"$1/$name.target"; done
exec env -i container=other PATH=/usr/bin:/bin "$3" --system --unit=basic.target --log-target=console
"""


@contextlib.contextmanager
def control_groups(owner=0):
    """Make a control group in each hierarchy that systemd looks at; yield their folders."""
    hybrid = [CGROUPS / name for name in ("unified", "systemd") if (CGROUPS / name).is_dir()]
    made = []
    try:
        for root in hybrid or [CGROUPS]:
            # Not named by a PID: another sandbox has the same PIDs.
            made.append(pathlib.Path(tempfile.mkdtemp(prefix="pybind-test-", dir=root)))
            path = made[-1]
            path.chmod(0o755)
            for entry in (path, path / "cgroup.procs"):
                os.chown(entry, owner, owner)
    except OSError as error:
        remove(made)
        pytest.skip(f"this system makes no control groups: {error}")
    try:
        yield [str(path) for path in made]
    finally:
        support.wait_for(lambda: remove(made), "the control groups to be empty")


def remove(groups):
    """Remove the groups and everything in them; return whether they are gone."""
    with contextlib.suppress(OSError):
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)
    return not any(group.exists() for group in groups)


@contextlib.contextmanager
def started(groups, argv, systemctl):
    """Run a manager in its namespaces; yield a function that runs its systemctl there.

    A systemctl outside would be refused: the manager looks up the process that asks.
    """
    log = (support.scratch_dir() / "log").open("w+b")
    process = subprocess.Popen(["sh", "-c", ENTER, "sh", *groups, "--", *argv],
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")  # fmt: skip
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def run(*words):
        inside = ["nsenter", "--mount", "--pid", "--target", children.read_text().strip()]
        return placing.as_root([*inside, *systemctl, "--no-pager", *words])

    def ready():
        return children.read_text() and run("is-active", "basic.target").returncode == 0

    with log:
        try:
            support.wait_for(lambda: process.poll() is not None or ready(), "systemd")
            assert process.poll() is None, pathlib.Path(log.name).read_text()
            yield run
        finally:
            process.kill()  # with its namespace, and all that is in it
            process.wait()


@contextlib.contextmanager
def system():
    """Run systemd as the system's manager; yield a function that calls systemctl."""
    argv = ["sh", "-c", AS_PROCESS_1, "sh", SYSTEM_UNITS, " ".join(TARGETS), SYSTEMD]
    with control_groups() as groups, started(groups, argv, ["systemctl"]) as systemctl:
        yield systemctl


@contextlib.contextmanager
def user():
    """Run systemd as app's manager; yield a function that calls systemctl --user as app."""
    entry = placing.app()
    runtime = pathlib.Path("/run/user") / str(entry.pw_uid)
    runtime.mkdir(mode=0o700, parents=True)
    os.chown(runtime, entry.pw_uid, entry.pw_gid)
    pathlib.Path("/run/systemd/system").mkdir(parents=True, exist_ok=True)  # sd_booted(3)
    as_app = ["setpriv", "--reuid=app", "--regid=app", "--init-groups", "--inh-caps=-all", "env",
              "-i", f"HOME={entry.pw_dir}", f"XDG_RUNTIME_DIR={runtime}", "PATH=/usr/bin:/bin"]  # fmt: skip
    # Not as process 1, which is the system's manager.
    argv = ["sh", "-c", '"$@"; exit', "sh", *as_app, SYSTEMD, "--user", "--log-target=console"]
    systemctl = [*as_app, "systemctl", "--user"]
    with control_groups(entry.pw_uid) as groups, started(groups, argv, systemctl) as run:
        yield run
