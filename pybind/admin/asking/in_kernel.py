# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's own answer to a bind where pybindd runs, derived from pybindd's status.

It is printed beside the helper's answer, which is the one that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ... import _wire, pybindd
from ...model import Reply

GRANTED, REFUSED, LEFT, NONE, UNKNOWN = "granted", "refused", "left", "none", "unknown"
_OF_FOLDERS = (_wire.REASON_CONFIG_MISSING, _wire.REASON_CONFIG_UNSAFE, _wire.REASON_CONFIG_ERROR)


class Answer(NamedTuple):
    """The kernel's answer.

    answer: GRANTED, REFUSED, LEFT (to the helper), NONE (nothing is in force) or UNKNOWN.
    why: the reason; "" for GRANTED and REFUSED. text: answer and reason in one line.
    """

    answer: str
    why: str
    text: str


def status() -> dict[str, Any] | None:
    """Return the status of the running pybindd; None if none runs, or it cannot be read."""
    try:
        return pybindd.status()
    except OSError:
        return None


def answer_to(reply: Reply | None, said: dict[str, Any] | None) -> Answer | None:
    """Return the kernel's answer to the same question that the helper answered by `reply`.

    said: the status of pybindd. None if no pybindd runs (said is None), or the port needs
    no grant (reply is None).
    """
    if reply is None or said is None:
        return None
    answer = _judge(reply, said)
    where = "" if pybindd.serves_all(said) else f" (for the control group {said['cgroup']})"
    return answer._replace(text=f"pybindd: {answer.text}{where}")


def judges_all() -> bool:
    """Tell whether pybindd has the kernel judge every process here by all files."""
    said = status()
    return said is not None and pybindd.judges_this_process() and pybindd.serves_all(said)


def without_wrapper(replies: Sequence[Reply], said: dict[str, Any] | None) -> str | None:
    """Return where programs use these grants without pybind.

    "": everywhere. A folder: in this control group. None: nowhere, or it is not known.
    """
    answers = [answer_to(reply, said) for reply in replies]
    if said is None or not all(answer and answer.answer == GRANTED for answer in answers):
        return None
    return "" if pybindd.serves_all(said) else str(said["cgroup"])


def _judge(reply: Reply, said: dict[str, Any]) -> Answer:
    if not said["in_force"]:
        return _none(said["why_not"])
    if said["netns_cookie"] != _own_namespace():
        return _none("it serves another network namespace than this one")
    granted = reply.reason in (_wire.REASON_GRANTED, _wire.REASON_NO_CAPABILITY)
    left = _left_on_the_way(reply, said)
    if granted and left:
        return Answer(LEFT, left, f"the kernel leaves it to the helper: {left}")
    word = GRANTED if granted else REFUSED
    verb = "grants" if granted else "refuses"
    if granted and said["left_count"] > len(said["left"]):
        why = f"{said['left_count'] - len(said['left'])} files are left to the helper unnamed"
        return Answer(UNKNOWN, why, f"the kernel {verb} it too, or leaves it to the helper: {why}")
    if reply.reason in _OF_FOLDERS and not (said["refuses_all"] or said["left_all"]):
        why = "it finds the folders in order"
        return Answer(UNKNOWN, why, f"the kernel judges by the files: {why}")
    if reply.reason == _wire.REASON_NO_CAPABILITY:
        return Answer(word, "", "the kernel grants it, without the helper")
    return Answer(word, "", f"the kernel {verb} it too")


def _none(why: str) -> Answer:
    return Answer(NONE, why, f"the kernel grants nothing ({why}), so the helper alone decides")


def _left_on_the_way(reply: Reply, said: dict[str, Any]) -> str:
    """Return the file that the helper asked but pybindd leaves to it, with the reason; or ""."""
    if said["left_all"]:
        return str(said["left_all"])
    met = {step.name for step in reply.steps if step.result != _wire.STEP_ABSENT} | {reply.name}
    return next((f"{x['name']} {x['why']}" for x in said["left"] if x["name"] in met), "")


def _own_namespace() -> int:
    try:
        return pybindd.netns_cookie()
    except OSError:
        return -1
