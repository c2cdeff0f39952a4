# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that repair a permission file, as an administrator types them (leaf).

A command is a line for sh(1). Each works without the packages acl and attr.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat

from .trust import changeable

SETUP = "sudo pybindctl setup"
_BOM = b"\xef\xbb\xbf"
_LINE_LEN_MAX = 255  # of a rule (pybind(5))


def sudo(*commands: tuple[str, ...]) -> str:
    """Return the commands as one line, each with sudo, joined by &&."""
    return " && ".join("sudo " + shlex.join(command) for command in commands)


def is_word_for_user(name: str) -> bool:
    """Tell whether a user's name, typed as WHO, means this user.

    It does not for accounts that are called everyone, 1234 or @wheel.
    """
    odd = not name or name == "everyone" or name.isdecimal() or name[0] in "@-"
    return not odd and is_typeable(name)


def account(uid: int) -> str:
    """Return the WHO that means this user: the name, or the number."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    return name if is_word_for_user(name) else str(uid)


def flag_spec(name: str) -> str:
    """Return the SPEC of everything that a flag file decides.

    name: below CONFIG_DIR, such as byaddr/!::1,631,tcp, whose SPEC is [::1]:631/tcp.
    """
    folder, _, rest = name.replace("/!", "/").partition("/")
    *words, last = rest.split(",")
    protocol = ""
    if last in ("tcp", "udp"):
        protocol, last = "/" + last, words.pop()
    if folder == "byport":
        return last + protocol
    address, port = (words[0], last) if words else last.rsplit(":", 1)
    return f"{f'[{address}]' if ':' in address else address}:{port}{protocol}"


def put_aside(path: str) -> str:
    """Return the command that renames a file to FILE.old."""
    return sudo(("mv", path, path + ".old"))


def is_typeable(name: str) -> bool:
    """Tell whether a person can type a name as it is printed; not with surrogates."""
    return name.isprintable() and "\\" not in name


def printable(name: str) -> str:
    """Return a name with escapes, so that it cannot send commands to the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in name
    )


def put_away(path: str) -> str:
    """Return the command that moves a file to root's home, whatever its name.

    path: as names.scan() spells it, with escapes for bytes that are not UTF-8. Returns
    "" when the file is gone. Raises OSError.
    """
    home = os.path.join(pwd.getpwuid(0).pw_dir, "")
    if is_typeable(path):
        return sudo(("mv", path, home))
    folder, _, shown = path.rpartition("/")
    for raw in os.listdir(os.fsencode(folder)):
        if raw.decode("utf-8", "backslashreplace") == shown:
            inode = str(os.lstat(os.path.join(os.fsencode(folder), raw)).st_ino)
            return sudo(("find", folder, "-xdev", "-inum", inode, "-exec", "mv", "{}", home, ";"))
    return ""


def comment_out(path: str, number: int, raw: bytes) -> str:
    """Return the command that turns a line into a comment. raw: without its newline."""
    return sudo(("env", "LC_ALL=C", "sed", "-i", _as_comment(number, raw), path))


def _as_comment(number: int, raw: bytes) -> str:
    if not _bad_bytes(raw) and len(raw) <= _LINE_LEN_MAX - 2:
        return f"{number}s/^/# /"
    return rf"{number}{{s/[^\t -~]/?/g;s/^\(.\{{0,{_LINE_LEN_MAX - 2}\}}\).*/# \1/}}"


def _bad_bytes(text: bytes) -> bool:
    return any(byte != 9 and not 32 <= byte < 127 for byte in text)


def rule_line(path: str, number: int, raw: bytes) -> str:
    """Return the command that mends a broken line and keeps its grant.

    A line that cannot be mended becomes a comment. raw: the line without its newline.
    """
    body, mark, _ = raw.partition(b"#")
    fits = not _bad_bytes(body) and len(body) <= _LINE_LEN_MAX
    if raw.endswith(b"\r") and not _bad_bytes(raw[:-1]) and len(raw) <= _LINE_LEN_MAX + 1:
        edit = r"s/\r$//"
    elif number == 1 and raw.startswith(_BOM):
        edit = r"1s/^\xef\xbb\xbf//"
    elif mark and fits and (_bad_bytes(raw) or len(raw) > _LINE_LEN_MAX):
        edit = f"{number}s/[ \\t]*#.*//"
    else:
        edit = _as_comment(number, raw)
    # LC_ALL=C: in another locale sed cannot match bytes that form no character.
    return sudo(("env", "LC_ALL=C", "sed", "-i", edit, path))


def rules_file(path: str, status: os.stat_result) -> str:
    """Return the command for a rule file that the helper calls unsafe.

    It becomes a new file: who could write the old one may still have it open for that, and
    chown(2) and chmod(2) take no descriptor away. status: of lstat(2).
    """
    if not stat.S_ISREG(status.st_mode) and not _leads_to_roots_file(path):
        return put_aside(path)  # what others could write must not become a grant of root's
    return sudo(("install", "-m", "0644", path, path + ".new"), ("mv", path + ".new", path))


def _leads_to_roots_file(path: str) -> bool:
    """Tell whether a link leads to a regular file that nobody but root can write or replace."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and changeable(path) is None
    except OSError:
        return False
