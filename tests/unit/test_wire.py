# SPDX-License-Identifier: GPL-3.0-or-later
"""protocol.h and _wire.py define the same wire format."""

import pathlib
import struct
import subprocess
import sys

from pybind import _wire

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def test_generated_file_is_current():
    """_wire.py is what tools/gen_wire.py makes from the header."""
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "gen_wire.py"], capture_output=True, text=True, check=True
    )
    assert made.stdout == (ROOT / "pybind" / "_wire.py").read_text()


def test_compiler_agrees(tmp_path):
    """The compiler lays the structures out as the struct module does."""
    source = tmp_path / "sizes.c"
    source.write_text(
        '#include <stdio.h>\n#include <stddef.h>\n#include "protocol.h"\n'
        'int main(void){printf("%zu %zu %zu %zu %zu %zu", sizeof(struct pb_request),'
        "sizeof(struct pb_reply), sizeof(struct pb_step), offsetof(struct pb_request, addr),"
        "offsetof(struct pb_reply, name), sizeof(struct pb_trace)); return 0;}\n"
    )
    subprocess.run(["cc", "-I", ROOT / "helpers", "-o", tmp_path / "sizes", source], check=True)
    sizes = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True)
    request = struct.calcsize(_wire.REQUEST_FORMAT)
    reply = struct.calcsize(_wire.REPLY_FORMAT)
    step = struct.calcsize(_wire.STEP_FORMAT)
    expected = [request, reply, step, request - 16, reply - 64, 4 + _wire.TRACE_MAX * step]
    assert [int(size) for size in sizes.stdout.split()] == expected
