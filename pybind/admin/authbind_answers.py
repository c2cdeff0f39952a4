# SPDX-License-Identifier: GPL-3.0-or-later
"""What authbind would answer: its steps, walked in its own folder as the user in question.

Whether a file is executable is the kernel's answer, by access(2), as for
authbind's helper; so groups, lists and links count as they do there. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import NoReturn

from ..model import Address
from .errors import Failed
from .identity import Who, credentials
from .rulelines import Rule, address_name
from .sources import Old, Question

# The name of a byuid file -> what its lines grant, and why a line is not carried over or "".
Meanings = dict[str, list[tuple[Rule, str]]]
_HALF = 512  # from here on authbind wants the '!'


def ask(root: str, meanings: Meanings, questions: list[Question]) -> list[Old]:
    """Return authbind's answers. Raises Failed."""
    by_who: dict[Who, list[int]] = {}
    for at, question in enumerate(questions):
        by_who.setdefault(question.who, []).append(at)
    answers = [Old(False)] * len(questions)
    for who, indexes in by_who.items():
        addresses = [questions[at].address for at in indexes]
        for at, answer in zip(indexes, ask_as(root, meanings, credentials(who), addresses)):
            answers[at] = answer
    return answers


def ask_as(
    root: str,
    meanings: Meanings,
    identity: tuple[int, int, tuple[int, ...]],
    addresses: list[Address],
) -> list[Old]:
    """Return authbind's answers to a process of this uid, gid and groups."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(writing, root, meanings, identity, addresses)
    os.close(writing)
    try:
        with open(reading, "rb") as pipe:
            data = pipe.read()
    finally:
        with contextlib.suppress(ChildProcessError):  # SIGCHLD was ignored by our caller
            os.waitpid(pid, 0)
    try:
        return [Old(*fields) for fields in json.loads(data)]
    except ValueError:
        raise Failed(f"cannot look into {root} as uid {identity[0]}: needs root") from None


def _child(
    writing: int,
    root: str,
    meanings: Meanings,
    identity: tuple[int, int, tuple[int, ...]],
    addresses: list[Address],
) -> NoReturn:
    """Become the user, answer and end: never returns into the parent's code."""
    try:
        os.chdir(root)  # before: authbind's helper does it as root
        uid, gid, groups = identity
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        answers = [_answer(uid, meanings, address) for address in addresses]
        with open(writing, "wb") as pipe:
            pipe.write(json.dumps(answers).encode())
    finally:
        os._exit(0)


def _answer(uid: int, meanings: Meanings, address: Address) -> Old:
    mark = "!" if address.port >= _HALF else ""
    for name in _flag_names(mark, address):
        if os.access(name, os.X_OK):
            return Old(True)
        try:
            os.stat(name)
        except FileNotFoundError:
            continue
        except OSError:
            pass
        return Old(False)
    found = [why for rule, why in meanings.get(f"{mark}{uid}", []) if _covers(rule, address)]
    return Old(bool(found), "" if "" in found else next(iter(found), ""))


def _flag_names(mark: str, address: Address) -> list[str]:
    text = socket.inet_ntop(address.family, address.addr)
    spelled = [f"{text},"]
    if address.family == socket.AF_INET:
        spelled.insert(0, f"{text}:")
    else:
        spelled.append(address_name(address.addr, short=False) + ",")
    names = [f"byport/{mark}{address.port}"]
    return names + [f"byaddr/{mark}{word}{address.port}" for word in spelled]


def _covers(rule: Rule, address: Address) -> bool:
    return (
        rule.family == address.family
        and rule.port_min <= address.port <= rule.port_max
        and rule.addr_min <= address.addr <= rule.addr_max
    )
