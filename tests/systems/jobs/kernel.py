# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindd: the kernel judges binds by the permission files, and programs need no pybind.

Where pybindd cannot run, the reason is said, and pybind serves by the helper.
"""

import os
import pathlib
import signal

import pytest
import world

SERVICE = "pybindd.service"


def can_bind(user="alice", port=80, before=""):
    """Tell whether a program without pybind binds the port."""
    said = world.login(user, f'{before} python3 -c "{world.BIND.format(port=port)}"', status=None)
    # Only at the start of a line: Python 3.13 quotes the program's text in its traceback.
    bound = f"\nbound {port}\n" in f"\n{said}"
    assert bound or "Permission denied" in said, said
    return bound


class TestJudges:
    """A system on which pybindd runs."""

    @pytest.fixture(scope="class", autouse=True)
    def running(self):
        """Start pybindd as a service."""
        world.run("pybindd", "--trial")  # says why it cannot run, which a failing unit does not
        world.systemctl("start", SERVICE)
        yield
        world.systemctl("stop", SERVICE)

    def test_trial(self):
        """`pybindd --trial` loads its programs into this kernel."""
        world.run("pybindd", "--trial")

    def test_in_force(self):
        """The service is active, says that its entries are in force, and doctor finds nothing broken."""
        assert world.systemctl("is-active", SERVICE).strip() == "active"
        assert "in force" in world.journal(SERVICE)
        world.run("pybindctl", "doctor")

    @pytest.mark.parametrize(
        "program",
        [world.PYTHON, world.BUSYBOX, "caddy file-server --listen :80 --root /srv/www"],
        ids=["Python's web server", "a static program", "a Go program"],
    )
    def test_serves_without_pybind(self, program):
        """{}, without pybind."""
        world.serves(world.as_alice(program))

    def test_with_pybind(self):
        """Every way of pybind works as before."""
        world.every_way()

    def test_no_new_privs(self):
        """A program under no_new_privs."""
        assert can_bind(before="setpriv --no-new-privs")

    def test_hardened_service(self):
        """A service in which no helper works: no_new_privs, no capability, a filter of system calls."""
        options = "NoNewPrivileges=true\nCapabilityBoundingSet=\nSystemCallFilter=@system-service\nPrivateDevices=true"
        world.unit(
            "server.service", f"[Service]\nUser=alice\n{options}\nExecStart={world.PYTHON}\n"
        )
        world.unit_serves("server.service")

    def test_refused(self):
        """A port and a user without a grant are refused."""
        assert not can_bind(port=81)
        assert not can_bind(user="bob")

    def test_user_namespace_of_a_user(self):
        """In a user namespace the user stays the user; others' ports are refused there too."""
        assert can_bind(before="unshare -Ur")
        assert not can_bind(before="unshare -Ur", port=81)

    def test_granted_and_revoked(self):
        """`pybindctl grant` and `revoke` are in force when they return."""
        world.run("pybindctl", "grant", "--yes", "bob", "82")
        assert can_bind(user="bob", port=82)
        world.run("pybindctl", "revoke", "bob", "82")
        assert not can_bind(user="bob", port=82)

    def test_denied_by_systemd(self):
        """SocketBindDeny= of systemd still wins, where systemd is built with BPF."""
        if "-BPF_FRAMEWORK" in world.run("systemctl", "--version"):
            pytest.skip("this systemd is built without BPF: the option does nothing")
        options = "User=alice\nSocketBindDeny=tcp:80"
        world.unit("server.service", f"[Service]\n{options}\nExecStart={world.PYTHON}\n")
        world.systemctl("start", "server.service")
        world.wait_for(lambda: world.failed("server.service"), "the server to be refused")

    def test_stopped(self):
        """Stopped, it grants nothing; pybind serves by the helper."""
        world.systemctl("stop", SERVICE)
        assert not can_bind()
        world.every_way()
        world.systemctl("start", SERVICE)
        assert can_bind()

    def test_killed(self):
        """Killed, it grants nothing until systemd has started it anew."""
        pid = int(world.systemctl("show", "-P", "MainPID", SERVICE))
        pathlib.Path("/run/systemd/system/pybindd.service.d").mkdir(parents=True, exist_ok=True)
        pathlib.Path("/run/systemd/system/pybindd.service.d/once.conf").write_text(
            "[Service]\nRestart=no\n"
        )
        world.systemctl("daemon-reload")
        world.run("kill", f"-{signal.SIGKILL.value}", pid)
        world.wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "pybindd to end")
        assert not can_bind()
        world.systemctl("reset-failed", SERVICE)
        world.systemctl("start", SERVICE)
        assert can_bind()


class TestCannotRun:
    """A system on which pybindd cannot run. The job has the words of the reason in REASON."""

    def test_every_way(self):
        """Every way of pybind serves."""
        world.every_way()

    def test_doctor(self):
        """`pybindctl doctor` finds nothing broken, and says why pybindd cannot run here."""
        assert os.environ["REASON"] in world.run("pybindctl", "doctor", "-v")

    def test_trial(self):
        """`pybindd --trial` says why it cannot run here."""
        assert os.environ["REASON"] in world.run("pybindd", "--trial", status=3)

    def test_service(self):
        """The service fails at its start, with the reason in the journal; pybind serves after."""
        assert world.systemctl("start", SERVICE, status=None)
        world.wait_for(lambda: world.failed(SERVICE), "the service to fail")
        assert os.environ["REASON"] in world.journal(SERVICE)
        world.every_way()
