"""The blocks of a page's section (text, figure, table, ...); each has a macro in `templates/blocks.html.j2`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from ..errors import ProbeError
from .inline import Link, Sentence, Verdict, pieces
from .tables import Table

#: The style sheet has a rule for each step of a figure that is seen step by step.
MOST_STEPS = 16


@runtime_checkable
class Block(Protocol):
    """Anything with a `kind`: the macro of that name in `templates/blocks.html.j2` renders it."""

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


@runtime_checkable
class LivePart(Protocol):
    """What stands of a live block in another place of its page, filled by that block's script.

    Attributes:
        kind: its name.
        template: the Jinja2 source that renders it, with the value as `block`.
        whole: the live block, which the page has too.
        target: where its link to that block leads, see `Link`.
    """

    kind: ClassVar[str]
    template: str
    whole: LiveBlock
    target: str


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
        table: the numbers behind the picture, as a file to take away.
        python: the line of Python that draws it.
        choose: what the steps of the picture are, such as "bits read", where the reader chooses one, and sees the
            last one at first: what belongs to step k alone has the id `at-K` or `at-K-name` in the SVG (matplotlib:
            `artist.set_gid`), K from 1.
        steps: how many there are to choose from.

    Raises:
        ProbeError: the alt text is empty, repeats the title or the caption, or has no number, or there are more
            than 16 steps, or steps without `choose` or it without them.
    """

    svg: str
    alt: str
    caption: str
    title: str = ""
    table: Table | None = None
    steps: int = 0
    choose: str = ""
    python: str = ""
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
        if not 0 <= self.steps <= MOST_STEPS:
            raise ProbeError(f"A figure shows 0 to {MOST_STEPS} steps, and {self.steps} were given. Draw fewer.")
        if bool(self.steps) != bool(self.choose):
            raise ProbeError(f"steps={self.steps} and choose={self.choose!r} were given; give both, or neither.")


@dataclass(frozen=True)
class Panels:
    """Several pictures with one caption: side by side, and below each other where the page is narrow.

    Args:
        pictures: the pictures; the title of each stands above it, its caption and table are not shown.
        caption: the line below them.
        title: a short name, set in bold before the caption.
        table: the numbers behind the pictures, as a file to take away.
        choose: what the pictures are, such as "sequence", where the reader chooses one by its title; print shows
            the first.
        python: the line of Python that draws them.
        wider: whether the first picture has more room than the second.

    Raises:
        ProbeError: there are fewer than two pictures.
    """

    pictures: Sequence[Figure]
    caption: str
    title: str = ""
    table: Table | None = None
    choose: str = ""
    python: str = ""
    wider: bool = False
    kind: ClassVar[str] = "panels"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pictures", tuple(self.pictures))
        if len(self.pictures) < 2:
            raise ProbeError(f"Panels show two pictures or more, and {len(self.pictures)} were given; use a Figure.")
        if self.choose and len(self.pictures) > MOST_STEPS:
            raise ProbeError(
                f"A reader chooses among {MOST_STEPS} pictures at most; {len(self.pictures)} were given."
            )

    @property
    def blocks(self) -> Sequence[Figure]:
        """The pictures, for who walks through a page."""
        return self.pictures


@dataclass(frozen=True)
class Pill:
    """How many claims have a verdict, as a link to them.

    Args:
        number: how many.
        verdict: which verdict.
        target: where the link leads, see `Link`.
    """

    number: str
    verdict: Verdict
    target: str


@dataclass(frozen=True)
class Pills:
    """A row of verdicts with a number each.

    Args:
        pills: in the order of the page.
        label: what is counted.
    """

    pills: Sequence[Pill]
    label: str
    kind: ClassVar[str] = "pills"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pills", tuple(self.pills))


@dataclass(frozen=True)
class Card:
    """A link to another page: a small picture, a title and a sentence.

    Args:
        title: the words of the link.
        target: where it leads, see `Link`.
        sentence: what is found there.
        svg: a picture, which only decorates: the page behind the link has it with its words. Empty for none.
        ways: further links to what is found there.
    """

    title: str
    target: str
    sentence: Sentence
    svg: str = ""
    ways: Sequence[Link] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentence", pieces(self.sentence))


@dataclass(frozen=True)
class Cards:
    """Links to other pages, each with a picture.

    Args:
        cards: the links.
        large: whether each is half a page wide, and its picture whole; otherwise pictures are small.
    """

    cards: Sequence[Card]
    large: bool = False
    kind: ClassVar[str] = "cards"

    def __post_init__(self) -> None:
        object.__setattr__(self, "cards", tuple(self.cards))


def walk(blocks: Sequence[Block]) -> Iterator[Block]:
    """Yield all blocks in reading order, those inside `Details` and nested sections included."""
    for block in blocks:
        yield block
        yield from walk(getattr(block, "blocks", ()))


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".")
