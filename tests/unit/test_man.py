# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual says what the code does: options, files, exit codes, messages."""

import ast
import pathlib
import re
import struct

import click
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

from pybind import _wire, commandline, errors, paths  # noqa: E402
from pybind.admin import cli as admin  # noqa: E402
from pybind.permissions import errors as admin_errors  # noqa: E402

MESSAGES_PAGE = "pybind-troubleshooting.7"
CONTEXT = click.Context(commandline.command, help_option_names=["-h", "--help"])
PAGES = ["pybind.1", "pybind.5", "pybindctl.8", "pybind-helper.8"]
SECTIONS = ["EXAMPLES", "DIAGNOSTICS", "BUGS", "SECURITY CONSIDERATIONS"]
MAKEFILE = (ROOT / "Makefile").read_text()
HELPER_SOURCE = "".join(path.read_text() for path in sorted((ROOT / "helpers/helper").iterdir()))


def page(name):
    return (ROOT / "man" / name).read_text()


def section(name, title):
    """Return one section of a page, as mdoc."""
    found = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", page(name), re.M | re.S)
    assert found, f"{name} has no {title}"
    return found[1]


def plain(mdoc):
    """Return mdoc as plain words, without macros and quoting."""
    mdoc = re.sub(r"^\.\\\".*$", "", mdoc, flags=re.M)
    mdoc = re.sub(r"^\.(It Sy|It|Sy|Pa|Li|Er|Ql|Pq)\b", "", mdoc, flags=re.M)
    return re.sub(r"[\s\"]+", " ", mdoc)


def items(name, title, macro):
    """Return the arguments of `.It MACRO` in a section, one for each item."""
    return re.findall(rf"^\.It {macro} ?(.*)$", section(name, title), re.M)


def bold(line):
    """Return the bold texts of a line; the items of messages are in bold."""
    words = re.findall(r'"[^"]*"|\S+', line)
    texts, macro = [], "Sy"
    for word in words:
        if word in ("Sy", "Ar", "No", ","):
            macro = word
        elif macro == "Sy":
            texts.append(word.strip('"'))
    return texts


def messages(folder):
    """Return the text constants of the code below `folder`, with a NUL for each inserted value."""
    found = set()
    for path in sorted(folder.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "\0" for p in node.values]
                found.add("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if id(node) not in docstrings else set()
    return found


MESSAGES = messages(ROOT / "pybind")
LIBRARY_MESSAGES = re.findall(r'"([^"\n]{6,})"', (ROOT / "helpers/preload/report.c").read_text())


@pytest.mark.parametrize("name", PAGES)
def test_sections(name):
    """Each page has the sections that a reader looks for; only commands have EXIT STATUS."""
    for title in [*SECTIONS, *(["EXIT STATUS"] if name != "pybind.5" else [])]:
        assert section(name, title).strip(), title


def test_every_page_is_installed():
    """No page is left out of `make install` or of the list of pages."""
    pages = (ROOT / "docs/README.md").read_text()
    for name in (*PAGES, MESSAGES_PAGE):
        assert f"man/{name}" in MAKEFILE
        stem, _, number = name.rpartition(".")
        assert f"{stem}({number})" in pages


# -- options


def test_every_option_is_described():
    """pybind(1) has each option of the command, and no other option."""
    options = {
        opt.lstrip("-")
        for param in commandline.command.get_params(CONTEXT)
        if isinstance(param, click.Option)
        for opt in param.opts
    }
    described = set()
    for line in items("pybind.1", "OPTIONS", "Fl"):
        described |= {m.lstrip("-") for m in re.findall(r"(?:^|Fl )(-?[a-z]+)", "Fl " + line)}
    assert described == options


def of_click(command):
    """Return the options of a command but --help."""
    params = command.get_params(click.Context(command))
    options = {opt for p in params if isinstance(p, click.Option) for opt in p.opts}
    return options - {"--help"}


def leaves(prefix, command):
    """Yield (name, command) for a command, or for each command of a group."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from leaves(
                f"{prefix} {name}".strip(), command.get_command(click.Context(command), name)
            )
    else:
        yield prefix, command


def test_every_option_of_pybindctl_is_in_its_synopsis():
    """The synopsis of each command has all its options, and no other option."""
    given = {}
    for block in section("pybindctl.8", "SYNOPSIS").split(".Nm\n")[1:]:
        line = re.match(r"\.Cm (.*)\n", block)
        if not line:
            continue
        options = {"-" + name for name in re.findall(r"^\.Op Fl ([a-z])\b", block, re.M)}
        long = re.findall(r"^\.Op Fl (?:[a-z] \| )?-([a-z]+)", block, re.M)
        options |= {"--" + name for name in long}
        alternatives = [part.strip() for part in line[1].split("|")]
        for part in ["completion"] if "bash" in line[1] else alternatives:
            given[part] = options
    expected = {name: of_click(command) for name, command in leaves("", admin._group)}
    assert given == expected


def test_every_command_of_pybindctl_is_described():
    """COMMANDS has an item for each command, and its options below it."""
    names = [line.split()[0] for line in items("pybindctl.8", "COMMANDS", "Cm")]
    assert sorted({*names} & {*admin.COMMANDS}) == sorted(admin.COMMANDS)


# -- file names


FOLDERS = [f"{paths.CONFIG_DIR}/{name}/" for name in paths.FOLDERS]
SHARE = f"{paths.PREFIX}/share/pybind/"
EXAMPLES = f"{paths.PREFIX}/share/doc/pybind/examples/"


def test_files():
    """FILES names each file that is installed or read, and no other file."""
    stated = {name: [line.strip('"') for line in items(name, "FILES", "Pa")] for name in PAGES}
    installed = [paths.HELPER, paths.LIBRARY, SHARE, EXAMPLES]
    assert stated["pybind.1"] == [paths.CONFIG_DIR + "/", *installed]
    assert stated["pybind.5"] == FOLDERS
    assert stated["pybind-helper.8"] == [paths.HELPER, paths.CONFIG_DIR + "/"]
    command, folder, lock, leftovers = stated["pybindctl.8"]
    assert (command, folder) == (paths.PREFIX + "/bin/pybindctl", paths.CONFIG_DIR + "/")
    new, old = leftovers.replace(" , Pa ", " ").split()
    for path in (lock, new, old):
        assert re.sub(r".*/(\.\*)?", "", path) in "\n".join(MESSAGES), path


def test_installed_files():
    """The Makefile's defaults are the paths of the manual."""
    values = dict(re.findall(r"^(\w+) +\??= *(\S+)$", MAKEFILE, re.M))
    for name, path in {"HELPER": paths.HELPER, "LIBRARY": paths.LIBRARY, "SHARE": SHARE[:-1],
                       "CONFIG_DIR": paths.CONFIG_DIR, "DOCDIR": EXAMPLES[:-10]}.items():  # fmt: skip
        text = values[name]
        while "$(" in text:
            text = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], text)
        assert text == path


# -- exit codes


def statuses(module):
    return {value for name, value in vars(module).items() if name.startswith("STATUS_")}


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("pybind.1", {0, *statuses(errors)}),
        ("pybindctl.8", {0, *statuses(admin_errors)}),
        ("pybind-helper.8", {int(n) for n in re.findall(r"_exit\((\d+)\)", HELPER_SOURCE)}),
    ],
)
def test_exit_codes(name, codes):
    """EXIT STATUS has an item for each status, and for no other."""
    assert [int(line) for line in items(name, "EXIT STATUS", r"(?=\d)")] == sorted(codes)


# -- messages


def test_every_reason_is_explained():
    """Each reason of the helper has its entry under DIAGNOSTICS, and there are no others."""
    reasons = section(MESSAGES_PAGE, "DIAGNOSTICS").partition(".Ss Other messages")[0]
    stated = re.findall(r'^\.It Sy "(.*)"$', reasons, re.M)
    texts = {n: text for n, text in _wire.REASON_TEXTS.items() if n != _wire.REASON_GRANTED}
    assert sorted(stated) == sorted(texts.values())


def test_every_fault_is_explained():
    """pybind(5) explains each fault of a line, word for word."""
    texts = {n: text for n, text in _wire.FAULT_TEXTS.items() if n != _wire.FAULT_NONE}
    stated = [line.strip('"') for line in items("pybind.5", "DIAGNOSTICS", "Sy")]
    assert stated == [texts[number] for number in sorted(texts)]


@pytest.mark.parametrize("name", [MESSAGES_PAGE, "pybindctl.8"])
def test_messages_are_the_codes(name):
    """Each bold text of DIAGNOSTICS is part of a message of the code."""
    texts = [text for line in items(name, "DIAGNOSTICS", "(?=.*Sy)") for text in bold(line)]
    assert len(texts) >= 7
    for text in texts:
        assert any(text in message for message in MESSAGES), text


def quoted():
    """Return the output that pybind-troubleshooting(7) quotes, each as one line."""
    blocks = re.findall(r"^\.Bd -ragged.*?\n(.*?)^\.Ed", page(MESSAGES_PAGE), re.M | re.S)
    return [" ".join(block.split()) for block in blocks]


@pytest.mark.parametrize("line", [line for line in quoted() if line.startswith("pybind: ")])
def test_quoted_output_is_the_codes(line):
    """Each quoted line begins like a line that the code prints, with values filled in."""
    text = line.removeprefix("pybind: ")
    if text.startswith("bind of port"):  # the preload library writes this line, in C
        head, _, tail = text.partition(" (IPv4): ")
        assert head.startswith("bind of port ") and " (IPv4): " in LIBRARY_MESSAGES
        assert tail in _wire.REASON_TEXTS.values()
        return
    text = re.sub(r"^.*? may not bind [^:]*: ", "", text)
    for message in MESSAGES:
        pattern = re.escape(message).replace("\0", "(.+)").replace(r"\ ", " ")
        found = re.match(pattern, text)
        if found and len(message) > 20 and found.end() == len(text):
            return
        if len(text) > 20 and message.startswith(text):
            return
    # A value may itself be a message: "ADDRESS: granted (FILE)".
    assert re.fullmatch(r"0\.0\.0\.0:80/tcp: granted \(.*\)", text), text
    assert text.partition("granted (")[2].rstrip(")") in MESSAGES


def test_quotes_are_found():
    """quoted() finds lines, so a change of the page's form cannot empty the test above."""
    assert len([line for line in quoted() if line.startswith("pybind: ")]) == 10


# -- the protocol


def test_protocol_page():
    """pybind-helper(8) has the header's version, sizes, names, numbers and limit of time."""
    text = plain(page("pybind-helper.8"))
    reply = struct.calcsize(_wire.REPLY_FORMAT)
    trace = 4 + _wire.TRACE_MAX * struct.calcsize(_wire.STEP_FORMAT)
    limit_s = re.search(r"GIVE_UP_S (\d+)", HELPER_SOURCE)[1]
    for words in (
        f"This page is about version {_wire.VERSION}.",
        f"struct pb_request of {struct.calcsize(_wire.REQUEST_FORMAT)} bytes",
        f"struct pb_reply of {reply} bytes",
        f"{reply + trace} bytes in all",
        f"more steps than its {_wire.TRACE_MAX}",
        f"after {limit_s} seconds at the latest",
    ):
        assert words in re.sub(r"\.(Vt|Fa|Dv) ", "", text), words
    rows = re.findall(r"^\.It Dv PB_(REASON_\w+) Ta (\d+)$", page("pybind-helper.8"), re.M)
    reasons = {n: v for n, v in vars(_wire).items() if re.match("REASON_(?!TEXTS)", n)}
    assert {name: int(number) for name, number in rows} == reasons


def test_protocol_names():
    """The header has every name and field of the protocol that the page has."""
    header = (ROOT / "helpers/protocol.h").read_text()
    mdoc = page("pybind-helper.8")
    described = mdoc[mdoc.index(".Ss The request") : mdoc.index(".Ss What the caller")]
    for line in re.findall(r"^\.It Fa (.*)$", described, re.M):
        for field in line.split(" , "):
            assert re.search(rf" {field}(\[\w+\])?;", header), field
    fields = re.findall(r"^ {4}u?\w+ (\w+)(?:\[\w+\])?;", header, re.M)
    for field in {*fields} - {"result", "v4_half", "count"}:  # of the trace
        assert re.search(rf"^\.It Fa (.* )?{field}\b", described, re.M), field
    for name in set(re.findall(r"\bPB_[A-Z][A-Z_0-9]*\b", mdoc)):
        stem = re.sub("^PB_(REASON|FAULT|STEP)_", "", name)
        assert re.search(rf"\b{name}\b|X\({stem},", header) or name in ("PB_FAULT_",), name


def test_differences_from_authbind_are_listed():
    """pybind(5) has each difference that the differential test allows, word for word."""
    from differences import DIFFERENCES

    text = plain(page("pybind.5"))
    for difference in DIFFERENCES:
        assert difference.identifier in text, difference
        assert re.sub(r"\s+", " ", difference.text) in text, difference.text
