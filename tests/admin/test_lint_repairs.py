# SPDX-License-Identifier: GPL-3.0-or-later
"""lint names every broken or dangerous file, and the proposed command repairs the file.

test_list.py shows that lint calls exactly those files broken that the helper refuses.
"""

import os
import subprocess

import generate
import printed
import pytest
import support
from linting import ENVIRON, ME, MINE, lint
from support import CONFIG, GID, UID, flag, rules
from test_list import SEED, write


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
    printed.typed(entry["repair"], name, env=ENVIRON, **options)


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
            environ = {**ENVIRON, "LC_ALL": locale}
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
                    entry["repair"], shell=True, env=ENVIRON, cwd="/", timeout=support.PATIENCE_S
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
    printed.type_as_root(command.replace("USER", "nobody"), env=ENVIRON)
    assert support.pybind("-q", "--port", "80", "true").returncode == 0
