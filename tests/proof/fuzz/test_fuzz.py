# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kept input of the fuzz targets still passes; `make prove` searches for new ones."""

import fuzzing
import pytest


@pytest.mark.parametrize("target", fuzzing.TARGETS)
def test_kept_inputs(target):
    """No input of the corpus crashes a target, and the corpus is not empty."""
    fuzzing.build(target)
    kept = fuzzing.kept_inputs(target)
    found = fuzzing.fuzz(target, "0", fuzzing.working_corpus(target))
    assert found["crashes"] == 0, (fuzzing.BUILD / f"{target}.log").read_text()
    assert found["executions"] >= len(kept) > 100
