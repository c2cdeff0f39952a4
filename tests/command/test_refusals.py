# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal has its message and exit status, starts nothing, and names a repair.

The tests take the repair from the message, type it as root, and try again.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import printed
import pytest
import support
from support import CONFIG, GID, OTHER_UID, UID, flag, pybind, rules

DROP = ["/usr/bin/setpriv", "--reuid", str(UID), "--regid", str(GID), "--clear-groups"]
GRANT = "explain._ungranted: sudo {command_to_grant}"
ME = f"nobody (uid {UID})"


HOLD = """
import socket, time
held = socket.create_server(("127.0.0.1", 8080))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def program(marked):
    """Return (path, started): a program that leaves a mark when it is started."""
    return marked


def refused(done, *words, status=125):
    """Assert a clear refusal: status, no stdout, at most four lines that all name pybind."""
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 5
    assert all(line.startswith("pybind: ") for line in lines)
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr


def repair(message, name):
    """Type the command of that name that the message proposes."""
    printed.typed_saying_yes(message, name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-x"], ["No such option", "-x"]),
        (["--no-such"], ["No such option", "--no-such", "--help"]),
        (["--port"], ["--port", "requires an argument"]),
        (["--port", "0"], ["port 0 means any free port"]),
        (["--port", "65536"], ["ports are 1 to 65535"]),
        (["--port", "-1"], ["bad port '-1'"]),
        (["--port", "80/xyz"], ["'xyz' is neither tcp nor udp"]),
        (["--port", "[::1"], ["bad port '[::1'"]),
        (["--port", "80"], ["no program is given"]),
        (["--depth", "0"], ["--depth"]),
        (["--depth", "x"], ["--depth"]),
        (["--deep", "--depth", "2"], ["exclude each other"]),
        (["--mode", "magic"], ["magic", "auto"]),
    ],
)
def test_usage(grant80, program, arguments, words):
    """A wrong command line gets a clear error and status 125, and starts nothing."""
    path, started = program
    tail = [] if "no program is given" in words else [path]
    done = pybind(*arguments, *tail) if arguments != ["--port"] else pybind("--port")
    refused(done, *words)
    assert not started()


def test_missing_and_not_executable(grant80, program):
    """The status is 127 for no such program, and 126 for one that cannot be executed."""
    path, started = program
    refused(pybind("--port", "80", "/nonexistent/x"), "'/nonexistent/x'", status=127)
    refused(pybind("--port", "80", "no-such-program"), "not found in PATH", status=127)
    refused(pybind("--port", "80", ""), "empty", status=127)
    refused(pybind("--port", "80", "/etc"), "not a regular file", status=126)
    path.chmod(0o600)
    refused(pybind("--port", "80", path), f"not executable by uid {UID}", "mode 0600", status=126)
    path.chmod(0o755)
    path.write_text("#!/nonexistent/interpreter\n")
    refused(pybind("--port", "80", path), "interpreter", "/nonexistent/interpreter", status=126)
    assert not started()


def test_script_with_dos_line_ends(grant80):
    """The name of the interpreter ends in a carriage return, and is shown so."""
    path = support.scratch_dir() / "script"
    path.write_text("#!/bin/sh\r\necho no\r\n")
    path.chmod(0o755)
    refused(pybind("--port", "80", path), "interpreter", r"/bin/sh\r", status=126)


def test_no_grant(program):
    """No grant: the message says which port, for whom, and the command that grants it."""
    path, started = program
    message = refused(
        pybind("--port", "80", path), f"{ME} may not bind port 80/tcp: nothing in /etc/pybind"
    )
    assert not started()
    repair(message, GRANT)
    assert (CONFIG / "byuser" / str(UID)).read_text() == "any,80/tcp\n"
    assert pybind("--port", "80", path).returncode == 0
    assert started()


@pytest.mark.parametrize(
    "spec", ["127.0.0.1:80/udp", "[::1]:443", "631", "[::ffff:127.0.0.1]:80", "[::]:80", "53/udp"]
)
def test_no_grant_repairs(spec):
    """The proposed command works for every form of --port."""
    repair(refused(pybind("--port", spec, "true"), "sudo pybindctl grant nobody"), GRANT)
    assert pybind("-q", "--port", spec, "true").returncode == 0


def test_repair_of_a_file_without_a_last_newline():
    """The proposed rule gets a line of its own."""
    rules(f"byuser/{UID}").write_text("any,443")
    repair(refused(pybind("--port", "80", "true"), "sudo pybindctl grant nobody"), GRANT)
    assert pybind("--port", "80", "--port", "443", "true").returncode == 0


@pytest.mark.parametrize("way", [[], ["--listen"], ["--check"]], ids=["start", "listen", "check"])
def test_all_refused_ports_in_one_command(grant80, way):
    """Every refused port is named, and one command grants them all."""
    ports = ["-p", "443", "-p", "80", "-p", "[::1]:631", "-p", "53/udp"]
    done = pybind(*way, *ports, "true")
    done.stdout = ""  # --check prints what is granted there
    message = refused(done, f"{ME} may not bind port 443/tcp, ",
                      "[::1]:631/tcp and 53/udp: nothing in /etc/pybind grants them")  # fmt: skip
    assert message.count("sudo ") == 1
    assert "sudo pybindctl grant nobody 443/tcp '[::1]:631/tcp' 53/udp" in message
    repair(message, GRANT)
    assert pybind("-q", *way, *ports, "true").returncode == 0


def test_refused_and_busy_ports_together(grant80):
    """One refusal names both the ports in use and the ports without a grant."""
    with contextlib.closing(support.socket.socket()) as listener:
        listener.bind(("127.0.0.1", 80))
        listener.listen()
        done = pybind("-p", "80", "-p", "443", "true")
    refused(done, f"{ME} may not bind port 443/tcp", "port 80/tcp is held by root (uid 0)")


@pytest.mark.parametrize("before", [None, "any,22\n", "any,22"])
def test_by_hand(before):
    """-v adds the repair without pybindctl. Where there is no pybindctl, every refusal has it."""
    if before is not None:
        rules(f"byuser/{UID}").write_text(before)
    assert "by hand" not in refused(pybind("-p", "80", "true"))
    message = refused(pybind("-v", "-p", "80", "-p", "631", "true"))
    by_hand = re.findall(r"without pybindctl: (sudo .*)", message)
    assert len(by_hand) == 2
    last = message.splitlines()[-1]
    assert printed.said(last, "explain._ungranted: sudo {command_by_hand}") == by_hand[1]
    tool = pathlib.Path(support.PREFIX + "/bin/pybindctl")
    moved = tool.rename(f"{tool}.aside")
    try:
        only = refused(pybind("-p", "80", "-p", "631", "true"))
        assert re.findall(r"by hand: (sudo .*)", only) == by_hand
        assert "pybindctl" not in only
    finally:
        moved.rename(tool)
    for command in by_hand:
        subprocess.run(command, shell=True, check=True)
    assert pybind("-p", "80", "-p", "631", "true").returncode == 0
    text = (CONFIG / "byuser" / str(UID)).read_text()
    assert text == ("" if before is None else "any,22\n") + "any,80/tcp\n" or before == "any,22"


def test_own_flag_without_x():
    """The owner of a flag file gets a chmod: an ACL entry would have no effect for them."""
    flag("byport/80", uid=UID, gid=0, mode=0o600)
    repair(
        refused(pybind("--port", "80", "true"), "not executable for this user"),
        "files.flag: sudo ...",
    )
    assert pybind("--port", "80", "true").returncode == 0


def test_granted_to_another(program):
    """A flag file that only others may use is named with its owner and mode."""
    path, started = program
    rules(f"byuser/{OTHER_UID}", "any,80")
    refused(pybind("--port", "80", path), "nothing in /etc/pybind grants it")
    flag("byport/80", uid=OTHER_UID, gid=0, mode=0o500)
    message = refused(
        pybind("--port", "80", path), "/etc/pybind/byport/80", "not executable for this user",
        f"owner {OTHER_UID}", "mode 0500",
    )  # fmt: skip
    assert not started()
    repair(message, "files.flag: sudo ...")
    assert pybind("--port", "80", path).returncode == 0


def test_flag_of_another_kind():
    """A symbolic link in place of a flag file is refused; the repair puts it aside."""
    (CONFIG / "byport" / "80").symlink_to("/bin/true")
    rules(f"byuser/{UID}", "any,80")
    message = refused(pybind("--port", "80", "true"), "byport/80", "not a regular file")
    repair(message, "files.flag: {put_aside}")
    assert pybind("--port", "80", "true").returncode == 0


@pytest.mark.hostile(28)
def test_flag_on_noexec():
    """The message names a noexec mount, on which no flag file is executable."""
    flag("byport/80", mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "tmpfs", CONFIG / "byport"],
                   check=True)  # fmt: skip
    try:
        flag("byport/80", mode=0o755)
        message = refused(pybind("--port", "80", "true"), "noexec", str(CONFIG / "byport"))
        repair(message, "files.flag: sudo {remount}")
        assert pybind("--port", "80", "true").returncode == 0
    finally:
        subprocess.run(["umount", CONFIG / "byport"], check=True)


@pytest.mark.parametrize(("line", "words"), support.BROKEN_LINES)
def test_broken_rule_file(program, line, words):
    """The message has file, number and fault of a broken line; the repair removes the line."""
    path, started = program
    rules(f"byuser/{UID}", "any,80", line)
    message = refused(
        pybind("--port", "80", path), f"/etc/pybind/byuser/{UID} line 2", words, "whole file"
    )
    assert not started()
    repair(message, "files._edit: {rule_line}")
    assert pybind("--port", "80", path).returncode == 0


@pytest.mark.parametrize(
    ("options", "words", "name"),
    [
        ({"uid": UID}, f"owner {UID}", "files.rule_file: {rules_file}"),
        ({"mode": 0o666}, "mode 0666", "files.rule_file: {rules_file}"),
        ({"mode": 0o600}, "readable", "files.rule_file: sudo chmod 0644 ..."),
    ],
)
@pytest.mark.hostile(26)
def test_unsafe_rule_file(program, options, words, name):
    """Refused: a rule file that the user owns or cannot read, or that others can write."""
    path, started = program
    rules(f"byuser/{UID}", "any,80", **options)
    message = refused(pybind("--port", "80", path), f"/etc/pybind/byuser/{UID}", words)
    assert not started()
    repair(message, name)
    assert pybind("--port", "80", path).returncode == 0


@pytest.mark.parametrize("folder", ["", "byport", "bygroup"])
@pytest.mark.hostile(26)
def test_unsafe_directory(grant80, program, folder):
    """The message names a folder that others can write, with the repair."""
    path, started = program
    target = CONFIG / folder
    target.chmod(0o777)
    message = refused(pybind("--port", "80", path), str(target), "mode 0777", "not safely root's")
    assert not started()
    repair(message, "files.folder: sudo pybindctl setup")
    assert pybind("--port", "80", path).returncode == 0


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("flag", "/etc"),
        ("flag", "/etc/pybind"),
        ("flag", "/etc/pybind/byport"),
        ("rules", "/etc/pybind"),
        ("rules", "/etc/pybind/byport"),
        ("rules", "/etc/pybind/byuser"),
    ],
)
def test_folder_that_cannot_be_searched(kind, where):
    """The message blames the first folder on the way that the user cannot search."""
    if kind == "flag":
        flag("byport/80")
    else:
        rules(f"byuser/{UID}", "any,80")
    folder = pathlib.Path(where)
    before = folder.stat().st_mode & 0o7777
    folder.chmod(0o700)
    try:
        message = refused(pybind("-p", "80", "true"), f"{where} is owner 0, group 0, mode 0700")
        assert "0644" not in message
        repair(message, "files._reveal: sudo chmod 0755 ...")
        assert folder.stat().st_mode & 0o7777 == 0o755
        assert pybind("-p", "80", "true").returncode == 0
    finally:
        folder.chmod(before)


def test_folder_with_something_mounted_over_it(grant80):
    """A folder hidden by a unit's InaccessiblePaths= is not repaired by a chmod."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0", "tmpfs", CONFIG], check=True)
    try:
        message = refused(pybind("-p", "80", "true"), "InaccessiblePaths=", "mode 0000")
        assert "chmod" not in message
    finally:
        subprocess.run(["umount", CONFIG], check=True)


@pytest.mark.parametrize(
    "text",
    [b"any,22\r\nany,80\r\n", b"\xef\xbb\xbfany,80\n", b"any,22\nany,80\nany 81\n"],
    ids=["windows", "byte order mark", "broken"],
)
def test_repair_of_a_rule_file_keeps_its_grants(text):
    """The repair removes what an editor or a typing error broke, and keeps the other lines."""
    rules(f"byuser/{UID}").write_bytes(text)
    repair(refused(pybind("-p", "80", "true"), "broken line"), "files._edit: {rule_line}")
    assert pybind("-p", "80", "true").returncode == 0


def test_missing_directory():
    """The proposed command makes a missing /etc/pybind."""
    shutil.rmtree(CONFIG)
    message = refused(pybind("--port", "80", "true"), "/etc/pybind", "does not exist")
    repair(message, "files.folder: sudo pybindctl setup")
    refused(pybind("--port", "80", "true"), "nothing in /etc/pybind grants it")


def test_file_in_the_place_of_the_directory():
    """What is no directory is put aside, and a directory made."""
    shutil.rmtree(CONFIG)
    CONFIG.touch()
    aside = pathlib.Path(f"{CONFIG}.old")
    try:
        message = refused(pybind("-p", "80", "true"), "must be a directory of root's")
        repair(message, "files.folder: sudo sh -c 'mv ... ....old && install -d -m 0755 ...'")
        refused(pybind("-p", "80", "true"), "nothing in /etc/pybind grants it")
    finally:
        aside.unlink()


def test_etc_that_others_write(grant80):
    """A folder above the permission directory is no job of pybindctl setup."""
    etc = CONFIG.parent
    etc.chmod(0o777)
    try:
        message = refused(pybind("-p", "80", "true"), f"{etc} is owner 0, group 0, mode 0777")
        repair(message, "files.folder: sudo sh -c 'chown root:root ... && chmod 0755 ...'")
        assert pybind("-p", "80", "true").returncode == 0
    finally:
        etc.chmod(0o755)


def test_missing_half():
    """The message names the missing half of ::; for an optional half it is only a note."""
    rules(f"byuser/{UID}", "::/0,80")
    refused(pybind("--port", "[::]:80", "true"), "[::]:80/tcp", "other half, 0.0.0.0")
    rules(f"byuser/{UID}", "0.0.0.0/0,80")
    done = pybind("--port", "80", "true")
    assert done.returncode == 0
    assert "may not bind [::]:80/tcp: nothing" in done.stderr
    assert pybind("-q", "--port", "80", "true").stderr == ""


def test_busy_by_oneself(grant80, program):
    """The caller's own process is named, and the proposed command closes the port."""
    path, started = program
    holder = support.as_user(["/usr/bin/python3", "-c", HOLD], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        holder.stdout.close()
        words = f"port 8080/tcp is held by {ME}: python3 ({holder.pid})"
        said = refused(pybind("--port", "8080", path), words)
        assert not started()
        assert said.endswith(f"pybind: to close it: kill {holder.pid}\n")
        support.run(["sh", "-c", said.rpartition(": ")[2]])
        holder.wait(support.PATIENCE_S)
        assert pybind("--port", "8080", path).returncode == 0
    finally:
        holder.kill()
        holder.wait()


def test_busy(grant80, program):
    """The message names the holder of a busy port; with --check it is only a note."""
    path, started = program
    with support.server(["/usr/bin/socat", "TCP4-LISTEN:8081,bind=127.0.0.1", "-"]):
        pass
    listener = support.socket.socket()
    with contextlib.closing(listener):
        listener.bind(("127.0.0.1", 80))
        listener.listen()
        message = refused(pybind("--port", "80", path), "held by root (uid 0)")
        shown = printed.typed(message, "explain._busy: sudo ss -Hl...np sport = :...")
        assert f"pid={os.getpid()}," in shown
        assert not started()
        done = pybind("--check", "--port", "80", path)
        assert done.returncode == 0
        assert "note: 0.0.0.0:80/tcp is granted but busy now" in done.stderr
        assert pybind("--port", "127.0.0.2:80", path).returncode == 0


def test_address_of_another_host(grant80):
    """An address that the host does not have gets another message than a missing grant."""
    message = refused(pybind("--port", "192.0.2.1:80", "true"), "this host has no such address")
    assert "127.0.0.1" in printed.typed(message, "explain._kernel: ip address")


def test_busy_by_a_program_of_ones_own(grant80):
    """Who holds the port themselves is told which process, and what ends it."""
    argv = [support.PYBIND, "/usr/bin/python3", "-m", "http.server", "80"]
    with support.server(argv, ready=support.answers_http) as process:
        message = refused(pybind("--port", "80", "true"), f"({process.pid})")
        support.run(printed.said(message, "explain._busy: kill ...").split())
        process.wait(support.PATIENCE_S)
    assert pybind("--port", "80", "true").returncode == 0
