# SPDX-License-Identifier: GPL-3.0-or-later
"""`make test-systems`: its catalogue, its record and page, and that no machine outlives it."""

import ast
import dataclasses
import json
import pathlib
import tarfile
import time

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent

from systems import catalogue, images, machine, processes, record  # noqa: E402

JOBS = TESTS / "systems/jobs"
FILES = sorted({name for job in catalogue.JOBS.values() for name in job.files})


def checks(name):
    """Return {function's name: docstring} of a job's file, or of a class of one."""
    name, _, of_class = name.partition("::")
    body = ast.parse((JOBS / name).read_text()).body
    if of_class:
        (body,) = [node.body for node in body if getattr(node, "name", "") == of_class]
    found = [node for node in body if isinstance(node, ast.FunctionDef)]
    return {node.name: ast.get_docstring(node) for node in found if node.name[:5] == "test_"}


@pytest.mark.parametrize("name", FILES)
def test_each_check_has_words_of_its_own(name):
    """The table calls a check by the first line of its docstring."""
    words = [(text or "").splitlines()[0] for text in checks(name).values()]
    assert words
    assert len(set(words)) == len(words)


def test_no_check_is_left_out():
    """Every check below jobs/ belongs to a job: a function of a named file, or of a named class."""
    named = {name.partition("::")[0] for name in FILES}
    for name in named:
        body = ast.parse((JOBS / name).read_text()).body
        places = [name] if checks(name) else []
        for node in body:
            if isinstance(node, ast.ClassDef) and checks(f"{name}::{node.name}"):
                places.append(f"{name}::{node.name}")
        assert set(places) <= set(FILES), name
    others = {path.name for path in JOBS.glob("*.py")} - named
    assert not [name for name in others if checks(name)]


def test_catalogue():
    """Each job has a disk and a bound, and runs only on systems of the catalogue."""
    for job in catalogue.JOBS.values():
        assert job.disk in catalogue.DISKS
        assert set(job.systems) <= set(catalogue.SYSTEMS)
        assert 0 < job.seconds <= 4 * 3600
    assert {system.architecture for system in catalogue.SYSTEMS.values()} <= set(machine.BOARDS)


def test_page_is_the_records():
    """The tables of docs/systems.md show the recorded runs."""
    text = record.PAGE.read_text()
    assert record.page(text, record.load()) == text


def test_every_failure_is_explained():
    """Each failure has its reason and repair, and each reason belongs to a failure."""
    kept = record.load()
    assert record.unexplained(kept) == []
    failed = {
        (job, check["check"])
        for jobs in kept.values()
        for job, result in jobs.items()
        for check in result["checks"]
        if check["outcome"] == "failed"
    }
    assert set(record.EXPLAINED) <= failed


def test_tables():
    """A system has one row, bold where a check failed; a job's table lists the reasons."""
    passed, failed, skipped = (
        {"check": name, "outcome": outcome, "said": "Skipped: not here"}
        for name, outcome in (("a | b", "passed"), ("c", "failed"), ("d", "skipped"))
    )
    run = {"kernel": "6.1", "python": "3.11", "date": "2026-11-26"}
    kept = {
        "bookworm": {"short": {**run, "checks": [passed, failed, skipped]}},
        "trixie": {"short": {**run, "checks": [passed], "figures": ["a bind: 9 us"]}},
    }
    lines = record.tables(kept).splitlines()
    assert "| Debian 12 | 6.1 | 3.11 | 2026-11-26 | **1 of 2** |" in lines
    assert "| Debian 13 | 6.1 | 3.11 | 2026-11-26 | 1 of 1 |" in lines
    assert "| a \\| b | yes | yes |" in lines
    assert "| c | **no** |  |" in lines
    assert "| d | - |  |" in lines
    assert "- d: not here." in lines
    assert "- trixie: a bind: 9 us." in lines
    assert record.unexplained(kept) == [("bookworm", "short", "c")]


def test_name_of_an_image(monkeypatch):
    """Another package, kernel or base gives another name of the image."""
    image = catalogue.JOBS["short"].image(catalogue.SYSTEMS["bookworm"])
    names = {image.name(), dataclasses.replace(image, packages="more").name()}
    names.add(dataclasses.replace(image, kernel="other").name())
    monkeypatch.setattr(images, "BASE", "less")
    names.add(image.name())
    assert len(names) == 4


def test_foreign_programs_are_known_by_their_header():
    """The magic of arm64 matches arm64 programs, but not x86 or 32-bit programs."""
    _, name, kind, _, magic, mask, interpreter, flags = processes.entry("arm64", "/q").split(":")
    assert (name, kind, interpreter, flags) == ("aarch64", "M", "/q", "FP")
    magic, mask = (bytes(int(part, 16) for part in text.split("\\x")[1:]) for text in (magic, mask))

    def fits(head):
        return bytes(a & b for a, b in zip(head, mask)) == bytes(a & b for a, b in zip(magic, mask))

    def head(bits=2, kind=3, machine=183):
        ident = b"\x7fELF" + bytes((bits, 1, 1, 0)) + bytes(8)
        return ident + kind.to_bytes(2, "little") + machine.to_bytes(2, "little")

    assert fits(head())
    assert fits(head(kind=2))
    assert not fits(head(machine=62))
    assert not fits(head(bits=1))


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Return a setter of the shell script that stands in for qemu."""
    (tmp_path / "image").mkdir()

    def stand_in(script):
        path = tmp_path / "qemu"
        path.write_text("#!/bin/bash\n" + script)
        path.chmod(0o755)
        fields = dataclasses.replace(machine.X86, qemu=str(path))
        monkeypatch.setitem(machine.BOARDS, "amd64", fields)
        monkeypatch.setattr(machine, "SCRATCH", str(tmp_path))
        return tmp_path / "image", tmp_path / "out"

    return stand_in


JOB = {"files": ["short.py"], "timeout": 0, "environment": {}}
# Prints the file that qemu was given for the port or disk $1.
PORT = r"""
port() { for word; do case $word in file,id=$PORT,path=*) echo "${word##*path=}" ;; esac; done; }
console() { for word; do case $word in file:*) : >"${word#file:}" ;; esac; done; }
console "$@"
for PORT in output results; do : >"$(port "$@")"; done
"""


def ended(pid):
    """Tell whether a process is gone, or a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_nothing_outlives_its_time(board, tmp_path, monkeypatch):
    """A machine that does not end is killed with its children, and the job says so."""
    pids = tmp_path / "pids"
    image, out = board(PORT + f"sleep 1000 & echo $! $$ >{pids}; wait\n")
    monkeypatch.setattr(machine, "GRACE_S", 2)
    with pytest.raises(machine.Died, match="not done after"):
        machine.run(image, "amd64", JOB, [], out)
    assert len(pids.read_text().split()) == 2
    deadline = time.monotonic() + 60  # a killed process may need the CPU to end
    while not all(map(ended, pids.read_text().split())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_results_come_back(board, tmp_path, capfd):
    """The job's output is shown, and its results are unpacked."""
    left = tmp_path / "left"
    left.mkdir()
    (left / "about.json").write_text(json.dumps({"kernel": "6.1", "release": "x", "python": "3"}))
    (left / "checks").write_text(json.dumps({"check": "c", "outcome": "passed", "said": ""}) + "\n")
    with tarfile.open(tmp_path / "left.tar", "w") as archive:
        archive.add(left, ".")
    script = f'PORT=output; echo it works >"$(port "$@")"; PORT=results; cat {tmp_path}/left.tar >"$(port "$@")"\n'
    image, out = board(PORT + script)
    machine.run(image, "amd64", JOB, [], out)
    assert record.read(out)["checks"] == [{"check": "c", "outcome": "passed", "said": ""}]
    assert "it works" in capfd.readouterr().out


def test_end_without_results(board):
    """A machine that ends without results counts as dead, whatever its exit status."""
    image, out = board(PORT)
    with pytest.raises(machine.Died, match="ended without results"):
        machine.run(image, "amd64", JOB, [], out)
    assert (out / "console").exists()
