#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/demo.svg, the README's picture, from a real run of the demonstration.

As root, from the repository: `make && tools/picture.py`. Debian's python3-rich draws it;
tests/manual/test_readme.py holds the picture against another run.
"""

import io
import pathlib
import re
import subprocess

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 112
TITLE = "sudo make demo"


def styled(output):
    """Return the terminal's text, with what was typed set off from what was answered."""
    text = Text.from_ansi(output.strip("\n"))
    text.highlight_regex(r"(?m)^[#$] .*$", "bold bright_green")
    text.highlight_regex(r"(?m)^pybind: .*$", "bright_yellow")
    return text


def draw(output):
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(styled(output), soft_wrap=False)
    svg = console.export_svg(title=TITLE, theme=DIMMED_MONOKAI, unique_id="demo")
    # A picture in a README loads nothing from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono")
    return re.sub(r"(?m)[ \t]+$", "", svg)


def main():
    run = ["tools/sandbox", "tools/demo"]
    done = subprocess.run(run, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    (ROOT / "docs/demo.svg").write_text(draw(done.stdout))


if __name__ == "__main__":
    main()
