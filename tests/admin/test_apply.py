# SPDX-License-Identifier: GPL-3.0-or-later
"""apply and export: one TOML file for all grants of a host."""

import contextlib
import grp
import io
import json
import pwd
import subprocess

import ctl
import printed
import pytest
import support
from ctl import as_json, done, failed, lines, pybindctl, run_here, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import CONFIG, GID, OTHER_UID, UID, clear_config, flag, rules

from pybind.admin import cli
from pybind.admin.commands.apply import _toml as toml
from pybind.permissions.overlap import subtract_all
from pybind.permissions.spec import parse_spec

WANTED = """
[[grant]]
user = "nobody"
ports = ["80", "443/tcp", "192.0.2.0/24:8000-8010"]

[[grant]]
user = 12345
ports = [53]

[[grant]]
group = "www-data"
ports = ["600"]

[[grant]]
everyone = true
ports = ["79"]
"""


@pytest.fixture
def wanted(tmp_path):
    path = tmp_path / "grants.toml"
    path.write_text(WANTED)
    return path


def test_apply(wanted):
    """apply writes the grants of FILE, a second run changes nothing, and --check tells both."""
    before = snapshot()
    assert pybindctl("apply", wanted, "--check").returncode == 1
    assert snapshot() == before
    done("apply", wanted)
    after = snapshot()
    assert lines(f"byuser/{UID}") == ["any,80", "any,443/tcp", "192.0.2.0/24,8000-8010"]
    assert lines("bygroup/!33") == ["any,600"]
    assert set(after) == {"byport/79", f"byuser/{UID}", f"byuser/{OTHER_UID}", "bygroup/!33"}
    assert done("apply", wanted) == "nothing to change\n"
    assert snapshot() == after
    assert done("apply", wanted, "--check") == "nothing to change\n"
    assert not as_json("apply", wanted, "--check")["changed"]
    assert done("apply", "-", input=WANTED) == "nothing to change\n"


def test_diff(wanted):
    """--diff prints a unified diff, with or without --check."""
    rules(f"byuser/{UID}", "# mine", "any,80")
    out = pybindctl("apply", wanted, "--check", "--diff").stdout
    assert f"--- /etc/pybind/byuser/{UID}\n+++ /etc/pybind/byuser/{UID}\n" in out
    assert " # mine\n any,80\n+any,443/tcp\n" in out
    assert "--- /dev/null\n+++ /etc/pybind/byport/79\n" in out
    assert done("apply", wanted, "--diff") == out


def test_prune(wanted):
    """--prune removes the grants that FILE lacks, and nothing else; comments stay."""
    rules(f"byuser/{UID}", "# mine", "any,80-90 # web", "any,22 # ssh")
    rules("byuser/1", "any,1-1023")
    rules("byuser/!1", "any,631")
    flag("byport/81", mode=0o755, gid=0)
    flag("byport/92", gid=33)
    flag("byport/79", gid=0, mode=0o755)
    (CONFIG / "README").write_text("ours")
    done("apply", wanted, "--prune")
    assert lines(f"byuser/{UID}") == [
        "# mine", "any,80 # web", "# ssh", "any,443/tcp", "192.0.2.0/24,8000-8010"
    ]  # fmt: skip
    assert lines("byuser/1") == []  # the line would count when the flag file above it goes
    assert lines("byuser/!1") == []
    assert "byport/81" not in snapshot()
    assert snapshot()["byport/92"][2] & 0o111 == 0o100  # the file stays: it refuses others
    assert (CONFIG / "README").exists()
    assert done("apply", wanted, "--prune") == "nothing to change\n"


def test_prune_of_overridden_lines():
    """A line that everyone's flag file overrode must not count when that file goes."""
    rules(f"byuser/{UID}", "any,80")
    flag("byport/80", gid=0, mode=0o755)
    done("apply", "-", "--prune", input="grant = []")
    assert snapshot() == {}


def test_prune_of_what_is_behind_a_file():
    """Overridden lines and entries go too: they would count without the overriding file."""
    rules(f"byuser/{UID}", "any,80-90 # web", "any,600")
    rules("byuser/1", "any,600 # never counts here")
    rules("bygroup/33", "any,80")
    flag("byport/80", gid=33)
    flag("byaddr/192.0.2.1:81", gid=33)
    flag("byaddr/192.0.2.1,81", gid=GID)
    text = """
[[grant]]
user = 65534
ports = ["82-90", "192.0.2.1:81"]
[[grant]]
group = 33
ports = ["80"]
"""
    done("apply", "-", "--prune", input=text)
    assert lines(f"byuser/{UID}") == ["192.0.2.1,81 # web", "any,82-90"]
    assert lines("byuser/1") == ["# never counts here"]
    assert lines("bygroup/33") == ["any,80"]
    assert same(boxes(done("export")), boxes(text))
    for name in ("byport/80", "byaddr/192.0.2.1:81"):
        (CONFIG / name).unlink()
    assert not [
        who for who, rest in boxes(done("export")).items() if subtract_all(rest, boxes(text)[who])
    ]


def test_prune_where_an_empty_flag_file_would_refuse():
    """A flag file that grants nobody any more is removed if it would refuse a wanted grant."""
    flag("byport/80")
    text = '[[grant]]\nuser = 65534\nports = ["80/tcp"]\n'
    done("apply", "-", "--prune", input=text)
    assert same(boxes(done("export")), boxes(text))
    assert done("apply", "-", "--prune", "--check", input=text) == "nothing to change\n"


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_prune_by_an_empty_file(text):
    """An empty FILE removes nothing, unless it says `grant = []`."""
    rules(f"byuser/{UID}", "any,80")
    for options in ([], ["--check"]):
        failed(3, "apply", "-", "--prune", *options, input=text,
               words=["no [[grant]]", "nothing was changed", "grant = []"])  # fmt: skip
    assert done("apply", "-", input=text) == "nothing to change\n"
    done("apply", "-", "--prune", input="grant = []\n")
    assert snapshot() == {}
    assert "\ngrant = []\n" in done("export")
    assert done("apply", "-", "--prune", input=done("export")) == "nothing to change\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [("[[grant]\n", "line 1"), ("grant = 3", "list of tables"), ("[[grants]]\n", "'grants'"),
     ("[[grant]]\nuser='nobody'\nport=['80']", "unknown key 'port'"),
     ("[[grant]]\nports=['80']", "exactly one of"), ("[[grant]]\nuser='nobody'", "ports is missing"),
     ("[[grant]]\nuser='nobody'\nports='80'", "no list"),
     ("[[grant]]\nuser='nosuchuser'\nports=['80']", "number 1: no user 'nosuchuser'"),
     ("[[grant]]\nuser='nobody'\nports=['80']\n[[grant]]\nuser='nobody'\nports=['90-80']",
      "number 2: bad port '90-80'"),
     ("[[grant]]\nuser='nobody'\nports=[0]", "port 0"), ("[[grant]]\nuser=true\nports=[80]", "True"),
     ("[[grant]]\nuser='nobody'\nports=[80.5]", "80.5"), ("grant = [1]", "not a table"),
     ("[[grant]]\neveryone=false\nports=['80']", "can only be true")],
)  # fmt: skip
def test_wrong_files(text, words):
    """The status is 3, the message names the entry and its fault, and nothing is changed."""
    failed(3, "apply", "-", "--prune", input=text, words=[words, "nothing was changed"]
           if "grants" not in text and "grant = 3" not in text else [words])  # fmt: skip


def test_other_failures(tmp_path, wanted):
    """A missing FILE, text that is not UTF-8, broken rules and a user who is not root fail."""
    failed(1, "apply", tmp_path / "none.toml", words=["No such file"])
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    failed(3, "apply", tmp_path / "bytes.toml", words=["not UTF-8"])
    rules("byuser/12345", "rubbish")
    failed(3, "apply", wanted, words=["byuser/12345 line 1"])
    failed(3, "export", words=["byuser/12345 line 1"])
    rules("byuser/12345", "any,80")
    text = support.run([*"/usr/local/bin/pybindctl export".split()])
    assert text.returncode == 0, text.stderr
    process = support.run(["/usr/local/bin/pybindctl", "apply", "-"], input=text.stdout)
    assert process.returncode == 4
    process = support.run(["/usr/local/bin/pybindctl", "apply", "-", "--check"], input=text.stdout)
    assert process.returncode == 0, process.stderr


def test_toml_for_older_pythons():
    """Without tomllib and tomli the message names the package to install."""
    code = (
        "import sys; sys.modules['tomllib'] = sys.modules['tomli'] = None\n"
        "sys.path.insert(0, '/usr/local/share/pybind'); from pybind.admin.cli import main\n"
        "sys.exit(main(['apply', '-']))"
    )
    process = subprocess.run(
        ["/usr/bin/python3", "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert process.returncode == 2
    assert "python3-tomli" in process.stderr


LINES = ["any,80", "any,80-90/tcp # c", "# c", "0.0.0.0/0,443", "::/0,443", "192.0.2.1,53/udp",
         "any,0-65535", "::ffff:1.2.3.4,80", "1.2.3.4-1.2.3.9,631", "2001:db8::5-2001:db8::9,1024"]  # fmt: skip
FLAGS = ["byport/80", "byport/80,tcp", "byport/!631", "byaddr/192.0.2.1,53", "byaddr/192.0.2.1:53",
         "byaddr/::1,443", "byaddr/0:0:0:0:0:0:0:1,443,udp", "byport/85"]  # fmt: skip


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.dictionaries(
        st.sampled_from([f"byuser/{UID}", f"byuser/!{UID}", "byuser/1001", f"bygroup/{GID}", "bygroup/!33"]),
        st.lists(st.sampled_from(LINES), max_size=4), max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(FLAGS),
        st.tuples(st.sampled_from([0, 1001]), st.sampled_from([0, 33, GID]),
                  st.sampled_from([0o755, 0o750, 0o700, 0o644, 0o701])), max_size=4,
    ),
)  # fmt: skip
def test_apply_of_an_export(files, flags):
    """Applying an export changes nothing; --prune removes only what other files override."""
    clear_config()
    for name, content in files.items():
        rules(name, *content)
    for name, (uid, gid, mode) in flags.items():
        flag(name, uid, gid, mode)
    before = snapshot()
    text = done("export") if not before else _exported()
    path = support.SCRATCH / "export.toml"
    path.write_text(text)
    assert changes_nothing(str(path)), text
    assert snapshot() == before
    if text.endswith("grant = []\n") or "[[grant]]" in text:
        run_here("apply", str(path), "--prune")  # status 1 if a file excludes the group of the user
        assert _exported() == text
        assert changes_nothing(str(path), "--prune"), text


def changes_nothing(*arguments):
    """Tell whether apply would change nothing; it may note a missing half or a refused user."""
    status, said = run_here("apply", *arguments, "--check")
    return status in (0, 3) and said.startswith("nothing to change\n")


WANTED_PORTS = ["80", "80/tcp", "85", "631", "192.0.2.1:53", "[::1]:443", "0.0.0.0/0:443", "80-90"]


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.dictionaries(
        st.sampled_from([f"byuser/{UID}", f"byuser/!{UID}", "byuser/1001", f"bygroup/{GID}", "bygroup/!33"]),
        st.lists(st.sampled_from(LINES), max_size=4), max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(FLAGS),
        st.tuples(st.just(0), st.sampled_from([0, 33, GID]),
                  st.sampled_from([0o755, 0o750, 0o700])), max_size=4,
    ),
    st.dictionaries(
        st.sampled_from([("user", UID), ("user", 1001), ("group", 33)]),
        st.lists(st.sampled_from(WANTED_PORTS), min_size=1, max_size=3, unique=True), max_size=3,
    ),
)  # fmt: skip
def test_prune_ends_in_the_file(files, flags, wanted):
    """After apply --prune the export equals FILE, unless apply refused and changed nothing."""
    clear_config()
    for name, content in files.items():
        rules(name, *content)
    for name, (uid, gid, mode) in flags.items():
        flag(name, uid, gid, mode)
    text = "".join(
        f"[[grant]]\n{kind} = {number}\nports = {json.dumps(ports)}\n"
        for (kind, number), ports in wanted.items()
    )
    path = support.SCRATCH / "wanted.toml"
    path.write_text(text or "grant = []")
    before = snapshot()
    status, said = run_here("apply", str(path), "--prune")
    if status == 1 and "cannot be granted" in said:  # a flag file that others need refuses it
        assert snapshot() == before
        return
    assert status == 0, said
    assert same(boxes(_exported()), boxes(text)), (text, _exported())
    assert run_here("apply", str(path), "--prune", "--check")[0] == 0
    for name in [name for name in snapshot() if name.startswith(("byport", "byaddr"))]:
        (CONFIG / name).unlink()  # lines that a flag file overrides would count now
    now = boxes(_exported())
    assert not [who for who in now if subtract_all(now[who], boxes(text).get(who, []))], now


def boxes(text):
    """Return who -> the rules that an export or a FILE grants, in a canonical form."""
    found = {}
    for entry in toml().loads(text).get("grant", []):
        key = next((k, entry[k]) for k in ("user", "group", "everyone") if k in entry)
        key = key[0], number_of(*key)
        found.setdefault(key, []).extend(parse_spec(str(port)) for port in entry["ports"])
    return found


def number_of(kind, name):
    if kind == "everyone" or isinstance(name, int):
        return name
    return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid


def same(one, other):
    """Tell whether two results of boxes() grant the same."""
    return all(
        not subtract_all(a.get(who, []), b.get(who, []))
        for a, b in ((one, other), (other, one))
        for who in a
    )


def _exported():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main(["export"]) == 0
    return out.getvalue()


def test_prune_of_group_and_entry():
    """A flag file loses its group and an entry in one run, and a second run finds nothing."""
    path = flag("byport/92", gid=33, mode=0o755)
    subprocess.run(["setfacl", "-m", f"u:{UID}:x", path], check=True)
    wanted = '[[grant]]\neveryone = true\nports = ["92"]\n'
    done("apply", "-", "--prune", input=wanted)
    assert done("apply", "-", "--prune", "--check", input=wanted) == "nothing to change\n"
    assert path.stat().st_gid == 0
    assert f"user:{UID}".encode() not in subprocess.check_output(["getfacl", "-pn", path])


def test_export_and_apply():
    """Export tells a user to use sudo, and its first line what reads it."""
    rules(f"byuser/{OTHER_UID}", "any,80", mode=0o600)
    rules(f"byuser/{UID}", "any,80")
    done = support.run([ctl.PYBINDCTL, "export"])
    assert done.returncode == 4
    path = support.scratch_dir() / "grants.toml"
    (CONFIG / f"byuser/{OTHER_UID}").unlink()
    path.write_text(printed.typed(done.stderr, "cli._with_sudo: sudo pybindctl ..."))
    support.clear_config()
    first = path.read_text().splitlines()[0]
    command = printed.said(first, "apply.export_command: pybindctl apply FILE")
    printed.type_as_root(command.replace("FILE", str(path)))
    assert ctl.served("80")
