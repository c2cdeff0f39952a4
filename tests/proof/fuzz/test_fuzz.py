# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kept input of the fuzz targets still passes; `make prove` searches for new ones.

    /usr/bin/python3 tests/proof/fuzz/test_fuzz.py TARGET RUNS|SECONDSs|merge [FOLDER]

builds a target and searches. TARGET is parser or decoder. The corpus folder FOLDER is read
and written; by default it has the kept inputs, unpacked below build/fuzz. merge replaces the
kept inputs by the smallest part of FOLDER with the same coverage. Needs clang with libFuzzer.

The kept inputs of a target are one archive, corpus/TARGET.tar.xz. Its folder reached/
has the minimised inputs of searches. Its folder seeds/ has inputs made by hand, for
cases that coverage does not tell apart.
"""

import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
HELPER = REPOSITORY / "helpers" / "helper"
BUILD = REPOSITORY / "build" / "fuzz"
WORLD = (HERE / "world.c", HERE / "files.c")  # the kernel of the decoder's runs
CORPUS = HERE / "corpus"
REACHED, SEEDS = "reached", "seeds"  # the folders of an archive
SANITIZERS = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
CONFIG = '-DCONFIG_DIR="/etc/pybind"'
COMPILE = ["clang", "-std=c11", "-g", "-O1", "-D_GNU_SOURCE", CONFIG, *SANITIZERS]
TARGETS = ("parser", "decoder")
INPUT_MAX = {"parser": 300, "decoder": 1000}
# Words of rule lines, and the heads of two requests.
DICTIONARY = r"""
"any,"
",80"
"/tcp"
"/udp"
"::"
"0.0.0.0/0"
"10.0.0.0/8:"
"::/0,"
"-65535"
" # "
"\x0a"
"ffff:"
"\x00\x50"
"pybd\x01\x00\x04\x00\x02\x00\x00\x00\x00\x50\x00\x00"
"pybd\x01\x00\x02\x00\x0a\x00\x06\x00\x00\x50\x00\x00"
"""


def _object(source: pathlib.Path) -> pathlib.Path:
    target = BUILD / (source.stem + ".o")
    flag = "-fsanitize=fuzzer-no-link,address,undefined"
    flags = [flag if word.startswith("-fsanitize=") else word for word in COMPILE]
    subprocess.run([*flags, "-c", source, "-o", target], check=True)
    return target


def build(target: str) -> pathlib.Path:
    """Compile a target with the helper's sources as they are; returns the binary."""
    BUILD.mkdir(parents=True, exist_ok=True)
    harness, oracle = _object(HERE / f"{target}.c"), _object(HERE / "oracle.c")
    if target == "parser":
        objects = [harness, oracle, _object(HELPER / "parse.c")]
    else:
        others = sorted(path for path in HELPER.glob("*.c") if path.name != "main.c")
        helper = [harness, *map(_object, others)]  # without main.c, which the harness includes
        defined = "".join(path.read_text() for path in WORLD)
        calls = re.findall(r"^WRAP\([^,]+, (\w+)", defined, re.MULTILINE)
        renames = [f"--redefine-sym={name}=world_{name}" for name in calls]
        for path in helper:
            subprocess.run(["objcopy", *renames, path], check=True)
        objects = [*helper, oracle, *map(_object, WORLD)]
    binary = BUILD / target
    subprocess.run(["clang", *SANITIZERS, *objects, "-o", binary], check=True)
    return binary


def kept_inputs(target: str) -> dict[str, bytes]:
    """Return {name, such as seeds/family: content} of the kept inputs of a target."""
    with tarfile.open(CORPUS / f"{target}.tar.xz") as archive:
        return {
            member.name: archive.extractfile(member).read()
            for member in archive.getmembers()
            if member.isfile()
        }


def keep(target: str, inputs: dict[str, bytes]) -> None:
    """Write the archive of a target; the same inputs give the same bytes."""
    with tarfile.open(CORPUS / f"{target}.tar.xz", "w:xz", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(inputs.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def working_corpus(target: str) -> pathlib.Path:
    """Return a fresh folder with the kept inputs, so that a seed determines a run."""
    folder = BUILD / f"corpus-{target}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in kept_inputs(target).items():
        (folder / name.replace("/", "-")).write_bytes(content)
    return folder


def fuzz(target: str, amount: str, folder: pathlib.Path, seed: int = 1) -> dict:
    """Run a target for `N` executions or `Ns` seconds; return the result.

    Keys: target, seed, executions, seconds, edges (reached), features, crashes.
    """
    limit = f"-max_total_time={amount[:-1]}" if amount.endswith("s") else f"-runs={amount}"
    started = time.monotonic()
    found = BUILD / f"found-{target}"
    found.mkdir(exist_ok=True)
    for old in found.iterdir():
        old.unlink()
    options = [limit, f"-seed={seed}", f"-max_len={INPUT_MAX[target]}", "-print_final_stats=1"]
    dictionary = BUILD / f"{target}.dict"
    dictionary.write_text(DICTIONARY)
    options += [f"-artifact_prefix={found}/", "-timeout=10", f"-dict={dictionary}"]
    process = subprocess.run(
        [BUILD / target, *options, folder], stderr=subprocess.PIPE, text=True, errors="replace"
    )
    (BUILD / f"{target}.log").write_text(process.stderr)
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", process.stderr)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", process.stderr)
    edges, features = map(int, reached[-1]) if reached else (0, 0)
    return {
        "target": target,
        "seed": seed,
        "executions": int(executed[1]) if executed else 0,
        "seconds": round(time.monotonic() - started),
        "edges": edges,
        "features": features,
        "crashes": len(list(found.iterdir())) + (process.returncode != 0),
    }


def merge(target: str, folder: pathlib.Path) -> None:
    """Replace the reached inputs by the smallest part of FOLDER with the same coverage."""
    new = BUILD / f"merged-{target}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    options = ["-merge=1", f"-max_len={INPUT_MAX[target]}"]
    subprocess.run([BUILD / target, *options, new, folder], check=True, stderr=subprocess.DEVNULL)
    inputs = {name: data for name, data in kept_inputs(target).items() if name.startswith(SEEDS)}
    inputs.update({f"{REACHED}/{path.name}": path.read_bytes() for path in new.iterdir()})
    keep(target, inputs)


@pytest.mark.parametrize("target", TARGETS)
def test_kept_inputs(target):
    """No input of the corpus crashes a target, and the corpus is not empty."""
    build(target)
    kept = kept_inputs(target)
    found = fuzz(target, "0", working_corpus(target))
    assert found["crashes"] == 0, (BUILD / f"{target}.log").read_text()
    assert found["executions"] >= len(kept) > 100


def main(target: str, amount: str, folder: str = "") -> None:
    """Run the command line; print one line of JSON, and exit 1 after a crash."""
    build(target)
    corpus = pathlib.Path(folder) if folder else working_corpus(target)
    if amount == "merge":
        merge(target, corpus)
        return
    result = fuzz(target, amount, corpus)
    print(json.dumps(result))
    sys.exit(1 if result["crashes"] else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
