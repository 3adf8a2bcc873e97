"""HTML pages: build a `Page` of typed blocks, render it, write it as one file.

`figure_to_svg` is loaded on first use, because it alone needs matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .blocks import Block, Card, Cards, Code, Details, Figure, LiveBlock, Panels, Pill, Pills, Points, Text
from .inline import CodeSpan, Link, Sentence, Strong, Verdict
from .inlining import inline_svg
from .page import Page, Section
from .tables import Table

if TYPE_CHECKING:
    from .svg import figure_to_svg

__all__ = [
    "Block",
    "Card",
    "Cards",
    "Code",
    "CodeSpan",
    "Details",
    "Figure",
    "Link",
    "LiveBlock",
    "Page",
    "Panels",
    "Pill",
    "Pills",
    "Points",
    "Section",
    "Sentence",
    "Strong",
    "Table",
    "Text",
    "Verdict",
    "figure_to_svg",
    "inline_svg",
]


def __getattr__(name: str) -> object:
    if name == "figure_to_svg":
        from .svg import figure_to_svg

        return figure_to_svg
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
