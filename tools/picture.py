#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the README's pictures, docs/demo.svg and docs/kernel.svg, from one run of the demonstration.

As root, from the repository: `make && tools/picture.py`. Debian's python3-rich draws the pictures
in the colours that the demonstration prints. Each suits a light and a dark page.
tests/manual/test_readme.py compares the pictures with another run.
"""

import io
import pathlib
import re
import subprocess
import sys

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 100
SECOND = "5. pybindd"  # where the second picture begins
TITLE = "sudo make demo"
# Background, text, and the only other colour in use, green. Each contrast is at least 7 to 1.
LIGHT = ("#ffffff", "#1f2328", "#116329")
DARK = ("#0d1117", "#e6edf3", "#56d364")
GREEN = 2  # of a terminal's eight colours


def theme(colours):
    """Return a terminal's colours; all but green are those of the text."""
    background, text, green = (tuple(bytes.fromhex(colour[1:])) for colour in colours)
    eight = [green if number == GREEN else text for number in range(8)]
    return TerminalTheme(background, text, eight, eight)


def dark_rules(style):
    """Return the CSS that repaints a picture where the reader prefers dark pages.

    style: the rules of the light picture. Text has its colour from there, the frame from an
    attribute, which any rule overrules.
    """
    rules = re.findall(r"\.demo-r\d+ \{.*?\}", style)
    rules += [f'[fill="{colour}"] {{ fill: {colour} }}' for colour in LIGHT]
    text = "\n".join(rules)
    for light, dark in zip(LIGHT, DARK):
        text = text.replace(f"fill: {light}", f"fill: {dark}")
    return f"@media (prefers-color-scheme: dark) {{\n{text}\n}}\n"


def draw(output, name):
    """Write docs/NAME.svg."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(output.strip("\n")), soft_wrap=False)
    svg = console.export_svg(title=TITLE, theme=theme(LIGHT), unique_id="demo")
    # A picture in a README loads nothing from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono")
    svg = svg.replace("rgba(255,255,255,0.35)", "#8c959f")  # the frame, on white too
    style, end, drawing = svg.partition("</style>")
    svg = style + dark_rules(style) + end + drawing
    svg = re.sub(r"(?m)[ \t]+$", "", svg)
    (ROOT / f"docs/{name}.svg").write_text(svg)


def main():
    """Run the demonstration once and draw its two parts."""
    run = ["tools/sandbox", "tools/demo"]
    done = subprocess.run(run, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if SECOND in line)
    if any(line.startswith("not here: ") for line in lines[at:]):
        sys.exit("picture: this kernel cannot judge binds, so there is no second picture to make")
    draw("".join(lines[:at]), "demo")
    draw("".join(lines[at:]), "kernel")


if __name__ == "__main__":
    main()
