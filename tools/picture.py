#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the README's pictures, docs/demo*.svg and docs/kernel*.svg, from one run of the demonstration.

As root, from the repository: `make && tools/picture.py`. Debian's python3-rich draws them, each
for a light and for a dark page, in the colours that the demonstration itself prints.
tests/manual/test_readme.py holds the pictures against another run.
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
# Background, text, and of the eight colours the one that is used, green: at least 7 to 1.
GREEN = 2
THEMES = {
    "": ((255, 255, 255), (31, 35, 40), (17, 99, 41)),
    "-dark": ((13, 17, 23), (230, 237, 243), (86, 211, 100)),
}


def theme(background, text, green):
    """Return a terminal's colours; all but green are those of the text."""
    colours = [green if number == GREEN else text for number in range(8)]
    return TerminalTheme(background, text, colours, colours)


def draw(output, name):
    """Write docs/NAME.svg and docs/NAME-dark.svg."""
    for suffix, colours in THEMES.items():
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(output.strip("\n")), soft_wrap=False)
        svg = console.export_svg(title=TITLE, theme=theme(*colours), unique_id="demo")
        # A picture in a README loads nothing from elsewhere.
        svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
        svg = svg.replace("Fira Code", "DejaVu Sans Mono")
        svg = svg.replace("rgba(255,255,255,0.35)", "#8c959f")  # the frame, on white too
        svg = re.sub(r"(?m)[ \t]+$", "", svg)
        (ROOT / f"docs/{name}{suffix}.svg").write_text(svg)


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
