# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints pybind/_wire.py, made from helpers/protocol.h.

The header is the only definition of the wire format. `make` runs this script when the
header changed. tests/unit/test_tree.py fails if the committed file is out of date, or if
the compiler lays out a structure differently.
"""

import pathlib
import re

HEADER = pathlib.Path(__file__).resolve().parent.parent / "helpers" / "protocol.h"
CODES = {"uint32_t": "I", "int32_t": "i", "uint16_t": "H", "uint8_t": "B", "char": "s"}
WANTED = {"pb_request": "REQUEST", "pb_reply": "REPLY", "pb_step": "STEP"}


def constants(text):
    """Yield (name, value) of the plain #defines and of `enum pb_op`."""
    for name, value in re.findall(r"^#define PB_([A-Z_0-9]+) (0x[0-9a-f]+|\d+)u?\b", text, re.M):
        yield name, int(value, 0)
    for name, value in re.findall(r"^ +PB_(OP_[A-Z]+) = (\d+),", text, re.M):
        yield name, int(value)


def tables(text):
    """Yield (macro, [(name, value, text), ...]) of the X-macro tables."""
    for macro, body in re.findall(r"^#define PB_([A-Z]+)\(X\) \\\n((?:.*\\\n)*.*)", text, re.M):
        rows = re.findall(r'X\(([A-Z_0-9]+), (\d+), ((?:"[^"]*"[\s\\]*)+)\)', body)
        yield (
            macro,
            [
                (name, int(value), "".join(re.findall('"([^"]*)"', words)))
                for name, value, words in rows
            ],
        )


def structures(text, numbers):
    """Yield (name, struct-module format, field names) of the wanted structures."""
    for name, body in re.findall(r"^struct (pb_[a-z]+) \{\n(.*?)^\};", text, re.M | re.S):
        if name not in WANTED:
            continue
        code, fields = "", []
        for kind, field, size in re.findall(r"^ +(\w+) (\w+)(?:\[(\w+)\])?;", body, re.M):
            count = numbers.get(size.replace("PB_", "")) if size.startswith("PB_") else size
            code += f"{count}s" if size else CODES[kind]
            fields.append(field)
        yield WANTED[name], "=" + code, fields


def main():
    text = HEADER.read_text()
    numbers = dict(constants(text))
    print("# SPDX-License-Identifier: GPL-3.0-or-later")
    print('"""The wire format of pybind-helper: made by tools/gen_wire.py from protocol.h.')
    print()
    print("Do not edit. Formats are for the struct module, in host byte order; ports and")
    print('addresses inside are in network byte order, as the header says.\n"""\n')
    for name, value in numbers.items():
        print(f"{name} = {value:#x}" if name == "MAGIC" else f"{name} = {value}")
    for name, code, fields in structures(text, numbers):
        print(f'{name}_FORMAT = "{code}"  # {", ".join(fields)}')
    for macro, rows in tables(text):
        prefix = macro.rstrip("S")
        print()
        for name, value, _ in rows:
            print(f"{prefix}_{name} = {value}")
        print(f"{prefix}_TEXTS = {{")
        for _, value, words in rows:
            print(f'    {value}: "{words}",')
        print("}")


if __name__ == "__main__":
    main()
