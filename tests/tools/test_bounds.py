# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/lib/limits.py: no test hangs, and no test is skipped in silence."""

import os
import pathlib
import subprocess

import pytest

HANGING = {
    "in the test": "def test(): signal.pause()",
    "in a wait for a child that is stopped": """
def test():
    child = subprocess.Popen(["sleep", "1000"])
    child.send_signal(signal.SIGSTOP)
    try:
        os.waitpid(child.pid, 0)
    finally:
        child.kill()
""",
    "after it caught what ended it": """
def test():
    for _ in range(2):
        try:
            signal.pause()
        except BaseException:
            pass
    signal.pause()
""",
    "in a fixture": """
@pytest.fixture
def hangs():
    signal.pause()
def test(hangs): pass
""",
    "in a fixture's clean-up": """
@pytest.fixture
def hangs():
    yield
    signal.pause()
def test(hangs): pass
""",
    "with a bound of its own": """
@pytest.mark.bound(0.25)
def test(): signal.pause()
""",
}

ENVIRON = {name: value for name, value in os.environ.items() if name != "CI"}


def pytest_of(folder, text, **environ):
    """Run pytest on a file with that text; return the output."""
    path = folder / "test_it.py"
    path.write_text(
        f"import os, signal, subprocess\nimport pytest\n{text}\ndef test_next(): pass\n"
    )
    tests = pathlib.Path(__file__).resolve().parents[1]
    command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-p", "limits",
               "--rootdir", path.parent, "-c", os.devnull, path]  # fmt: skip
    done = subprocess.run(command, env={**ENVIRON, "PYTHONPATH": str(tests / "lib"), **environ},
                          capture_output=True, text=True, cwd="/", timeout=200)  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("where", HANGING)
def test_a_test_that_hangs_fails(where, tmp_path):
    """The failure shows where the test hung and which processes ran; the next test runs."""
    environ = {} if "of its own" in where else {"PYBIND_BOUND": "2"}
    printed = pytest_of(tmp_path, HANGING[where], **environ)
    assert "not done within its bound of " in printed
    assert "-m pytest" in printed.partition("the processes:")[2]
    assert "1 passed" in printed or "2 passed, 1 error" in printed


def test_a_test_in_time_passes(tmp_path):
    """No timer is left for the test's children or for the next test."""
    printed = pytest_of(tmp_path, "def test(): assert signal.getitimer(signal.ITIMER_REAL)[0] > 0\n"
                        "def test_child(): subprocess.run(['sleep', '0.7'], check=True)",
                        PYBIND_BOUND="5")  # fmt: skip
    assert "3 passed" in printed


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("def test(): pytest.skip('no such program')", True),
        ("@pytest.mark.skip(reason='later')\ndef test(): pass", True),
        ("pytest.importorskip('nobody_has_it')", True),
        ("def test(): pytest.skip('this kernel has no sockets of that kind')", False),
    ],
)
@pytest.mark.parametrize("ci", [True, False])
def test_a_skip_that_nobody_expected_fails_in_ci(text, fails, ci, tmp_path):
    """A skip whose reason is the machine does not fail, and without CI no skip fails."""
    printed = pytest_of(tmp_path, text, **({"CI": "1"} if ci else {}))
    assert ("unexpected skip" in printed) == (fails and ci), printed
    assert ("1 skipped" in printed) != (fails and ci), printed
