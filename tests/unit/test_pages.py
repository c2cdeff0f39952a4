# SPDX-License-Identifier: GPL-3.0-or-later
"""The README is short, and every link of the README and of docs/ leads somewhere."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
FOLDERS = ("docs", "examples", "contrib", "bench/results")
PAGES = [
    *ROOT.glob("*.md"),
    *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")),
]


def names(pages):
    """Return the names of pages, for the ids of tests."""
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links(page):
    """The target of every relative link and picture of a page exists."""
    text = page.read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_readme_is_short():
    """The README has at most 140 lines; the first 25 say what, for whom, and how."""
    lines = README.splitlines()
    assert len(lines) <= 140
    first = "\n".join(lines[:25])
    for words in (
        "ordinary user",
        "port 80",
        "pybindctl grant",
        "pybind --port 80 --",
        "Java, Python",
    ):
        assert words in first


def test_every_page_is_listed():
    """docs/README.md lists each page of docs/; the first words of a page name its readers."""
    listed = (ROOT / "docs/README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "README.md":
            assert f"]({page.name})" in listed, page.name
        opening = page.read_text().split("\n\n")[1]
        assert re.match(r"For ", opening), page.name
