# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the analyses that hold for all values: analyse.py.

Frama-C's Eva analyses the names (names.c), and main() with everything but the rules
(decoder.c). names.c also tries every length of a name. angr follows parts of the rule parser
on symbols (symbolic.py, in a virtual environment below build/). Prints one line of JSON,
and exits 1 after an alarm.
"""

import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
HELPER = REPOSITORY / "helpers" / "helper"
BUILD = REPOSITORY / "build" / "analysis"
VENV = BUILD / "venv"
# Versions that work together; newer versions of the last two break this angr.
PACKAGES = ("angr==9.2.213", "pycparser==3.0", "bitstring<4.3")
# Linux has these, but Frama-C's own C library lacks them.
MISSING = "-D_GNU_SOURCE -D_Noreturn= -DSO_DOMAIN=39 -DSO_PROTOCOL=38 -DMSG_DONTWAIT=64"
MISSING += " -DSOCK_CLOEXEC=524288"
EVA = ["frama-c", "-machdep", "gcc_x86_64", f"-cpp-extra-args={MISSING}", "-eva"]
TARGETS = {
    # With a history of two junctions, each of two possible texts keeps its own length.
    "names": [
        *["-main", "analysis_names", "-eva-precision", "6", "-eva-slevel", "500"],
        *["-eva-slevel-function", "put_ipv6:0"],
        *["-eva-partition-history", "2", "names.c"],
    ],
    "decoder": ["-eva-precision", "5", "-eva-slevel", "300", "main.c", "socket.c"],
}
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def eva(name):
    """Run Eva over one target; return the counts of alarms and of unproved properties.

    Raises AssertionError if a function or an assertion was not reached.
    """
    share = subprocess.run(
        ["frama-c", "-print-share-path"], check=True, capture_output=True, text=True
    ).stdout.strip()
    words = [str(HELPER / word) if word.endswith(".c") else word for word in TARGETS[name]]
    harness = HERE / f"{name}.c"
    command = [*EVA, *words, str(harness), f"{share}/libc/string.c"]
    text = subprocess.run(command, capture_output=True, text=True).stdout
    (BUILD / f"{name}.log").write_text(text)
    alarms = re.search(r"(\d+) alarms? generated", text)
    properties = re.findall(
        r"(Assertions|Preconditions) +(\d+) valid +(\d+) unknown +(\d+) invalid", text
    )
    assert alarms and len(properties) == 2, f"Eva did not finish: {text[-2000:]}"
    reached = re.search(r"(\d+) functions analyzed \(out of (\d+)\)", text)
    assert reached and reached[1] == reached[2], f"{name}: not all functions were reached"
    asserted = sum(map(int, properties[0][1:]))
    assert asserted == harness.read_text().count("//@ assert"), f"{name}: {asserted} assertions"
    unproved = sum(int(unknown) + int(invalid) for _, _, unknown, invalid in properties)
    return int(alarms[1]) + unproved


def lengths():
    """Spell a name of each length; return {names: how many, longest: bytes}."""
    program = BUILD / "lengths"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", *SANITIZERS]
    sources = [HERE / "names.c", HELPER / "names.c"]
    subprocess.run(["gcc", *flags, *sources, "-o", program], check=True)
    return json.loads(subprocess.run([program], check=True, stdout=subprocess.PIPE).stdout)


def symbolic():
    """Build the program of agree.c; return the result of symbolic.py."""
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
    spelled = lengths()
    found = symbolic()
    print(json.dumps({"alarms": alarms, "spelled": spelled, "symbolic": found}))
    sys.exit(0 if found["proved"] and not any(alarms.values()) else 1)


if __name__ == "__main__":
    main()
