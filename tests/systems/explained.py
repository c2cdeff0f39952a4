# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a check of the record fails, and how to repair the fault: {(job, check): words}."""

EXPLAINED: "dict[tuple[str, str], str]" = {}
