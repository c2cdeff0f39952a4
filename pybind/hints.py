# SPDX-License-Identifier: GPL-3.0-or-later
"""What words that cannot be understood were probably meant to be (leaf)."""

from __future__ import annotations


def for_words(arguments: list[str]) -> list[str]:
    """Return lines about a command line that came as one word: that of a #! line.

    The kernel passes all that stands behind the interpreter on as one argument
    (execve(2)).
    """
    first = arguments[0] if arguments else ""
    if not first.startswith("-") or " " not in first:
        return []
    return [
        f"{first!r} is one word, as of a #! line; there, write: #!/usr/bin/env -S pybind {first}",
    ]


def for_ports(word: str) -> list[str]:
    """Return the line about several ports in one --port; empty where there is one."""
    ports = word.split(",")
    ends = word.split("-")
    if len(ports) > 1 and all(map(_is_name, ports)):
        each = " ".join(f"-p {port}" for port in ports)
        return [f"one port per --port: {each}"]
    if len(ends) == 2 and all(end.isascii() and end.isdigit() for end in ends):
        return [
            f"one port per --port: -p {ends[0]} -p {ends[1]} and each between them, or no --port: "
            "then every port is served that the files grant"
        ]
    return []


def for_program(name: str) -> list[str]:
    """Return the line about a program that is a port; empty where it is none."""
    port = name.partition("/")[0].rpartition(":")[2]
    if port.isascii() and port.isdigit():
        return [f"did you mean: pybind --port {name} -- PROGRAM"]
    return []


def _is_name(word: str) -> bool:
    return word.isascii() and word.isalnum()
