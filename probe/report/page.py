"""`Page` and `Section`: a page as one value that is written as one HTML file."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..errors import ProbeError, several, unknown
from ..showing import show
from ..storage.files import write_atomically
from .blocks import Block, Cards, Figure, LiveBlock, LivePart, Panels, Pills, Points, Text, walk
from .inline import Link, Sentence, pieces
from .render import render_page, source_of
from .tables import PACKED, Table

_KEY = re.compile(r"[a-z][a-z0-9-]*")
RESERVED_KEYS = ("main", "made", "contents")
#: What one block and several are called, where that is not its kind and an s.
_SEVERAL = {"points": ("list", "lists"), "details": ("fold", "folds")}


@dataclass(frozen=True)
class Section:
    """A heading and its blocks; a section inside a section gets the next lower heading.

    Args:
        title: the heading.
        blocks: what stands below it.
        key: the anchor, so that a finding can be linked: lower-case letters, digits and `-`.

    Raises:
        ProbeError: the key is no anchor or one of the page's own, or the title is empty.
    """

    title: str
    blocks: Sequence[Block]
    key: str
    kind: ClassVar[str] = "section"

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key) or self.key in RESERVED_KEYS:
            raise ProbeError(
                f"{self.key[:80]!r} cannot be a section's key; use lower-case letters, digits and '-', "
                f"starting with a letter, and none of {', '.join(RESERVED_KEYS)}."
            )
        if not self.title.strip():
            raise ProbeError(f"Section {self.key!r} has an empty title; a heading needs words to be found by.")
        object.__setattr__(self, "blocks", tuple(self.blocks))


@dataclass(frozen=True)
class Page:
    """One self-contained HTML page: no request, no script that nothing on it needs, the same bytes every time.

    Args:
        title: the page's name.
        lead: the verdict, in one sentence below the title: what a reader takes home after ten seconds.
        sections: the rest, in reading order.
        provenance: how the page was made: name -> value (seed, checkpoint hash, versions, command). No time
            stamp is added, or two builds would differ.
        hero: what stands between the lead and the sections, such as the figure that says it all.
        picture: the address of a PNG that is shown with a link to the page, relative to it or http(s); or empty.
        folds_printed: whether print shows what is folded; a page that is a story leaves it out.
        up: links to the pages above this one, from the top down, shown in a line above the title.
        neighbours: links to the pages before and after this one, shown there and at the end.
        summary: what a terminal shows of the page, a line each; empty for how many blocks of which kind it has.

    Raises:
        ProbeError: two sections share a key, two figures an alt text, a link points nowhere, or there are two
            explorers.
    """

    title: str
    lead: Sentence
    sections: Sequence[Section]
    provenance: Mapping[str, str] | None = None
    hero: Sequence[Block] = ()
    picture: str = ""
    folds_printed: bool = True
    up: Sequence[Link] = ()
    neighbours: Sequence[Link] = ()
    summary: str = ""

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise ProbeError("A page needs a title: it names the browser's tab and the saved file.")
        object.__setattr__(self, "lead", pieces(self.lead))
        object.__setattr__(self, "sections", tuple(self.sections))
        for section in self.sections:
            if not isinstance(section, Section):
                raise ProbeError(
                    f"A page is made of sections, and one of them is a {type(section).__name__}. Put blocks into a "
                    "Section(title, [blocks], key=...)."
                )
        blocks = self._blocks()
        keys = [block.key for block in blocks if isinstance(block, Section)]
        if twice := _repeated(keys):
            raise ProbeError(f"Two sections have the key {twice!r}; give each its own, or links are ambiguous.")
        alts = [" ".join(block.alt.split()) for block in blocks if isinstance(block, Figure)]
        if twice := _repeated(alts):
            raise ProbeError(f"Two figures have the alt text {twice[:80]!r}; say what differs between them.")
        if sum(isinstance(block, LiveBlock) for block in blocks) > 1:
            raise ProbeError(
                "A page runs one script beside that of its tables: give it one Explorer with all networks."
            )
        parts = [block for block in blocks if isinstance(block, LivePart)]
        if len(parts) > 1 or any(part.whole is not self.live for part in parts):
            raise ProbeError(
                f"A page shows the {parts[0].kind} of an Explorer once, and has that Explorer in a section; put it "
                "there."
            )
        for link in [*_links(self.lead, blocks), *self.up, *self.neighbours]:
            if link.target.startswith("#") and link.target[1:] not in {*keys, *RESERVED_KEYS}:
                raise ProbeError(unknown("section", link.target[1:], keys))

    def _blocks(self) -> list[Block]:
        """Return every block of the page, in reading order."""
        return list(walk([*self.hero, *self.sections]))

    @property
    def live(self) -> LiveBlock | None:
        """The block that brings a script of its own, such as an `Explorer`, if there is one."""
        return next((block for block in self._blocks() if isinstance(block, LiveBlock)), None)

    @property
    def sorts(self) -> bool:
        """Whether some table of the page can be sorted."""
        return any(isinstance(block, Table) and block.sortable for block in self._blocks())

    @property
    def steps(self) -> bool:
        """Whether some figure is seen step by step, or one of its pictures at a time."""
        return any(getattr(block, "choose", "") for block in self._blocks())

    @property
    def scripts(self) -> tuple[str, ...]:
        """The scripts that the page runs: its live block's, that of sortable tables, and that of figures' menus."""
        own = None if self.live is None else self.live.script
        takes = any(isinstance(block, (Figure, Panels)) or _is_packed(block) for block in self._blocks())
        every = (own, source_of("sort.js") if self.sorts else None, source_of("menu.js") if takes else None)
        return tuple(script for script in every if script is not None)

    def render(self) -> str:
        """Return the page as HTML text; the same page gives the same text."""
        return render_page(self)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page as one file and return its path.

        Args:
            path: where it goes; missing folders are made, and a link is followed.

        Raises:
            ProbeError: a folder or a device is there, or it cannot be written.
        """
        # A rename would put the page in the place of a link or, for root, of a device such as /dev/null.
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise ProbeError(f"Cannot write {str(path)!r}: it is there and is no file. Give the path of a file.")
        write_atomically(target, self.render())
        return Path(path)

    def __repr__(self) -> str:
        if self.summary:
            return self.summary
        kinds = Counter(block.kind for block in self._blocks())
        held = ", ".join(several(count, *_SEVERAL.get(kind, (kind,))) for kind, count in kinds.items())
        return f"Page {self.title!r}: {held or 'nothing below its lead'}"

    def _repr_html_(self) -> str:
        """Show the page in a notebook, in a frame that can reach nothing outside itself."""
        return show(self, "_repr_html_")


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for index, name in enumerate(names) if name in names[:index]), None)


def _is_packed(block: Block) -> bool:
    return isinstance(block, Table) and block.download is not None and block.download.name.endswith(PACKED)


def _links(lead: Sentence, blocks: Sequence[Block]) -> Iterator[Link]:
    rows: list[Sequence[object]] = [pieces(lead)]
    for block in blocks:
        if isinstance(block, LivePart):
            rows.append([Link(block.kind, block.target)])
        elif isinstance(block, Text):
            rows += [pieces(paragraph) for paragraph in block.paragraphs]
        elif isinstance(block, Points):
            rows += [pieces(item) for item in block.items]
        elif isinstance(block, Table):
            rows += block.rows
        elif isinstance(block, Pills):
            rows += [[Link(pill.number, pill.target)] for pill in block.pills]
        elif isinstance(block, Cards):
            rows += [[Link(card.title, card.target), *pieces(card.sentence), *card.ways] for card in block.cards]
    return (piece for row in rows for piece in row if isinstance(piece, Link))
