# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl while pybindd runs: its changes are in force in the kernel when it returns."""

import json
import signal
import subprocess

import pytest
import support
from support import CONFIG, GID, HELPER, OTHER_UID, PREFIX, UID, flag, rules

PYBINDCTL = PREFIX + "/bin/pybindctl"
CHANGES = 40


def pybindctl(*args, text=None):
    """Run pybindctl as root to its end."""
    return subprocess.run(
        [PYBINDCTL, *args], capture_output=True, text=True, input=text or "",
        timeout=2 * support.PATIENCE_S, check=False,
    )  # fmt: skip


def test_grant_and_revoke_count_when_they_return(daemon, user):
    """The kernel has each change of grant and revoke before the command ends."""
    for _ in range(CHANGES):
        assert pybindctl("grant", str(support.UID), "80/tcp").returncode == 0
        assert user.may()
        assert pybindctl("revoke", str(support.UID), "80/tcp").returncode == 0
        assert not user.may()


def test_grant_says_that_no_wrapper_is_needed(daemon, user):
    """grant says where the program needs no pybind, and there it needs none."""
    said = pybindctl("grant", str(UID), "80/tcp").stdout.splitlines()
    assert said[1:] == [
        f"to use it, as nobody: in {daemon.cgroup} start PROGRAM as it is, elsewhere: "
        "pybind --port 80 -- PROGRAM"
    ]
    assert user.may()
    daemon.stop()
    said = pybindctl("grant", str(UID), "81/tcp").stdout.splitlines()
    assert said[1:] == ["to use it, as nobody: pybind --port 81 -- PROGRAM"]


def test_apply_counts_when_it_returns(daemon, user):
    """The kernel has the whole file of grants before apply ends."""
    text = f'[[grant]]\nuser = "{support.UID}"\nports = ["80/tcp"]\n'
    for grants, granted in ((text, True), ("grant = []\n", False)):
        done = pybindctl("apply", "-", "--prune", text=grants)
        assert done.returncode == 0, done.stderr
        assert user.may() == granted


def test_pybindd_does_not_answer(daemon, user):
    """With a stopped pybindd the files are written, and a note warns instead of a hang."""
    rules(f"byuser/{support.UID}", "any,80/tcp")
    daemon.sync()
    daemon.process.send_signal(signal.SIGSTOP)
    done = pybindctl("revoke", str(support.UID), "80/tcp")
    assert done.returncode == 1
    assert "the files are written, but pybindd does not answer" in done.stderr
    assert "repair: sudo systemctl restart pybindd" in done.stderr
    support.wait_for(lambda: not user.may(), "the end of the lease")


@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_no_pybindd_no_waiting(command):
    """Without a pybindd no command mentions it."""
    done = pybindctl(command, str(support.UID), "80/tcp")
    assert done.returncode == 0
    assert "pybindd" not in done.stdout + done.stderr


def test_doctor_and_status_know_it(daemon):
    """doctor and status say that the kernel judges, and name a file left to the helper."""
    path = rules(f"byuser/{support.UID}", "any,80/tcp")
    daemon.sync()
    assert "pybindd: the kernel judges by 0 flag files and 1 rule file since" in (
        pybindctl("doctor", "-v").stdout
    )
    path.with_name("65533").hardlink_to(path)
    daemon.sync()
    for command in (("doctor", "-v"), ("status",)):
        assert "byuser/65533 (has 2 hard links)" in pybindctl(*command).stdout
    said = json.loads(pybindctl("status", "--json").stdout)["pybindd"]
    assert (said["pid"], said["left_count"]) == (daemon.process.pid, 2)


def test_doctor_without_it():
    """A missing pybindd is no fault; doctor says whether pybindd could run."""
    said = pybindctl("doctor", "-v").stdout
    assert "pybindd: does not run, so the helper judges every bind" in said
    assert json.loads(pybindctl("status", "--json").stdout)["pybindd"] is None


def asked(command, spec, uid=UID):
    """Return what check or explain say: the status, the text, and the object of --json."""
    words = (command, spec, "--user", str(uid))
    done, json_done = pybindctl(*words), pybindctl(*words, "--json")
    assert done.returncode == json_done.returncode
    assert json_done.stderr == ""
    return done.returncode, done.stdout, json.loads(json_done.stdout)


@pytest.mark.parametrize("command", ["check", "explain"])
def test_the_kernel_answers_too(daemon, user, command):
    """What they say of the kernel is what the kernel does, for each kind of file."""
    flag("byport/80")
    flag("byport/81", mode=0o700)
    rules(f"byuser/{UID}", "any,82", "127.0.0.1,83")
    for name in ("byport/84", f"bygroup/!{GID}"):
        path = rules(name, "any,600-610")
        path.chmod(0o755)
        path.with_name("1000").hardlink_to(path)
    rules(f"byuser/!{UID}", "any,600-605")
    daemon.sync()
    expected = {
        80: "granted", 81: "refused", 82: "granted", 83: "granted", 84: "left", 85: "refused",
        600: "granted", 610: "left", 611: "refused",
    }  # fmt: skip
    for port, answer in expected.items():
        status, text, said = asked(command, f"127.0.0.1:{port}/tcp")
        judged = said["addresses"][0]["pybindd"]
        assert judged["answer"] == answer, port
        assert status == (1 if answer == "refused" else 0)
        assert user.may("127.0.0.1", port) == (answer == "granted")
        where = f"(for the control group {daemon.cgroup})"
        line = " ".join(text.split("pybindd: ")[1].split())
        words = {
            "granted": f"the kernel grants it too {where}",
            "refused": f"the kernel refuses it too {where}",
            "left": f"the kernel leaves it to the helper: {judged['why']} {where}",
        }
        assert line.startswith(words[answer]), text
    name = json.loads(pybindctl("check", "84", "--user", str(UID), "--json").stdout)
    assert name["addresses"][0]["pybindd"]["why"] == "byport/84 has 2 hard links"


def test_all_is_left(daemon, user):
    """A folder with a list: all is left to the helper, which grants; each command says why."""
    flag("byport/80")
    subprocess.run(["setfacl", "-m", f"u:{OTHER_UID}:rx", CONFIG], check=True)
    daemon.sync()
    why = f"{CONFIG} has an access control list"
    status, text, said = asked("check", "80")
    assert (status, said["addresses"][0]["pybindd"]) == (0, {"answer": "left", "why": why})
    assert f"pybindd: the kernel leaves it to the helper: {why}" in text
    assert not user.may()
    assert f"note: {CONFIG}: pybindd leaves it to the helper: {why}" in pybindctl("lint").stdout


def test_helper_without_its_capability(daemon, user):
    """The helper refuses, the kernel grants: both are said."""
    flag("byport/80")
    daemon.sync()
    subprocess.run(["setcap", "-r", HELPER], check=True)
    try:
        done = pybindctl("check", "80", "--user", str(UID))
        assert user.may()
    finally:
        subprocess.run(["setcap", "cap_net_bind_service=p", HELPER], check=True)
    assert done.returncode == 1
    assert "pybindd: the kernel grants it, without the helper" in done.stdout


def test_lint_notes(daemon):
    """Files that are left to the helper are notes, of all or of the files that are named."""
    path = flag("byport/80")
    path.with_name("81").hardlink_to(path)
    rules(f"byuser/{UID}", "any,82")
    daemon.sync()
    done = pybindctl("lint", "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("80", "81"):
        line = f"note: {CONFIG}/byport/{name}: pybindd leaves it to the helper: has 2 hard links\n"
        assert line in done.stdout
    left = json.loads(pybindctl("lint", "--json").stdout)["left_to_helper"]
    why = "has 2 hard links"
    assert {x["file"]: x["why"] for x in left} == {str(path): why, f"{path.with_name('81')}": why}
    for file, count in ((path, 1), (CONFIG / f"byuser/{UID}", 0)):
        assert pybindctl("lint", str(file)).stdout.count("note: ") == count


@pytest.mark.parametrize("command", ["check", "explain"])
def test_nothing_of_the_kernel_without_it(command):
    """No pybindd: no line about it, and null."""
    flag("byport/80")
    _, text, said = asked(command, "80")
    assert "pybindd" not in text
    assert {address["pybindd"] for address in said["addresses"]} == {None}
    assert json.loads(pybindctl("lint", "--json").stdout)["left_to_helper"] is None
    assert "pybindd" not in pybindctl("lint").stdout
