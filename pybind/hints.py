# SPDX-License-Identifier: GPL-3.0-or-later
"""Guesses what a wrong command line was meant to be (leaf)."""

from __future__ import annotations


def for_words(arguments: list[str]) -> list[str]:
    """Return the line about options in one word, as a #! line passes them; or no line.

    The kernel passes everything behind the interpreter as one argument (execve(2)).
    """
    first = arguments[0] if arguments else ""
    if not first.startswith("-") or " " not in first:
        return []
    return [
        f"{first!r} is one word, as of a #! line; there, write: #!/usr/bin/env -S pybind {first}",
    ]


def for_ports(word: str) -> list[str]:
    """Return the line about several ports in one --port, or an address alone; or no line."""
    ports = word.split(",")
    ends = word.split("-")
    if len(ports) > 1 and all(map(_is_name, ports)):
        each = " ".join(f"-p {port}" for port in ports)
        return [f"one port per --port: {each}"]
    parts = word.split(".")
    if len(parts) == 4 and all(part.isascii() and part.isdigit() for part in parts):
        return [f"the port stands behind the address: {word}:80"]
    if len(ends) == 2 and all(end.isascii() and end.isdigit() for end in ends):
        return [
            f"one port per --port: -p {ends[0]} -p {ends[1]} and each between them, or no --port: "
            "then every port is served that the files grant"
        ]
    return []


def for_program(name: str) -> list[str]:
    """Return the line about a port in the place of the program; or no line."""
    port = name.partition("/")[0].rpartition(":")[2]
    if port.isascii() and port.isdigit():
        return [f"did you mean: pybind --port {name} -- PROGRAM"]
    return []


def _is_name(word: str) -> bool:
    return word.isascii() and word.isalnum()
