"""The typed pieces of a sentence (emphasis, code, links, verdicts), so that no text is read as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import ProbeError

VERDICTS = {
    "established": ("✓", "good"),
    "passed": ("✓", "good"),
    "refuted": ("✗", "bad"),
    "failed": ("✗", "bad"),
    "undecided": ("?", "open"),
    "not specific": ("○", "idle"),
}
_KEY = r"#[a-z][a-z0-9-]*"
_TARGET = re.compile(rf"{_KEY}|(\.\./)*([a-z][a-z0-9_-]*/)*[a-z][a-z0-9_-]*\.html({_KEY})?|https?://[^\s]+")


@dataclass(frozen=True)
class Strong:
    """Words that matter more than the others of their sentence."""

    text: str
    kind: ClassVar[str] = "strong"


@dataclass(frozen=True)
class CodeSpan:
    """A name or a command inside a sentence."""

    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class Link:
    """A link to a section (`#key`), to a page (`name.html`, `folder/name.html#key`) or to an http(s) address.

    Any other scheme is refused: `javascript:` in a link runs when it is clicked.
    """

    text: str
    target: str
    kind: ClassVar[str] = "link"

    def __post_init__(self) -> None:
        if not _TARGET.fullmatch(self.target):
            raise ProbeError(
                f"A link cannot point to {self.target[:80]!r}; give '#' and a section's key, a page such as "
                "'more.html' or 'folder/more.html#key', or an http(s) address."
            )


@dataclass(frozen=True)
class Verdict:
    """A verdict shown as a symbol and its word; the colour only repeats them.

    A word that is no verdict of `judge` is shown with a neutral symbol rather than refused: pages of
    other people have their own words.
    """

    word: str
    kind: ClassVar[str] = "verdict"

    @property
    def symbol(self) -> str:
        """The symbol before the word."""
        return VERDICTS.get(self.word.strip().lower(), ("•", "idle"))[0]

    @property
    def tone(self) -> str:
        """The CSS class that colours the chip."""
        return VERDICTS.get(self.word.strip().lower(), ("•", "idle"))[1]


Inline = str | Strong | CodeSpan | Link | Verdict
Sentence = Inline | Sequence[Inline]


def pieces(sentence: Sentence) -> tuple[Inline, ...]:
    """Return a sentence as the tuple of its pieces."""
    if isinstance(sentence, (str, Strong, CodeSpan, Link, Verdict)):
        return (sentence,)
    return tuple(sentence)


def plain(sentence: Sentence) -> str:
    """Return a sentence as it reads without markup."""
    return "".join(
        piece if isinstance(piece, str) else piece.word if isinstance(piece, Verdict) else piece.text
        for piece in pieces(sentence)
    )
