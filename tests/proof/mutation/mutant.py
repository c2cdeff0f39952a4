# SPDX-License-Identifier: GPL-3.0-or-later
"""An entry of the lists of faults.

A fault replaces one piece of text, which must occur exactly once in its file. The entry
names the test that notices the fault: a node of pytest, COMPAT (the comparison with
authbind's helper and the model), KERNEL (that of the kernel with helper and model) or FUZZ
(the kept inputs of the fuzz targets).
"""

from typing import NamedTuple

COMPAT = "compat"
FUZZ = "fuzz"
KERNEL = "kernel"
PROCESS = "tests/helper/test_process.py::"
PROTOCOL = "tests/helper/test_protocol.py::"
RULES = "tests/helper/test_rules.py::"


class Mutant(NamedTuple):
    """A fault: in FILE OLD becomes NEW. killer: the test that notices.

    file: of helpers/helper, or kernel/NAME of helpers/kernel.
    """

    file: str
    old: str
    new: str
    killer: str

    @property
    def path(self) -> str:
        """Return the file, from the repository on."""
        return f"helpers/{self.file if self.in_kernel else f'helper/{self.file}'}"

    @property
    def in_kernel(self) -> bool:
        """Tell whether it is a fault of pybindd's programs."""
        return self.file.startswith("kernel/")
