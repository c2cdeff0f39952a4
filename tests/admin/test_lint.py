# SPDX-License-Identifier: GPL-3.0-or-later
"""lint: the faults that it names, to whom it names them, and repairs that work when typed.

test_list.py shows that lint calls exactly those files broken that the helper refuses.
"""

import os
import subprocess

import generate
import printed
import pytest
import support
from ctl import PYBINDCTL, SANE, lint, pybindctl
from support import CONFIG, GID, UID, flag, rules
from test_list import SEED, write

ME = f"byuser/{UID}"
MINE = f"byuser/!{UID}"
BIG = "# more than 1 MiB"


def link(name):
    (CONFIG / name).symlink_to("/etc/passwd")


def acl(name, entry):
    subprocess.run(["setfacl", "-m", entry, flag(name)], check=True)


def left_over():
    rules("byuser/.1000.pybindctl-new", "any,80")


# (what makes the fault, its level, the finding that must be among lint's findings)
CASES = [
    (lambda: rules(ME, "any,80", "any,8o"), "broken", ("line", ME, 2)),
    (lambda: rules(ME, "any,80", "any,81\r", "any,82\r"), "broken", ("line", ME, 2)),
    (lambda: rules(ME, "any,80", "any,81 # \0"), "broken", ("line", ME, 2)),
    (lambda: rules(ME, "#" * 300, "any,80"), "broken", ("line", ME, 1)),
    (lambda: rules(ME, "10.0.0.1/8,80"), "broken", ("line", ME, 1)),
    (lambda: rules(ME, "::,80", "any,81"), "warning", ("half", ME, 1)),
    (lambda: rules(ME, "any,80", uid=UID), "broken", ("file", ME, None)),
    (lambda: rules(ME, "any,80", mode=0o666), "broken", ("file", ME, None)),
    (lambda: rules(ME, "#" * 200 + "\n" * (1 << 20)), "broken", ("file", ME, None)),
    (lambda: rules(ME, "any,80", mode=0o600), "broken", ("unreadable", ME, None)),
    (lambda: rules(f"bygroup/{GID}", mode=0o600), "broken", ("unreadable", f"bygroup/{GID}", None)),
    (lambda: link(ME), "broken", ("file", ME, None)),
    (lambda: (CONFIG / ME).mkdir(), "broken", ("file", ME, None)),
    (lambda: link("byport/80"), "broken", ("flag-kind", "byport/80", None)),
    (lambda: (CONFIG / "byaddr/::1,80").mkdir(), "broken", ("flag-kind", "byaddr/::1,80", None)),
    (lambda: (CONFIG / "byport").chmod(0o777), "broken", ("folder", "byport", None)),
    (lambda: os.chown(CONFIG / "byuser", UID, 0), "broken", ("folder", "byuser", None)),
    (lambda: (CONFIG / "byaddr").chmod(0o700), "broken", ("folder-search", "byaddr", None)),
    (lambda: (CONFIG / "byaddr").chmod(0o750), "warning", ("folder-search", "byaddr", None)),
    (lambda: flag("byport/80", mode=0o755), "warning", ("everyone", "byport/80", None)),
    (lambda: flag("byport/80", uid=UID, mode=0o500), "warning", ("flag-owner", "byport/80", None)),
    (lambda: flag("byport/80", mode=0o640), "warning", ("grants-nobody", "byport/80", None)),
    (lambda: flag("byport/80", gid=0, mode=0o700), "warning", ("grants-nobody", "byport/80", None)),
    (lambda: acl("byport/80", "u:54321:x"), "warning", ("no-user", "byport/80", None)),
    (lambda: acl("byport/80", "g:54321:x"), "warning", ("no-group", "byport/80", None)),
    (lambda: flag("byport/80", gid=54321), "warning", ("no-group", "byport/80", None)),
    (lambda: flag("byport/8080"), "warning", ("not-privileged", "byport/8080", None)),
    (lambda: rules(ME, "any,8080"), "warning", ("not-privileged", ME, 1)),
    (lambda: rules("byuser/54321", "any,80"), "warning", ("no-user", "byuser/54321", None)),
    (lambda: rules("bygroup/54321", "any,80"), "warning", ("no-group", "bygroup/54321", None)),
    (lambda: rules(ME, "::ffff:10.0.0.1,80"), "warning", ("mapped", ME, 1)),
    (lambda: rules(ME, "::ffff:10.0.0.0/104,80-90/tcp"), "warning", ("mapped", ME, 1)),
    (lambda: rules(ME, "any,0"), "warning", ("port-0", ME, 1)),
    (lambda: rules(ME, "any,80", "192.0.2.0/24,512-1023/tcp"), "warning", ("mark", ME, 2)),
    (lambda: rules(MINE, "any,631", "any,0-511"), "warning", ("mark", MINE, 2)),
    (lambda: rules("byuser/nobody", "any,80"), "warning", ("name", "byuser/nobody", None)),
    (lambda: rules("byuser/!nobody", "any,80"), "warning", ("name", "byuser/!nobody", None)),
    (lambda: rules("bygroup/@nogroup", "any,80"), "warning", ("name", "bygroup/@nogroup", None)),
    (lambda: rules("byuser/no-such"), "warning", ("unknown-name", "byuser/no-such", None)),
    (lambda: rules("byuser/1.rpmsave"), "warning", ("unknown-name", "byuser/1.rpmsave", None)),
    (lambda: flag("byport/631"), "warning", ("name", "byport/631", None)),
    (lambda: flag("byport/!8080"), "warning", ("name", "byport/!8080", None)),
    (lambda: flag("byaddr/::ABCD,80"), "warning", ("name", "byaddr/::ABCD,80", None)),
    (lambda: flag("byaddr/1:0:0::1,80"), "warning", ("name", "byaddr/1:0:0::1,80", None)),
    (lambda: flag("byaddr/::1:80"), "warning", ("name", "byaddr/::1:80", None)),
    (
        lambda: flag("byaddr/::ffff:1.2.3.4,80"),
        "warning",
        ("name", "byaddr/::ffff:1.2.3.4,80", None),
    ),
    (lambda: flag("byport/http"), "warning", ("unknown-name", "byport/http", None)),
    (lambda: rules("README"), "warning", ("unknown-name", "README", None)),
    (left_over, "warning", ("left-over", "byuser/.1000.pybindctl-new", None)),
]


# Code of a finding, and the folder where that makes a difference -> the name of its command.
COMMANDS = {
    "line": "reading.faults: {rule_line}",
    "half": "rule_files._grant: sudo pybindctl grant --yes ... ...",
    "mark": "rule_files._grant: sudo pybindctl grant --yes ... ...",
    "file": "reading._unsafe: {rules_file}",
    "unreadable": "reading.not_readable: sudo chmod 0644 ...",
    "flag-kind": "reading.flag_kind: {put_aside}",
    "folder": "folders._unfit: sudo pybindctl setup",
    "folder-search": "folders.to_open: sudo pybindctl setup",
    "everyone": "flag_files._who_may: sudo chmod o-x ...",
    "flag-owner": "flag_files._who_may: sudo ...",
    "grants-nobody": "flag_files._who_may: sudo rm ...",
    ("no-user", "byport"): "flag_files._who_may: sudo pybindctl revoke ... ...",
    ("no-group", "byport"): "flag_files._who_may: sudo pybindctl revoke ... ...",
    ("no-user", "byuser"): "rule_files.of_rule_file: sudo rm ...",
    ("no-group", "bygroup"): "rule_files.of_rule_file: sudo rm ...",
    ("not-privileged", "byport"): "flag_files.of_flag: sudo rm ...",
    ("not-privileged", "byuser"): "rule_files._of_lines: {comment_out}",
    "port-0": "rule_files._of_lines: {comment_out}",
    "mapped": "rule_files._never: sudo sed -i ...c... ...",
    "name": "flag_files.of_unknown: sudo mv ... ...",
    ("unknown-name", "README"): "flag_files.of_folders: {put_away}",
    "unknown-name": "flag_files.of_unknown: {put_away}",
    "left-over": "flag_files.of_unknown: sudo rm ...",
}


TOO_BIG = "reading.too_big: {put_aside}"


def repair(entry, name="", **options):
    """Type what a finding says; name: of its command, where its code does not tell."""
    code, folder = entry["code"], entry["file"].removeprefix(f"{CONFIG}/").partition("/")[0]
    name = name or COMMANDS.get((code, folder)) or COMMANDS[code]
    printed.typed(entry["repair"], name, env=SANE, **options)


@pytest.mark.parametrize(("make", "level", "finding"), CASES)
def test_finding_and_repair(make, level, finding):
    """lint finds each fault, by its file name and among all files; the repair works."""
    make()
    found = lint()
    assert finding in found
    assert found[finding]["level"] == level
    if finding[1].count("/") == 1:
        assert lint(CONFIG / finding[1])[finding] == found[finding]
    repair(found[finding], TOO_BIG if "1 MiB" in found[finding]["text"] else "")
    assert finding not in lint()


@pytest.mark.parametrize(
    "content",
    [
        b"any,80\r\nany,81\r\n", b"\xef\xbb\xbfany,80\n", b"any,80 # " + b"x" * 300 + b"\n",
        b"any,80 # \x07bell\n", b"any,80\nany,8o # " + b"y" * 240 + b"\n", b"any,80\n\x00\x01\n",
    ],
    ids=["windows", "byte order mark", "long comment", "bell", "long and wrong", "control bytes"],
)  # fmt: skip
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_repair_keeps_the_grant(content, locale):
    """The repair of a broken line keeps a grant that can be read in the line."""
    rules(ME).write_bytes(content)
    for _ in range(3):
        found = [entry for entry in lint().values() if entry["level"] == "broken"]
        for entry in found[:1]:
            environ = {**SANE, "LC_ALL": locale}
            subprocess.run(
                entry["repair"], shell=True, check=True, cwd="/", env=environ, timeout=30
            )
    assert lint() == {}
    assert support.pybind("-q", "--port", "80", "true").returncode == 0


def test_broken_names_that_can_be_merged():
    """The lines of a file with a user's name are added to the file with the number."""
    (CONFIG / ME).write_text("any,80")
    rules("byuser/nobody", "any,81")
    found = lint()["name", "byuser/nobody", None]
    repair(found, "flag_files.of_unknown: sudo sh -c ... && sudo rm ...")
    assert (CONFIG / ME).read_text() == "any,80\nany,81\n"
    assert lint() == {}


def test_noexec():
    """lint names flag files on a noexec mount, which grant nothing."""
    command = ["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "tmpfs", CONFIG / "byport"]
    subprocess.run(command, check=True)
    try:
        finding = lint()["noexec", "byport", None]
        assert finding["level"] == "broken"
        repair(finding, "folders.on_noexec: sudo {remount}")
        assert lint() == {}
    finally:
        subprocess.run(["umount", CONFIG / "byport"], check=True)


def test_repairs_of_generated_files():
    """Typing the repairs a few times leaves nothing broken, in any generated folder."""
    for number in range(12):
        write(generate.configuration(SEED, number).files)
        for _ in range(5):
            broken = [entry for entry in lint().values() if entry["level"] == "broken"]
            for entry in broken:
                subprocess.run(
                    entry["repair"], shell=True, env=SANE, cwd="/", timeout=support.PATIENCE_S
                )
            if not broken:
                break
        assert not broken, (SEED, number)


def test_no_folders():
    """A missing folder, or a file in its place, is a clear finding."""
    rules(ME, "any,80")
    (CONFIG / "byport").rmdir()
    assert lint() == {}
    subprocess.run(["rm", "-r", CONFIG], check=True)
    repair(lint()["folder", str(CONFIG), None], "folders.broken: sudo pybindctl setup")
    assert lint() == {}
    subprocess.run(["rm", "-r", CONFIG], check=True)
    CONFIG.touch()
    found = lint()["folder", str(CONFIG), None]
    repair(found, "folders._unfit: {put_aside} && sudo pybindctl setup")
    assert lint() == {}


def test_a_file_that_grants_nobody():
    """Beside what removes it stands what gives the port to somebody."""
    flag("byport/80", mode=0o640)
    (finding,) = lint().values()
    command = printed.said(finding["text"], "flag_files._who_may: sudo pybindctl grant USER ...")
    printed.type_as_root(command.replace("USER", "nobody"), env=SANE)
    assert support.pybind("-q", "--port", "80", "true").returncode == 0


def test_half_of_the_wildcard():
    """lint warns about a line for :: unless 0.0.0.0 is granted by any file or group."""
    rules(ME, "::,80", "0.0.0.0,80")
    assert lint() == {}
    rules(ME, "::,80")
    rules(f"bygroup/{GID}", "0.0.0.0/0,80")
    assert lint() == {}
    rules(f"bygroup/{GID}", "0.0.0.0/0,81")
    assert set(lint()) == {("half", ME, 1)}


def test_hidden_files_are_left_alone():
    """lint ignores hidden files, such as those of etckeeper and git."""
    (CONFIG / ".git").mkdir()
    (CONFIG / ".gitignore").touch()
    assert lint() == {}


def test_in_a_user_namespace():
    """In a user namespace, where root's files seem to be nobody's, no repair is a chown."""
    if support.run(["/usr/bin/unshare", "-Ur", "true"]).returncode:
        pytest.skip("this system makes no user namespaces (unshare(2): not in a chroot)")
    rules(ME, "any,80")
    for command in (["lint"], ["check", "80"], ["list"]):
        done = support.run(["/usr/bin/unshare", "-Ur", PYBINDCTL, *command])
        assert done.returncode in (1, 3), (command, done.stdout)
        assert "user namespace" in done.stdout + done.stderr
        assert "chown" not in done.stdout + done.stderr


def test_clean():
    """lint finds nothing in the files of pybindctl and of the examples in pybind(5)."""
    flag("byport/80", gid=33)
    rules(ME, "any,80-90 # the web", "192.0.2.53,53/udp", "any,1-1023", "::/0,443")
    rules(MINE, "any,631/tcp")
    rules("bygroup/33", "192.0.2.0/24,80-89/tcp", mode=0o640, gid=33)
    assert lint() == {}
    process = pybindctl("lint")
    assert (process.returncode, process.stdout) == (0, "nothing to repair in 4 files\n")


def test_shadowed():
    """lint names a file that is never reached, but not one that others overrule in part."""
    flag("byport/80")
    flag("byport/443,tcp")
    flag("byaddr/127.0.0.1:25")
    flag("byaddr/127.0.0.1,80")
    flag("byaddr/127.0.0.1,25")
    flag("byaddr/0:0:0:0:0:0:0:1,443,tcp")
    rules(ME, "any,80", "any,443", "any,443/tcp", "127.0.0.1,25", "127.0.0.0/8,25", "any,80-81")
    found = lint()
    assert set(found) == {
        ("shadowed", "byaddr/127.0.0.1,80", None),
        ("shadowed", "byaddr/127.0.0.1,25", None),
        ("shadowed", "byaddr/0:0:0:0:0:0:0:1,443,tcp", None),
        ("shadowed", ME, 1),
        ("shadowed", ME, 3),
        ("shadowed", ME, 4),
    }
    assert "/etc/pybind/byport/80 decides before it" in found["shadowed", ME, 1]["text"]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        ("any,80\n# comment\n", 0, "nothing to repair in 1 file"),
        ("", 0, "nothing to repair"),
        ("any,80\nany,8o", 3, "line 2: not of the form"),
        ("any,8080", 0, "line 1: ports from 1024 on are not privileged"),
        ("any,631\nany,80", 0, "nothing to repair"),
        (BIG, 3, "larger than 1 MiB"),
    ],
)
def test_validate(content, status, words):
    """lint of a file anywhere judges only the lines, whatever its name and owner."""
    content = content.replace(BIG, "\n" * ((1 << 20) + 1))
    path = support.scratch_dir() / "source.tmp"
    path.write_text(content)
    os.chown(path, UID, GID)
    path.chmod(0o666)
    process = pybindctl("lint", path)
    assert (process.returncode, process.stderr) == (status, "")
    assert words in process.stdout
    piped = pybindctl("lint", "/dev/stdin", input=content)
    assert piped.returncode == status
    assert support.run([PYBINDCTL, "lint", path]).returncode == status


def test_strict_and_folders_of_others():
    """With --strict a warning changes the status; another folder's names are judged as here."""
    folder = support.scratch_dir() / "bygroup"
    folder.mkdir()
    (folder / "!33").write_text("any,631\nany,80\n")
    (folder / "33").write_text("any,80\n")
    process = pybindctl("lint", folder / "!33", folder / "33")
    assert process.returncode == 0
    assert "1 warning in 2 files" in process.stdout
    assert "line 2: never matches" in process.stdout
    assert pybindctl("lint", "--strict", folder / "!33").returncode == 1
    assert pybindctl("lint", "--strict", folder / "33").returncode == 0


def test_wrong_files():
    """A file that cannot be read is a clear error."""
    for path in ("/no/such", "/tmp", f"{CONFIG}/byuser/77"):
        process = pybindctl("lint", path)
        assert process.returncode == 2
        assert process.stdout == ""
        assert process.stderr.startswith(f"pybindctl: {path}: ")


def test_ordinary_user():
    """An ordinary user is told which files lint could not look at."""
    rules(ME, "any,80")
    rules("byuser/1", "any,80", mode=0o640)
    process = support.run([PYBINDCTL, "lint"])
    assert process.returncode == 0
    assert "byuser/1: could not be looked at" in process.stdout
    said = printed.typed(
        process.stdout, "rule_files.of_rule_file: sudo pybindctl lint", status=3, env=SANE
    )
    assert "byuser/1: cannot be read by whom it is for" in said
    (CONFIG / "byuser").chmod(0o700)
    process = support.run([PYBINDCTL, "lint"])
    assert process.returncode == 3
    assert "not every user can search it (mode 0700" in process.stdout


def test_names_cannot_speak_to_the_terminal():
    """Control bytes in a file's name are escaped, in tables too."""
    (CONFIG / "byuser" / "\x1b[2J\n80").touch()
    os.close(os.open(os.fsencode(CONFIG) + b"/byport/\xff", os.O_CREAT))
    process = pybindctl("lint")
    assert "\x1b" not in process.stdout
    assert r"\x1b[2J\n80" in process.stdout
    assert r"byport/\xff" in process.stdout
    assert len(lint()) == 2


def test_many_files_on_a_terminal():
    """With many files a progress bar is shown, only if standard error is a terminal."""
    for number in range(600):
        rules(f"byuser/{20000 + number}", "any,80")
    assert pybindctl("lint").stderr == ""
    shown = subprocess.run(
        ["script", "-qec", f"{PYBINDCTL} lint", "/dev/null"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, env={"TERM": "xterm"},
    )  # fmt: skip
    assert "reading" in shown.stdout
    assert "600 warnings" in shown.stdout


def test_what_only_root_can_read():
    """Where a folder cannot be listed the command that can is said."""
    rules(ME, "any,80")
    (CONFIG / "byuser").chmod(0o711)
    process = support.run([PYBINDCTL, "lint"])
    assert process.returncode == 1
    said = printed.typed(process.stderr, "lint.everything: sudo pybindctl lint", env=SANE)
    assert said == "nothing to repair in 1 file\n"
