"""Shows a page inside a notebook, in a sandboxed frame that can load nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import ProbeError
from ..report.blocks import Code, Details, Figure, LiveBlock, Points, Text
from ..report.inline import Sentence, plain
from ..report.inlining import picture_size
from ..report.render import LARGEST, render_template
from ..report.tables import Table
from .fragments import show_sentence

if TYPE_CHECKING:
    from ..report.page import Page

#: A notebook's cell is about so wide, in CSS pixels; a taller page scrolls inside its frame.
WIDTH, SHORTEST, TALLEST = 900, 200, 860
#: How many letters of a paragraph stand on one line, and how tall a line is.
_LETTERS, _LINE = 72, 27


def frame(page: Page) -> str:
    """Return a page as an `<iframe>`: without scripts unless the page has one, never with the notebook's own rights.

    Returns:
        HTML of one element, as tall as the page is estimated to be, between 200 and 860 pixels; or the sentence
        that says why the page cannot be rendered.
    """
    # The menu of a figure offers no files in a frame, which may not save any.
    own = page.live is not None and page.live.script is not None
    sandbox = "allow-scripts" if own or page.sorts else ""
    try:
        tall, source = height(page), page.render()
    except ProbeError as error:
        return show_sentence(page.title, str(error))
    return render_template("frame.html.j2", sandbox=sandbox, title=page.title, height=tall, source=source)


def height(page: Page) -> int:
    """Return about how many pixels a page is tall in a notebook, between 200 and 860."""
    tall = 190 + 34 * math.ceil(len(page.title) / 40) + 32 * math.ceil(len(plain(page.lead)) / 70)
    tall += 37 * (len(page.sections) + bool(page.provenance))
    tall += 160 + 45 * len(page.provenance) if page.provenance else 0
    return min(max(SHORTEST, tall + sum(map(_height, page.sections))), TALLEST)


def _height(block: object) -> int:
    """Return about how many pixels a block is tall; what is folded takes its summary's line."""
    match block:
        case Text():
            tall = sum(map(_lines, block.paragraphs)) + 16 * len(block.paragraphs)
        case Points():
            tall = sum(map(_lines, block.items)) + 6 * len(block.items) + 16
        case Code():
            tall = 50 + 23 * (block.text.count("\n") + 1)
        case Details():
            tall = 64
        case LiveBlock():
            tall = block.height
        case Table():
            rows = block.rows[: block.max_rows]
            prose = max((len(str(cell)) for row in rows for cell in row), default=0)
            tall = 130 + len(rows) * (16 + 21 * math.ceil(min(prose, 240) / 40))
        case Figure():
            width, tall = picture_size(block.svg)
            tall = round(min(LARGEST, WIDTH / max(width, 1.0)) * tall) + 132
        case _:
            tall = 110 + sum(map(_height, getattr(block, "blocks", ())))
    return tall


def _lines(sentence: Sentence) -> int:
    return _LINE * math.ceil(max(len(plain(sentence)), 1) / _LETTERS)
