# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts that `pybindctl completion` prints: for bash, for zsh and for fish (leaf)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class OptionWords(NamedTuple):
    """One option. kind: the kind of its value, as in Command; "" for a flag."""

    names: tuple[str, ...]
    help: str
    kind: str


class Command(NamedTuple):
    """One command.

    words: after pybindctl. arguments: the kind of each: user, who, file, folder, port,
    program, any, or choice:ONE|OTHER. repeats: the last argument may be repeated. below:
    the names of its subcommands.
    """

    words: tuple[str, ...]
    help: str
    options: tuple[OptionWords, ...]
    arguments: tuple[str, ...]
    repeats: bool
    below: tuple[str, ...]


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


_ZSH_ACTIONS = {
    "user": "_users",
    "who": "_pybind_who",
    "port": "_ports",
    "file": "_files",
    "folder": "_files -/",
    "program": "_command_names -e",
    "any": " ",
}


def zsh(commands: Sequence[Command], runner: Command) -> str:
    """Return the script for zsh."""
    lines = [
        "#compdef pybind pybindctl",
        "# pybind and pybindctl in zsh: source <(pybindctl completion zsh), after compinit",
        "",
        "_pybind_who() {",
        "    local -a groups=(@${(k)^$(cut -d: -f1 /etc/group)})",
        "    _alternative 'users:user:_users' 'groups:group:compadd -a groups' \\",
        "        'everyone:everyone:(everyone)'",
        "}",
        "",
        "_pybind() {",
        *_zsh_arguments([*map(_zsh_option, runner.options)], "-S"),
        "        '(-):program:_command_names -e' \\",
        "        '*::argument:_normal'",
        "}",
        "",
    ]
    for command in commands:
        lines += _zsh_function(command, commands)
    lines += ["compdef _pybind pybind", "compdef _pybindctl pybindctl"]
    return "\n".join(lines)


def _zsh_arguments(specs: Sequence[str], flags: str = "") -> list[str]:
    head = f"    _arguments {flags}".rstrip() + " : \\"
    return [head, *(f"        {spec} \\" for spec in specs)]


def _zsh_text(text: str) -> str:
    """Return a help text, quoted for a spec of _arguments in single quotes."""
    for char in "\\[]:":
        text = text.replace(char, "\\" + char)
    return text.replace("'", "'\\''")


def _zsh_action(kind: str) -> str:
    if kind.startswith("choice:"):
        return f"({kind.partition(':')[2].replace('|', ' ')})"
    return _ZSH_ACTIONS[kind]


def _zsh_option(option: OptionWords) -> str:
    value = f":value:{_zsh_action(option.kind)}" if option.kind else ""
    names = "{" + ",".join(option.names) + "}" if len(option.names) > 1 else option.names[0]
    return f"'*'{names}'[{_zsh_text(option.help)}]{value}'"


def _zsh_function(command: Command, commands: Sequence[Command]) -> list[str]:
    name = "_".join(("_pybindctl", *command.words))
    lines = [f"{name}() {{"]
    options = list(map(_zsh_option, command.options))
    if not command.below:
        for at, kind in enumerate(command.arguments):
            many = command.repeats and at == len(command.arguments) - 1
            options.append(f"'{'*' if many else at + 1}:argument:{_zsh_action(kind)}'")
        lines += _zsh_arguments(options)
        return [*lines, "        && return", "}", ""]
    helps = {c.words[-1]: c.help for c in commands if c.words[:-1] == command.words and c.words}
    choices = " ".join(f'{below}\\:"{_zsh_choice(helps[below])}"' for below in command.below)
    lines.append("    local curcontext=$curcontext state line")
    lines += _zsh_arguments([*options, f"'1:command:(({choices}))'"], "-C")
    lines += ["        '*::argument:->rest' && return", "    case $line[1] in"]
    lines += [f"    {below}) {name}_{below} ;;" for below in command.below]
    return [*lines, "    esac", "}", ""]


def _zsh_choice(text: str) -> str:
    return (
        _zsh_text(text).replace('"', "").replace("\\:", "\\\\:").replace("(", "").replace(")", "")
    )


_FISH_VALUES = {
    "user": "(__fish_complete_users)",
    "who": "everyone (__fish_complete_users) (__fish_print_groups | string replace -r '^' @)",
    "port": "(string match -rg '^([a-z][a-z0-9-]*)\\s' </etc/services)",
    "folder": "(__fish_complete_directories)",
    "program": "(__fish_complete_command)",
}


def fish(commands: Sequence[Command], runner: Command) -> str:
    """Return the script for fish."""
    lines = ["# pybind and pybindctl in fish: pybindctl completion fish | source", ""]
    lines += ["complete -c pybind " + _fish_option(option) for option in runner.options]
    valued = " ".join(name for option in runner.options if option.kind for name in option.names)
    lines.append(f"complete -c pybind -x -a '(__fish_complete_subcommand -- {valued})'")
    lines += ["", "complete -c pybindctl -f"]
    for command in commands:
        lines += _fish_command(command, commands)
    return "\n".join(lines)


def _fish_quote(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def _fish_option(option: OptionWords) -> str:
    words = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    ]
    if option.kind:
        words.append("-r" if option.kind == "file" else "-x")
        words.append(_fish_values(option.kind))
    return " ".join([*filter(None, words), "-d", _fish_quote(option.help)])


def _fish_values(kind: str) -> str:
    if kind.startswith("choice:"):
        return "-a " + _fish_quote(kind.partition(":")[2].replace("|", " "))
    return "-a " + _fish_quote(_FISH_VALUES[kind]) if kind in _FISH_VALUES else ""


def _fish_command(command: Command, commands: Sequence[Command]) -> Iterator[str]:
    seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command.words)
    if command.below:
        unseen = f"not __fish_seen_subcommand_from {' '.join(command.below)}"
        seen = f"{seen}; and {unseen}" if seen else unseen
    head = f"complete -c pybindctl -n {_fish_quote(seen)}"
    for option in command.options:
        yield f"{head} {_fish_option(option)}"
    for other in commands:
        if other.words and other.words[:-1] == command.words:
            yield f"{head} -a {other.words[-1]} -d {_fish_quote(other.help)}"
    for kind in dict.fromkeys(command.arguments):
        if kind == "file":
            yield f"{head} -F"
        elif kind != "any":
            yield f"{head} {_fish_values(kind)}"
