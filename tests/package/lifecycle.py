# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs, upgrades, removes and purges the Debian package, and compares all files each time.

`lifecycle.py OLD.deb NEW.deb AUTHBIND.deb`, with NEW.deb installed. tools/test-deb runs
it in a fresh system, which has no pytest, so it uses only the standard library.
"""

import contextlib
import ctypes
import errno
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from first_use import as_alice, as_alice_fails, fetch, first_use, run, serving, wait_for

CONFIG = pathlib.Path("/etc/pybind")
HELPER = "/usr/libexec/pybind/pybind-helper"
MODULES = "/usr/share/pybind/"
CAPABILITY = b"\x00\x00\x00\x02\x00\x04" + bytes(14)  # cap_net_bind_service=p, not effective
# Files of dpkg, apt and other tools, and file systems that are not on the disk.
NOT_LOOKED_AT = {
    "/dev", "/proc", "/run", "/sys", "/tmp", "/var/cache", "/var/lib/apt", "/var/lib/dpkg",
    "/var/log",
}  # fmt: skip


def say(text):
    """Print what the checks so far have shown."""
    print(f"  ok: {text}", flush=True)


def caps(path):
    """Return the kernel's bytes of a path's or descriptor's file capability, or None."""
    try:
        return os.getxattr(path, "security.capability")
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def snapshot():
    """Return every path with its kind, mode, owner, size or target, and capability."""
    found = {}
    for top, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(top, name) not in NOT_LOOKED_AT]
        for name in folders + files:
            path = os.path.join(top, name)
            status = os.lstat(path)
            kept = status.st_size
            if os.path.islink(path):
                kept = os.readlink(path)
            elif path.startswith(f"{CONFIG}/") and os.path.isfile(path):
                kept = pathlib.Path(path).read_bytes()
            elif os.path.isdir(path):
                kept = None
            facts = (status.st_mode, status.st_uid, status.st_gid, kept)
            found[path] = (*facts, None if os.path.islink(path) else caps(path))
    return found


def added(before, after):
    """Return the new paths; fail if anything else changed."""
    gone = sorted(set(before) - set(after))
    changed = sorted(path for path in set(before) & set(after) if before[path] != after[path])
    assert not gone and not changed, f"gone: {gone}, changed: {changed}"
    return set(after) - set(before)


def check_installed(before, rules=()):
    """Check that the system is `before` plus the package's files, bytecode and the rules."""
    here = snapshot()
    listed = set(run("dpkg", "-L", "pybind-ports").split()) - set(before) - {"/."}
    compiled = {path for path in added(before, here) - listed if "/__pycache__" in path}
    assert added(before, here) - compiled == listed | {str(path) for path in rules}
    sources = {path for path in listed if path.startswith(MODULES) and path.endswith(".py")}
    for path in sources:
        folder, name = os.path.split(path)
        cached = f"{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"
        assert cached in compiled, f"{path} has no bytecode"
        assert here[cached][:3] == (0o100644, 0, 0)
    assert sources and all(path.startswith(MODULES) for path in compiled)
    assert here[HELPER][:3] == (0o100755, 0, 0)
    assert here[HELPER][-1] == CAPABILITY
    for path, (mode, *_, capability) in here.items():
        if path in listed:
            assert not mode & 0o6000, f"{path} is setuid or setgid"
            assert (capability is None) == (path != HELPER), path
    run("pybindctl", "doctor")


def own_paths():
    """Check that pages and examples name the package's paths, not those of make install."""
    texts = [path for path in run("dpkg", "-L", "pybind-ports").split()
             if "/man/" in path or ("/examples/" in path and "/apparmor/" not in path)]  # fmt: skip
    found = 0
    for path in filter(os.path.isfile, texts):
        content = pathlib.Path(path).read_bytes()
        content = gzip.decompress(content) if path.endswith(".gz") else content
        assert b"/usr/local" not in content, path
        found += b"/usr/bin/pybind" in content or HELPER.encode() in content
    assert found > 5
    say("manual pages and examples name the package's paths")


def authbind_package(package):
    """Check that authbind's command line comes and goes with its own package."""
    base = snapshot()
    run("dpkg", "-i", package)
    run("pybindctl", "grant", "alice", "80")
    argv = ["authbind", "--deep", "python3", "-m", "http.server", "80"]
    server = as_alice(argv, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: server.poll() is not None or fetch(80), "a page through authbind")
        assert server.poll() is None
    finally:
        server.terminate()
        server.wait()
    run("pybindctl", "revoke", "alice", "80")
    run("dpkg", "--purge", "pybind-ports-authbind")
    (CONFIG / ".pybindctl.lock").unlink(missing_ok=True)
    assert {path for path in added(base, snapshot()) if "/byuser" not in path} == set()
    say("pybind-ports-authbind: authbind serves by pybind's files, and is gone with its package")


def typed(said, name):
    """Type the command that a message ends with; name: of tools/repairs, which has its words."""
    words = name.partition(": ")[2]
    holes = re.sub(r"\\{\w+\\}|(\\\.){3}", ".+", re.escape(words))
    command = re.search(rf"({holes})$", said, re.MULTILINE)
    assert command, f"{name}: not in {said}"
    # No sudo here, and nobody who says yes.
    line = command[1].replace("sudo ", "").replace("apt-get ", "apt-get -y ")
    return run("sh", "-c", line)


SUPERVISED = ("pybind", "--mode", "supervise", "--", "true")


def missing_packages():
    """Each package that a message names is taken away; what is typed brings it, and it works."""
    for module, asked, name in (
        ("prctl", SUPERVISED, "preflight.check: sudo apt-get install python3-prctl"),
        ("seccomp", SUPERVISED, "kernel.load_libseccomp: sudo apt-get install python3-seccomp"),
    ):
        run("dpkg", "--remove", "--force-depends", f"python3-{module}")
        typed(as_alice_fails(*asked), name)
        run("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *asked)
        run("dpkg", "--remove", "--force-depends", f"python3-{module}")
        typed(run("pybindctl", "doctor"), "installation._modules: sudo apt-get install python3-...")
        assert "is missing" not in run("pybindctl", "doctor")
    if "libbpf1" in run("dpkg-query", "-W", "-f", "${Package} "):
        run("dpkg", "--remove", "--force-depends", "libbpf1")
        group = tempfile.mkdtemp()
        libc = ctypes.CDLL(None)  # mount(8) is not in every small system
        assert libc.mount(b"none", group.encode(), b"cgroup2", 0, None) == 0
        trial = ("pybindd", "--trial", "--cgroup", group)
        typed(run(*trial, status=3), "obstacles.no_library: sudo apt-get install libbpf1")
        assert "cannot be loaded" not in run("sh", "-c", f"{' '.join(trial)} || true")
        assert libc.umount2(group.encode(), 0) == 0
        os.rmdir(group)
    say("a package that is missing is named, and what is typed brings it")


def second_installation():
    """Beside one of make install the package is the second: doctor's command takes it away."""
    target = pathlib.Path("/usr/local/share/pybind")
    shutil.copytree("/usr/share/pybind", target, symlinks=True)
    paths = target / "pybind/paths.py"
    paths.write_text(re.sub("^PREFIX = .*", 'PREFIX = "/usr/local"', paths.read_text(), flags=re.M))
    pathlib.Path("/usr/local/bin/pybind").write_text("#!/bin/sh\n")
    doctor = ("sh", "-c", f"python3 -B {target}/startctl.py doctor || true")
    typed(run(*doctor), "installation._removal: sudo apt-get remove pybind-ports")
    assert not os.path.exists("/usr/bin/pybind")
    assert "is a second pybind" not in run(*doctor)
    shutil.rmtree(target)
    os.unlink("/usr/local/bin/pybind")
    run("dpkg", "--purge", "pybind-ports")
    say("a second installation is named, and what is typed takes it away")


@contextlib.contextmanager
def stays_without_capability(what):
    """Check that a descriptor kept on the old helper does not lead to its capability."""
    fd = os.open(HELPER, os.O_RDONLY)
    try:
        assert caps(fd) == CAPABILITY
        yield
        assert caps(fd) is None, f"the old helper keeps its capability: {what}"
    finally:
        os.close(fd)


def purge_without_rules():
    """Check that no path with `pybind` in its name is left."""
    run("apt-get", "-y", "purge", "pybind-ports")
    left = [path for path in snapshot() if "pybind" in path]
    assert not left, left
    say("purged without rules: nothing is left")


def write_rules():
    """Write an administrator's rules, by pybindctl and by hand; return their paths."""
    run("pybindctl", "grant", "alice", "80", "443")
    (CONFIG / "byuser/1000").open("a").write("# by hand\n")
    flag = CONFIG / "byport/81"
    flag.touch()
    flag.chmod(0o750)
    os.chown(flag, 0, 1000)
    return [CONFIG / "byuser/1000", flag]


def check_kept(rules, base, what):
    """Check that only the rules and their folders are left of the package."""
    left = added(base, snapshot())
    expected = {str(CONFIG), *(str(path) for path in rules), *(str(path.parent) for path in rules)}
    assert left == expected, f"{what}: {left ^ expected}"
    say(f"{what}: the rules are left, and nothing else")


def life(old, new):
    """Install OLD, upgrade to NEW, reinstall, remove, purge, under a running server."""
    base = snapshot()
    run("dpkg", "-i", old)
    check_installed(base)
    say("old version installed: the files are those of its list")
    rules = write_rules()
    kept = {path: snapshot()[str(path)] for path in rules}
    with serving(80):
        for package, what in ((new, "upgraded"), (new, "reinstalled"), (old, "downgraded")):
            with stays_without_capability(what):
                run("dpkg", "-i", package)
            check_installed(base, rules)
            assert fetch(80), "the running server is gone"
            with serving(443), serving(81):
                say(f"{what}: same files, same rules, old server answers, new ones start")
        run("dpkg", "-i", new)
        with stays_without_capability("removed"):
            run("dpkg", "--remove", "pybind-ports")
        assert fetch(80), "the running server is gone"
    check_kept(rules, base, "removed")
    (CONFIG / ".pybindctl.lock").touch()
    (CONFIG / "byuser/.1000.pybindctl-new").touch()
    run("dpkg", "--purge", "pybind-ports")
    check_kept(rules, base, "purged, and a killed pybindctl before")
    run("dpkg", "-i", new)
    assert kept == {path: snapshot()[str(path)] for path in rules}
    with serving(80):
        say("installed again: the rules of before are in force")
    for path in rules:
        path.unlink()
    run("dpkg", "--purge", "pybind-ports")
    assert snapshot() == base
    say("purged without rules: every file is as it was before")


def unusual(old, new):
    """Check states that dpkg gets into after a failure."""
    base = snapshot()
    said = run("setpriv", "--bounding-set=-setfcap", "--inh-caps=-setfcap", "dpkg", "-i", new)
    assert "pybindctl setup" in said, said
    assert caps(HELPER) is None
    assert "pybindctl setup" in run("pybindctl", "doctor", status=1)
    assert "repair: sudo pybindctl setup" in run("pybindctl", "grant", "alice", "80", status=1)
    said = as_alice_fails("pybind", "--port", "80", "--", "true")
    assert "has lost its file capability" in said, said
    run("pybindctl", "setup")
    check_installed(base, [CONFIG / "byuser/1000"])
    say("where the capability cannot be set: installed, said, refused, repaired by setup")

    os.unlink(HELPER)
    assert "apt-get install --reinstall ./pybind-ports_" in run("pybindctl", "doctor", status=1)
    run("dpkg", "--unpack", new)
    run("pybindctl", "setup")
    with stays_without_capability("unpacked twice"):
        run("dpkg", "--unpack", new)
    run("dpkg", "--configure", "pybind-ports")
    say("unpacked and not configured: the old helper loses its capability too")

    run("dpkg", "-i", old)
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "-R", new, f"{folder}/new")
        preinst = pathlib.Path(folder, "new/DEBIAN/preinst")
        preinst.write_text("#!/bin/sh\nexit 1\n")
        run("dpkg-deb", "-b", f"{folder}/new", f"{folder}/broken.deb")
        run("dpkg", "-i", f"{folder}/broken.deb", status=1)
    check_installed(base, [CONFIG / "byuser/1000"])
    with serving(80):
        say("an upgrade that failed: the old version works as before")
    run("pybindctl", "revoke", "alice", "80")
    run("dpkg", "--purge", "pybind-ports")
    shutil.rmtree(CONFIG, ignore_errors=True)


if __name__ == "__main__":
    old, new, authbind = sys.argv[1:]
    first_use()
    own_paths()
    missing_packages()
    authbind_package(authbind)
    purge_without_rules()
    life(old, new)
    unusual(old, new)
    run("dpkg", "-i", new)
    second_installation()
