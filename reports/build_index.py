"""`python -m reports.build_index --reports DIR`: builds the index of all pages."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path

import cyclopts

from probe import ProbeError
from probe.errors import several
from probe.report import Block, Link, Page, Points, Section, Strong, Text

#: A study's first page; the others follow in the order of their names.
FIRST = "index.html"
TITLE = "What recurrent networks have learned"


class _Head(HTMLParser):
    """Reads a page's title and its first sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.found = {"title": "", "lead": ""}
        self._part = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._part = "title"
        elif tag == "p" and dict(attrs).get("class") == "lead":
            self._part = "lead"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("title", "p"):
            self._part = ""

    def handle_data(self, data: str) -> None:
        if self._part and not (self._part == "title" and self.found["lead"]):
            self.found[self._part] += data


def head_of(path: Path) -> tuple[str, str]:
    """Return a page's title and first sentences.

    Raises:
        ProbeError: it is no page of `probe.report`.
    """
    reader = _Head()
    reader.feed(path.read_text(encoding="utf-8"))
    title, lead = (" ".join(reader.found[part].split()) for part in ("title", "lead"))
    if not title or not lead:
        raise ProbeError(f"{str(path)!r} has no title or no first sentences; it is no page of probe.report.")
    return title, lead


def build(reports: Path) -> Page:
    """Return the index of the studies in a folder: each folder in it that has an index.html.

    Raises:
        ProbeError: there is no study, or a file is no page.
    """
    studies = sorted(path.parent for path in reports.glob(f"*/{FIRST}"))
    if not studies:
        raise ProbeError(f"No study in {str(reports)!r}: a folder with an {FIRST} was expected. Build one first.")
    pages = sum(len(list(study.glob("*.html"))) for study in studies)
    lead = [
        Strong(f"{several(pages, 'page')}."),
        " Each is one file: save it, send it, open it without a network. What stands on it was computed, and it says "
        "how to compute it again.",
    ]
    return Page(TITLE, lead, [_section(study) for study in studies])


def _section(study: Path) -> Section:
    title, lead = head_of(study / FIRST)
    others = sorted(path for path in study.glob("*.html") if path.name != FIRST)
    points = [[Link(head_of(path)[0], f"{study.name}/{path.name}")] for path in others]
    blocks: list[Block] = [Text([lead, [Link("Read it, and run the network", f"{study.name}/{FIRST}")]])]
    if points:
        blocks.append(Points(points))
    return Section(title, blocks, key=study.name)


def run(arguments: list[str] | None = None) -> int:
    """Build the index from the command line and return the exit code."""
    app = cyclopts.App(name="python -m reports.build_index", help_format="plaintext", version_flags=[])

    @app.default
    def command(*, reports: Path = Path("build/reports")) -> int:
        """Build the index of the pages in a folder.

        Args:
            reports: folder with a folder for each study; it gets an index.html.
        """
        try:
            path = build(reports).write(reports / FIRST)
        except ProbeError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
        return 0

    try:
        return app(arguments, exit_on_error=False, result_action="return_value") or 0
    except cyclopts.CycloptsError:
        return 2


if __name__ == "__main__":
    sys.exit(run())
