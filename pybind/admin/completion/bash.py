# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the completion script for bash."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .words import Command

_BASH_HEAD = """\
# pybind and pybindctl in bash: source <(pybindctl completion bash)

# KIND WORD: prints what WORD may become.
_pybind_values() {
    case $1 in
    user) compgen -u -- "$2" ;;
    who) compgen -W everyone -- "$2"; compgen -u -- "$2"; compgen -P @ -g -- "${2#@}" ;;
    port) compgen -A service -- "$2" ;;
    file) compgen -f -- "$2" ;;
    folder) compgen -d -- "$2" ;;
    program) compgen -c -- "$2" ;;
    choice:*) local list=${1#choice:}; compgen -W "${list//|/$'\\n'}" -- "$2" ;;
    esac
}

# KIND WORD: what WORD may become, each as one word of the line. Whoever owns a folder names the
# files in it: "a;reboot" must not be a command. bash quotes what it is told are names of files;
# compopt tells that to nobody from inside of $(...), and what that prints is a pattern.
_pybind_fill() {
    local quoted=()
    case $1 in file | folder | program) compopt -o filenames 2>/dev/null ;; esac
    mapfile -t COMPREPLY < <(_pybind_values "$1" "$2")
    case $1 in user | who)
        ((${#COMPREPLY[@]})) && mapfile -t quoted < <(printf '%q\\n' "${COMPREPLY[@]}")
        COMPREPLY=("${quoted[@]}") ;;
    esac
}
"""
_BASH_PROGRAM = """\
# AT FIRST: the inner program is COMP_WORDS[AT]; the line has FIRST words before it.
_pybind_program() {
    local name
    for name in _comp_command_offset _command_offset; do # bash-completion's
        if declare -F "$name" >/dev/null; then
            "$name" "$1"
            return
        fi
    done
    local cur=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[$1]} IFS=$'\\n'
    if ((COMP_CWORD == $1)); then
        _pybind_fill program "$cur"
        return
    fi
    name=$(complete -p "${program##*/}" 2>/dev/null)
    case $name in
    *" -F "*) name=${name#* -F } name=${name%% *} ;;
    *)
        _pybind_fill file "$cur"
        return
        ;;
    esac
    local rest=$COMP_LINE i
    for ((i = 0; i < $2; i++)); do
        rest=${rest#"${rest%%[![:space:]]*}"}
        rest=${rest#"${words[i]}"}
    done
    rest=${rest#"${rest%%[![:space:]]*}"}
    local COMP_POINT=$((COMP_POINT - ${#COMP_LINE} + ${#rest})) COMP_LINE=$rest
    local -a moved=("${COMP_WORDS[@]:$1}")
    local COMP_CWORD=$((COMP_CWORD - $1))
    local -a COMP_WORDS=("${moved[@]}")
    IFS=$' \\t\\n'
    "$name" "$program" "$cur" "${COMP_WORDS[COMP_CWORD - 1]}"
}

_pybind() {
    local -a words
    local line=${COMP_LINE:0:COMP_POINT} i=1 at=0 n joined cur last
    read -ra words <<<"$line" # not COMP_WORDS: those are split at ':' and '=' too
    [[ $line != *[[:space:]] ]] || words+=("")
    last=$((${#words[@]} - 1)) cur=${words[${#words[@]} - 1]}
    while ((i < last)); do
        case ${words[i]} in
        --) i=$((i + 1)); break ;;
        @VALUED@) i=$((i + 2)) ;;
        -*) i=$((i + 1)) ;;
        *) break ;;
        esac
    done
    COMPREPLY=()
    if ((i > last)); then
        case ${words[last - 1]} in
@VALUES@
        esac
    elif ((i == last)) && [[ $cur == -* && ${words[last - 1]} != -- ]]; then
        COMPREPLY=($(compgen -W @OPTIONS@ -- "$cur"))
    else
        for ((n = 0; n < i; n++)); do
            joined=
            while [[ $joined != "${words[n]}" ]] && ((at < COMP_CWORD)); do
                joined+=${COMP_WORDS[at]}
                at=$((at + 1))
            done
        done
        _pybind_program "$at" "$i"
    fi
}
complete -F _pybind pybind
"""


def bash(commands: Sequence[Command], runner: Command) -> str:
    """Return the script for bash."""
    valued = " | ".join(name for option in runner.options if option.kind for name in option.names)
    values = "\n".join(
        f"        {' | '.join(option.names)}) " f'_pybind_fill {shlex.quote(option.kind)} "$cur" ;;'
        for option in runner.options
        if option.kind
    )
    program = _BASH_PROGRAM.replace("@VALUED@", valued).replace("@VALUES@", values)
    program = program.replace("@OPTIONS@", shlex.quote(_names(runner)))
    return "\n".join([_BASH_HEAD, "\n".join(_bash_commands(commands)), program]).rstrip("\n")


def _names(command: Command) -> str:
    return " ".join(name for option in command.options for name in option.names)


def _bash_commands(commands: Sequence[Command]) -> Iterator[str]:
    """Yield the function _pybindctl(): it walks over the words, then completes the last one."""
    yield "_pybindctl() {"
    yield "    local cur=${COMP_WORDS[COMP_CWORD]} at=pybindctl wants= kind= options= count=0 i word"
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield "        word=${COMP_WORDS[i]}"
    yield "        if [[ -n $wants ]]; then wants=; continue; fi"
    yield '        case "$at $word" in'
    for command in commands:
        at = " ".join(("pybindctl", *command.words))
        for option in filter(lambda option: option.kind, command.options):
            patterns = " | ".join(f'"{at} {name}"' for name in option.names)
            yield f"        {patterns}) wants={shlex.quote(option.kind)} ;;"
        for name in command.below:
            yield f'        "{at} {name}") at="{at} {name}" count=0 ;;'
    yield '        *" -"*) ;;'
    yield "        *) count=$((count + 1)) ;;"
    yield "        esac"
    yield "    done"
    yield '    case "$at" in'
    for command in commands:
        at = " ".join(("pybindctl", *command.words))
        yield f'    "{at}")'
        yield f"        options={shlex.quote(_names(command))}"
        yield from _bash_arguments(command)
        yield "        ;;"
    yield "    esac"
    yield "    local IFS=$'\\n'"
    yield '    if [[ -n $wants ]]; then _pybind_fill "$wants" "$cur"'
    yield '    elif [[ $cur == -* ]]; then IFS=\' \'; COMPREPLY=($(compgen -W "$options" -- "$cur"))'
    yield '    else _pybind_fill "$kind" "$cur"; fi'
    yield "}"
    yield "complete -F _pybindctl pybindctl"


def _bash_arguments(command: Command) -> Iterator[str]:
    if command.below:
        yield f"        kind={shlex.quote('choice:' + '|'.join(command.below))}"
    for at, kind in enumerate(command.arguments):
        last = at == len(command.arguments) - 1
        test = f"count >= {at}" if last and command.repeats else f"count == {at}"
        yield f"        (({test})) && kind={shlex.quote(kind)}"
