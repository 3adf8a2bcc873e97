"""The blocks of a page's section (text, figure, table, ...); each has an HTML template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from ..errors import ProbeError
from .inline import Sentence, pieces
from .tables import Table


@runtime_checkable
class Block(Protocol):
    """Anything with a `kind`: `templates/KIND.html.j2` renders it, with the value as `block`."""

    kind: ClassVar[str]


@runtime_checkable
class LiveBlock(Protocol):
    """A block from outside this room, which brings what shows it: template, style, script and height.

    Attributes:
        kind: its name.
        template: the Jinja2 source that renders it, with the value as `block`.
        style: what it adds to the page's style sheet.
        script: the script that the page runs for it, or None.
        height: how many pixels it is tall.
    """

    kind: ClassVar[str]
    height: ClassVar[int]
    template: str
    style: str
    script: str | None


@dataclass(frozen=True)
class Text:
    """Paragraphs.

    Args:
        paragraphs: one string, or a sequence of paragraphs; a paragraph is a string or a sequence of inline
            pieces (`str`, `Strong`, `CodeSpan`, `Link`, `Verdict`).
    """

    paragraphs: str | Sequence[Sentence]
    kind: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        given = (self.paragraphs,) if isinstance(self.paragraphs, str) else self.paragraphs
        object.__setattr__(self, "paragraphs", tuple(pieces(paragraph) for paragraph in given))


@dataclass(frozen=True)
class Points:
    """A list of points, each a string or a sequence of inline pieces."""

    items: Sequence[Sentence]
    kind: ClassVar[str] = "points"

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(pieces(item) for item in self.items))


@dataclass(frozen=True)
class Code:
    """Lines of code or a command, shown as they are; long lines wrap.

    Args:
        text: the lines.
        label: what a screen reader announces, such as "Python" or "command".
    """

    text: str
    label: str = "Code"
    kind: ClassVar[str] = "codeblock"


@dataclass(frozen=True)
class Details:
    """Blocks behind a summary that opens on demand; print shows them opened."""

    summary: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "details"

    def __post_init__(self) -> None:
        if not self.summary.strip():
            raise ProbeError("A Details block needs a summary: it is the only thing seen while it is closed.")
        object.__setattr__(self, "blocks", tuple(self.blocks))


@dataclass(frozen=True)
class Figure:
    """A picture with its words, and the table it was drawn from.

    The alt text is what a reader who cannot see the picture gets, so it must say what the picture shows, with
    at least one number from the data; the title said again tells that reader nothing.

    Args:
        svg: the picture as SVG text, such as `figure_to_svg` makes it.
        alt: what the picture shows, in words and numbers.
        caption: the line below the picture.
        title: a short name, set in bold before the caption.
        table: the numbers behind the picture.

    Raises:
        ProbeError: the alt text is empty, repeats the title or the caption, or has no number.
    """

    svg: str
    alt: str
    caption: str
    title: str = ""
    table: Table | None = None
    kind: ClassVar[str] = "figure"

    def __post_init__(self) -> None:
        alt = _normal(self.alt)
        where = f"The alt text of figure {(self.title or self.caption)[:80]!r}"
        if not alt:
            raise ProbeError(f"{where} is empty. Say what the picture shows, with a number from its data.")
        for word, other in (("title", self.title), ("caption", self.caption)):
            if alt == _normal(other):
                raise ProbeError(
                    f"{where} repeats its {word}. Say what the picture shows, with a number from its data."
                )
        if not any(character.isdigit() for character in alt):
            raise ProbeError(f"{where} has no number: {self.alt[:80]!r}. Add one from the data it shows.")


def walk(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield all blocks in reading order, those inside `Details` and nested sections included."""
    for block in blocks:
        yield block
        yield from walk(getattr(block, "blocks", ()))


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")
