# SPDX-License-Identifier: GPL-3.0-or-later
"""pybind(1) and pybindctl(8) while pybindd runs.

pybind needs no supervisor, and the preload library is a fallback. The changes of pybindctl are
in force in the kernel when it returns.
"""

import json
import os
import pathlib
import signal
import subprocess

import pytest
import running
import support
from support import CONFIG, GID, HELPER, OTHER_UID, PREFIX, PYBIND, UID, flag, rules

ASKED = """
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
/* Binds 127.0.0.1:80 once for each line of its input, prints the errno and its parent. */
int main(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(80)};
    char line[80];
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    while (fgets(line, sizeof line, stdin)) {
        int sock = socket(AF_INET, SOCK_STREAM, 0);
        int error = bind(sock, (struct sockaddr *)&addr, sizeof addr) == 0 ? 0 : errno;
        printf("%d %d\\n", error, getppid());
        fflush(stdout);
        close(sock);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def programs():
    """Return the program, linked dynamically and statically."""
    return {"dynamic": support.compile_c(ASKED), "static": support.compile_c(ASKED, "-static")}


def enter(cgroup):
    """Return shell code that moves the shell into a control group."""
    return ["sh", "-c", 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"', "sh", str(cgroup)]


class Program:
    """A program under pybind -v in the control group, which binds for each line that it reads."""

    def __init__(self, cgroup, *argv):
        drop = ["setpriv", "--reuid", str(support.UID), "--regid", str(support.GID)]
        command = [*enter(cgroup), *drop, "--clear-groups", "--inh-caps=-all", "env", PYBIND, "-v"]
        self._told = pathlib.Path(support.scratch_dir(), "stderr")
        with self._told.open("w") as stderr:
            self.process = subprocess.Popen(
                [*command, *map(str, argv)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd="/",
            )  # fmt: skip

    @property
    def told(self):
        """Return the messages of pybind."""
        return self._told.read_text()

    def bind(self):
        """Bind once; return (errno, whether the started process itself is the program)."""
        self.process.stdin.write("bind\n")
        self.process.stdin.flush()
        error, parent = map(int, self.process.stdout.readline().split())
        return error, parent == os.getpid()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(support.PATIENCE_S)
        self.process.stdout.close()


@pytest.mark.parametrize("listed", [["--port", "80"], []], ids=["listed", "not listed"])
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_no_supervisor_is_needed(daemon, programs, kind, listed):
    """Both programs bind as the started process, without a supervisor, and -v says why."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    with Program(daemon.cgroup, *listed, "--", programs[kind]) as program:
        assert program.bind() == (0, True)
        assert "supervisor" not in program.told
        assert "without a grant" not in program.told
        granted = "0.0.0.0:80/tcp: granted (pybindd has the kernel judge by the permission files)"
        assert (granted in program.told) == bool(listed)
        if kind == "static":
            assert (
                "started plainly; pybindd lets the kernel judge the program's binds" in program.told
            )
        elif listed:
            assert "the preload library serves while pybindd restarts" in program.told


def test_the_library_carries_over_a_restart(daemon, programs):
    """After pybindd is killed, the helper serves the dynamic program."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    with Program(daemon.cgroup, "--port", "80", "--", programs["dynamic"]) as program:
        assert program.bind() == (0, True)
        daemon.process.kill()
        daemon.process.wait()
        with running.worker(daemon.cgroup) as other:
            support.wait_for(lambda: not other.may(), "the kernel to judge no more")
        assert program.bind() == (0, True)
        assert "bind of port 80/tcp (IPv4): granted" in program.told


def test_a_port_that_needs_no_grant(daemon, programs):
    """While pybindd runs, a port from 1024 on is still called what it is."""
    with Program(daemon.cgroup, "--port", "8080", "--", programs["dynamic"]) as program:
        program.bind()
        assert "0.0.0.0:8080/tcp: granted (the kernel allows it without a grant)" in program.told


def test_another_control_group_is_supervised(daemon, programs):
    """A static program outside of pybindd's control group still gets the supervisor."""
    rules(f"byuser/{support.UID}", "any,80")
    daemon.sync()
    done = support.pybind("-v", "--", programs["static"], input="bind\n")
    assert done.stdout.startswith("0 ")
    assert "served by a supervisor" in done.stderr


def test_a_file_left_to_the_helper(daemon, programs):
    """For a file that the table leaves to the helper (two links) the supervisor serves."""
    path = rules(f"byuser/{support.UID}", "any,80")
    path.with_name("65533").hardlink_to(path)
    assert daemon.sync()["left_count"] == 2
    with Program(daemon.cgroup, "--", programs["static"]) as program:
        assert program.bind() == (0, False)
        assert "served by a supervisor" in program.told


def test_refused_as_ever(daemon, programs):
    """Without a grant pybind refuses before the start."""
    daemon.sync()
    with Program(daemon.cgroup, "--port", "80", "--", programs["static"]) as program:
        assert program.process.wait(support.PATIENCE_S) == 125
    assert "80/tcp" in program.told


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
