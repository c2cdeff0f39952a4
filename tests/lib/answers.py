# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the helper's reply with the documented rules: reason, file, line."""

from ask import Answer
from reference import Decision

from pybind import _wire as w

REASONS = {
    "folder": w.REASON_CONFIG_UNSAFE,
    "missing": w.REASON_CONFIG_MISSING,
    "flag-kind": w.REASON_FLAG_KIND,
    "unsafe": w.REASON_RULES_UNSAFE,
    "unreadable": w.REASON_RULES_UNREADABLE,
    "too-big": w.REASON_RULES_TOO_BIG,
    "broken": w.REASON_RULES_BROKEN,
    "none": w.REASON_NO_RULE,
}
# A line that breaks the grammar may have two faults, and the manual does not say
# which of them is reported.
UNGRAMMATICAL = set(range(w.FAULT_SYNTAX, w.FAULT_PROTOCOL + 1))
FAULTS = {
    "": {w.FAULT_NONE},
    "too-long": {w.FAULT_TOO_LONG},
    "byte": {w.FAULT_BYTE},
    "syntax": UNGRAMMATICAL,
    "number": {w.FAULT_LENGTH, w.FAULT_PORT},
    "host-bits": {w.FAULT_HOST_BITS},
    "order": {w.FAULT_ORDER},
}


def _reason(decided: Decision) -> int:
    if decided.why == "unreachable":
        folder, _, file = decided.name.partition("/")
        if not file:
            return w.REASON_CONFIG_ERROR
        is_flag = folder in ("byport", "byaddr")
        return w.REASON_FLAG_ERROR if is_flag else w.REASON_RULES_UNREADABLE
    if decided.granted:
        return w.REASON_GRANTED
    return REASONS.get(decided.why, w.REASON_FLAG_DENIED)


def is_as_documented(ours: Answer, decided: Decision) -> bool:
    """Tell whether the reply has the deciding file, line and reason that pybind.5 demands."""
    reason = w.REASON_GRANTED if ours.reason == w.REASON_KERNEL else ours.reason
    said = (ours.granted, ours.name, reason, ours.line)
    return (
        said == (decided.granted, decided.name, _reason(decided), decided.line)
        and ours.fault in FAULTS[decided.fault]
    )
