# SPDX-License-Identifier: GPL-3.0-or-later
"""The first commands of the README: root grants, an ordinary user serves.

Needs the installed package and a free port 80 (debian/tests/control, lifecycle.py).
"""

import subprocess

from serving import ALICE, as_alice_fails, run, serving


def first_use():
    """pybind refuses without a grant, serves with one in both modes, and refuses afterwards."""
    run("pybindctl", "doctor")
    said = as_alice_fails("pybind", "--port", "80", "--", "true")
    assert ": sudo pybindctl grant " in said, said
    run("pybindctl", "grant", ALICE, "80")
    for mode in ("preload", "supervise"):
        with serving(80, "--mode", mode):
            print(f"  ok: uid {ALICE} serves port 80 ({mode})", flush=True)
    run("pybindctl", "revoke", ALICE, "80")
    as_alice_fails("pybind", "--port", "80", "--", "true")
    subprocess.run(["pybind", "--version"], check=True)


if __name__ == "__main__":
    first_use()
