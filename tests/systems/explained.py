# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a check of the record fails, and how to repair the fault: {(job, check): words}."""

EXPLAINED: "dict[tuple[str, str], str]" = {
    ("life", "After a reboot a SysV script serves"): (
        "systemd has no support for SysV scripts since version 260, and Debian 14 has 262. Use a "
        "unit there (examples/systemd), or another init system"
    )
}
