# SPDX-License-Identifier: GPL-3.0-or-later
"""`make help` and `make check`: what a newcomer types first."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
INNER = {"FORCE", "no-bpf"}  # targets that nobody types


def test_help_has_a_line_for_each_target():
    """Each phony target of the Makefile has a line in `make help`, and nothing else has."""
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = set(phony[1].replace("\\", "").split()) - INNER
    shown = subprocess.run(["make", "-C", ROOT, "-s", "help"], capture_output=True, text=True)
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    assert shown.returncode == 0, shown.stderr
    assert sorted(name for name, _ in lines) == sorted(targets)
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_a_build_without_clang_says_so_once():
    """What is left out is said with the command that helps; the installation after it is silent."""
    command = ["make", "-C", ROOT, "-s", "no-bpf", "BPF_CLANG=no-such-clang"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert said.endswith("to build them too: sudo apt-get install clang libbpf-dev\n")
    again = subprocess.run([*command, "QUIET=1"], capture_output=True, text=True, check=True)
    assert again.stderr == again.stdout == ""
