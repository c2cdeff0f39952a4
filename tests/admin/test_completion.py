# SPDX-License-Identifier: GPL-3.0-or-later
"""pybindctl completion: the tests drive bash through its programmable completion.

zsh and fish parse their scripts where they are installed. Their scripts are always
searched for every command and option.
"""

import os
import re
import shutil
import subprocess

import ctl
import pytest
import support
from support import CONFIG

COMMANDS = ("grant", "revoke", "list", "lint", "check", "explain", "apply", "export", "status")
COMMANDS += ("log", "doctor", "setup", "import", "completion")
# Fills COMP_* as readline does: each ':' and '=' ends a word and is a word itself.
DRIVER = r"""
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9 COMP_KEY=9
shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
spec=$(complete -p "$1"); name=${spec#* -F }; name=${name%% *}
cd /
$BEFORE
"$name" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """Return the path of the script for bash."""
    path = tmp_path_factory.mktemp("completion") / "bash"
    path.write_text(ctl.done("completion", "bash"))
    return path


def complete(script, line, before="", clean=True):
    """Return what bash offers for the end of `line`."""
    words = re.findall(r"[:=]+|[^\s:=]+", line)
    if line.endswith((" ", ":", "=")):
        words.append("")
    done = subprocess.run(
        ["bash", "--norc", "-c", DRIVER.replace("$BEFORE", before), "bash", script, line, *words],
        capture_output=True,
        text=True,
        timeout=support.PATIENCE_S,
        check=True,
    )
    assert not clean or done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_syntax(script):
    """bash parses the script, even with `set -u`."""
    subprocess.run(["bash", "-n", script], check=True, timeout=support.PATIENCE_S)
    subprocess.run(
        ["bash", "-uec", 'source "$1"', "bash", script], check=True, timeout=support.PATIENCE_S
    )


def test_commands(script):
    """Every command is offered, or every command with the typed beginning."""
    assert complete(script, "pybindctl ") == list(COMMANDS)
    assert complete(script, "pybindctl ex") == ["explain", "export"]
    assert complete(script, "pybindctl import ") == ["authbind", "daemonusr", "portacl"]
    assert complete(script, "pybindctl completion ") == ["bash", "zsh", "fish"]


def test_options(script):
    """The offered options are those of the command."""
    assert complete(script, "pybindctl grant --") == ["--yes", "--json", "--help"]
    assert complete(script, "pybindctl grant -") == ["--yes", "--json", "--help"]
    assert complete(script, "pybindctl import authbind --ap") == ["--apply"]
    assert "--prune" in complete(script, "pybindctl apply -")


def test_values(script):
    """Users, groups, services, files and folders are offered where each is expected."""
    assert complete(script, "pybindctl grant nobo") == ["nobody"]
    assert complete(script, "pybindctl grant @www-d") == ["@www-data"]
    assert complete(script, "pybindctl grant every") == ["everyone"]
    assert "https" in complete(script, "pybindctl grant nobody http")
    assert "https" in complete(script, "pybindctl grant nobody http http")
    assert complete(script, "pybindctl check --user nobo") == ["nobody"]
    assert "https" in complete(script, "pybindctl check --user nobody http")
    assert "/etc/passwd" in complete(script, "pybindctl apply /etc/pass")
    assert complete(script, "pybindctl import authbind /et") == ["/etc"]
    assert complete(script, "pybindctl import portacl ") == []
    assert "chmod" in complete(script, "pybindctl doctor -- chmo")


def test_the_name_of_a_file_is_one_word(script):
    """A file named like a command, in somebody's folder: Tab and Enter start no command."""
    folder = support.scratch_dir()
    (folder / "a;touch made;").touch()
    start = (
        f"cd {folder}; source {script}; "
        'pybindctl() { printf "<%s>" "$@"; }; pybind() { pybindctl "$@"; }; echo rea""dy\n'
    )
    for command in ("pybindctl apply a", "pybindctl import daemonusr a", "pybind chmod a"):
        with subprocess.Popen(
            ["script", "--quiet", "--command", "bash --norc -i", "/dev/null"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            env={"PATH": "/usr/bin:/bin", "TERM": "dumb", "PS1": "$ ", "HISTFILE": ""},
        ) as shell:  # fmt: skip
            said = b""
            for typed, awaited in ((start, b"ready"), (f"{command}\t", b"made"), ("\n", b">")):
                shell.stdin.write(typed.encode())
                said = b""
                while awaited not in said:
                    said += os.read(shell.stdout.fileno(), 4096) or pytest.fail(str(said))
            shell.stdin.write(b"exit\n")
        assert b"<a;touch made;>" in said
        assert not (folder / "made").exists()


def test_a_group_of_an_odd_name_is_one_word(script):
    """What is offered for WHO is quoted, as it is typed."""
    groups = CONFIG.parent / "group"
    before = groups.read_text()
    groups.write_text(before + "odd $(id):x:4321:\n")
    try:
        assert complete(script, "pybindctl grant @odd") == [r"@odd\ \$\(id\)"]
    finally:
        groups.write_text(before)


def test_own_options_of_pybind(script):
    """pybind's own options and their values are offered, up to the program."""
    assert complete(script, "pybind --mo") == ["--mode"]
    assert complete(script, "pybind --li") == ["--listen"]
    assert complete(script, "pybind --user nobo") == ["nobody"]
    assert complete(script, "pybind --mode ") == ["auto", "preload", "supervise"]
    assert "https" in complete(script, "pybind -p http")
    assert "--port" in complete(script, "pybind -v -")


@pytest.mark.parametrize(
    "before", ["", "-p 80 ", "--port 127.0.0.1:80 ", "-p [::1]:443/tcp -v -- ", "--port=80 -q "]
)
def test_program(script, before):
    """The program is completed as a command; its words as files if it has no completion."""
    assert "chmod" in complete(script, f"pybind {before}chmo")
    assert "/etc/passwd" in complete(script, f"pybind {before}chmod /etc/pass")
    assert complete(script, f"pybind {before}/bin/chmo") == ["/bin/chmod"]


@pytest.mark.parametrize("before", ["", "-p 80 ", "-p [::1]:443 --mode auto -- "])
def test_words_of_the_program(script, before):
    """A program's own completion sees the line as if pybind were not there."""
    own = (
        '_own() { COMPREPLY=("$1|$2|$3|$COMP_CWORD|${COMP_WORDS[*]}|$COMP_LINE|$COMP_POINT"); }; '
        "complete -o nospace -F _own prog"
    )
    line = "prog  --x=1 host:80 fi"
    words = ["prog --x = 1 host : 80 fi"]
    found = complete(script, f"pybind {before}{line}", own)
    expected = ["prog", "fi", "80", "7", *words, line, str(len(line))]
    assert found == ["|".join(expected)]


@pytest.mark.parametrize("name", ["_command_offset", "_comp_command_offset"])
def test_with_bash_completion(script, name):
    """bash-completion, if loaded, completes the inner command, by either name of its function."""
    before = f'{name}() {{ COMPREPLY=("$1 ${{COMP_WORDS[$1]}}"); }}'
    assert complete(script, "pybind -p 80 git che", before) == ["3 git"]
    assert complete(script, "pybind --port 127.0.0.1:80 git che", before) == ["5 git"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell, tmp_path):
    """The script has every command and option and balanced quotes; its shell can parse it."""
    text = ctl.done("completion", shell)
    for word in COMMANDS:
        assert re.search(rf"\b{word}\b", text)
    for option in ("apply", "prune", "user", "strict", "port", "depth", "mode", "check"):
        assert re.search(rf"(--|-l ){option}\b", text)
    inner = {"zsh": "'*::argument:_normal'", "fish": "(__fish_complete_subcommand -- -p --port "}
    assert inner[shell] in text
    for line in text.replace("\\'", "").splitlines():
        assert line.startswith("#") or line.count("'") % 2 == 0, line
    assert text.count("{") == text.count("}")
    path = tmp_path / shell
    path.write_text(text)
    if shutil.which(shell):
        subprocess.run([shell, "-n", path], check=True, timeout=support.PATIENCE_S)


def test_wrong_shell():
    """The error for another shell lists the known shells."""
    ctl.failed(2, "completion", "csh", words=["csh", "bash"])
