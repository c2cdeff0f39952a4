# SPDX-License-Identifier: GPL-3.0-or-later
"""An entry of the lists of faults.

A fault replaces one piece of text, which must occur exactly once in its file. The entry
names the test that notices the fault: a node of pytest, COMPAT (the comparison with
authbind's helper and the model) or FUZZ (the kept inputs of the fuzz targets).
"""

from typing import NamedTuple

COMPAT = "compat"
FUZZ = "fuzz"
PROCESS = "tests/helper/test_process.py::"
PROTOCOL = "tests/helper/test_protocol.py::"
RULES = "tests/helper/test_rules.py::"


class Mutant(NamedTuple):
    """A fault: in FILE of helpers/helper OLD becomes NEW. killer: the test that notices."""

    file: str
    old: str
    new: str
    killer: str
