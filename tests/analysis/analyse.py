# SPDX-License-Identifier: GPL-3.0-or-later
"""Analyses that hold for all values: analyse.py. Prints one line of JSON, exits 1 after an alarm.

Frama-C's Eva runs over the names and over main() with everything but the rules
(names.c, decoder.c); angr follows parts of the rule parser on symbols
(symbolic.py, in an environment of its own below build/).
"""

import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
HELPER = REPOSITORY / "helpers" / "helper"
BUILD = REPOSITORY / "build" / "analysis"
VENV = BUILD / "venv"
# What this angr was tried with; newer ones of the other two break it.
PACKAGES = ("angr==9.2.213", "pycparser==3.0", "bitstring<4.3")
# Linux has these, the C library that Frama-C brings has not.
MISSING = "-D_GNU_SOURCE -D_Noreturn= -DSO_DOMAIN=39 -DSO_PROTOCOL=38 -DMSG_DONTWAIT=64"
MISSING += " -DSOCK_CLOEXEC=524288"
EVA = ["frama-c", "-machdep", "gcc_x86_64", f"-cpp-extra-args={MISSING}", "-eva"]
TARGETS = {
    "names": ["-main", "analysis_names", "-eva-precision", "6", "-eva-slevel", "5000", "names.c"],
    "decoder": ["-eva-precision", "5", "-eva-slevel", "300", "main.c", "socket.c"],
}


def eva(name):
    """Run Eva over one target; returns how many alarms and unproved assertions it left."""
    share = subprocess.run(
        ["frama-c", "-print-share-path"], check=True, capture_output=True, text=True
    ).stdout.strip()
    words = [str(HELPER / word) if word.endswith(".c") else word for word in TARGETS[name]]
    command = [*EVA, *words, str(HERE / f"{name}.c"), f"{share}/libc/string.c"]
    text = subprocess.run(command, capture_output=True, text=True).stdout
    (BUILD / f"{name}.log").write_text(text)
    alarms = re.search(r"(\d+) alarms? generated", text)
    asserted = re.search(r"Assertions +(\d+) valid +(\d+) unknown +(\d+) invalid", text)
    assert alarms, f"Eva did not finish: {text[-2000:]}"
    assert asserted, "the assertions were not reached"
    return int(alarms[1]) + int(asserted[2]) + int(asserted[3])


def symbolic():
    """Build the program and follow it; returns what symbolic.py found."""
    program = BUILD / "agree"
    multiarch = subprocess.run(
        ["gcc", "-print-multiarch"], check=True, capture_output=True, text=True
    ).stdout.strip()
    headers = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{multiarch}"]
    sources = [HERE / "agree.c", HERE.parent / "fuzz" / "oracle.c"]
    flags = ["-static", "-O1", "-fno-builtin", "-std=c11", "-D_GNU_SOURCE"]
    subprocess.run(["musl-gcc", *flags, *headers, *sources, "-o", program], check=True)
    if not (VENV / "bin" / "angr").exists():
        subprocess.run(["/usr/bin/python3", "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin" / "pip", "-q", "install", *PACKAGES], check=True)
    command = [VENV / "bin" / "python", HERE / "symbolic.py", program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Run all analyses."""
    BUILD.mkdir(parents=True, exist_ok=True)
    alarms = {name: eva(name) for name in TARGETS}
    found = symbolic()
    print(json.dumps({"alarms": alarms, "symbolic": found}))
    sys.exit(0 if found["proved"] and not any(alarms.values()) else 1)


if __name__ == "__main__":
    main()
