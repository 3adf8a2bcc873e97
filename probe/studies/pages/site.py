"""An index that shows and links studies whose folders lie in one folder: together a static site."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from ...errors import ProbeError, several
from ...report import Card, Cards, Link, Page, Section
from ...storage.files import as_path, read_bytes

#: A study's first page.
FIRST = "index.html"
TITLE = "What recurrent networks have learned"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_HEAD = (re.compile(r"<title>(.*?)</title>", re.DOTALL), re.compile(r'<p class="lead"[^>]*>(.*?)</p>', re.DOTALL))
_TAG = re.compile(r"<[^>]*>")
_FIGURE = re.compile(r'<figure class="plot".*?</figure>', re.DOTALL)
_SIZE = re.compile(r'<svg\b[^>]*viewBox="\S+ \S+ (\S+) (\S+)"')
_PANEL = re.compile(r'(?:<p class="panel">([^<]*)</p>\s*<div[^>]*>)?(<svg\b.*?</svg>)', re.DOTALL)
_BESIDE = re.compile(r'<nav class="neighbours".*?</nav>', re.DOTALL)
_PAGE = re.compile(r'href="([a-z][a-z0-9_-]*\.html)')
_CALLED = re.compile(rf'<nav class="way".*?<a href="{FIRST}">([^<]*)</a>', re.DOTALL)
_STEP = re.compile(r"at-(\d+)")
#: Pictures of more bytes are too fine to be seen beside a title, and an index should stay light.
THUMBNAIL, HERO = 25_000, 90_000
#: Between panels, and for the title above each, in units of the picture.
GAP, ABOVE = 18, 22


@dataclass(frozen=True)
class Told:
    """What a page says of itself.

    Attributes:
        name: of its file.
        title: what it is called.
        lead: its first sentences.
        text: all of it.
    """

    name: str
    title: str
    lead: str
    text: str

    def picture(self, most: int, *, words: bool) -> str:
        """Return the pictures of its first figure that is not too heavy and no taller than wide, beside each other.

        Args:
            most: so many bytes the pictures may weigh.
            words: whether letters are shown.
        """
        figures = (
            [(unescape(title), svg) for title, svg in _PANEL.findall(one)] for one in _FIGURE.findall(self.text)
        )
        for panels in figures:
            if panels and sum(len(svg) for _, svg in panels) <= most and not any(map(_tall, panels)):
                return _beside(panels if words else panels[-1:], words=words)
        return ""


def _tall(panel: tuple[str, str]) -> bool:
    size = _SIZE.search(panel[1])
    return size is not None and float(size[2]) > float(size[1])


def head_of(path: Path) -> Told:
    """Return what a page says of itself."""
    text = read_bytes(path).decode(errors="replace")
    found = [part.search(text) for part in _HEAD]
    title, lead = (" ".join(unescape(_TAG.sub("", one[1])).split()) if one else "" for one in found)
    if not title or not lead:
        raise ProbeError(f"{str(path)!r} has no title or no first sentences; it is no page of probe.report.")
    return Told(path.name, title, lead, text)


def write_site(folders: Iterable[str | os.PathLike[str]], out: str | os.PathLike[str], *, title: str = TITLE) -> Path:
    """Write the index of several studies, and return its path.

    Each folder is a study's: it lies in the site, and has an index.html as `rnn-probe report` writes it.
    """
    site, studies = as_path(out), [as_path(folder) for folder in folders]
    if not studies:
        raise ProbeError("A site needs a study; give folders with an index.html, as `rnn-probe report` writes them.")
    for study in studies:
        name = study.resolve().name
        if not (study / FIRST).is_file():
            raise ProbeError(f"{str(study)!r} has no {FIRST}; give the folder of a study's pages.")
        if study.resolve().parent != site.resolve() or not _NAME.fullmatch(name):
            raise ProbeError(
                f"{str(study)!r} cannot be linked from {str(site)!r}: a study's folder lies in the site, with a name "
                "of lower-case letters, digits, '-' and '_'. Move or rename it."
            )
    told = {study.resolve().name: _in_order(study) for study in studies}
    pages = several(sum(map(len, told.values())), "page")
    lead = f"{several(len(told), 'study', 'studies')}, {pages}. Each page is one file that opens offline."
    heroes = Cards([_hero(folder, pages) for folder, pages in told.items()], large=True)
    sections = [_section(folder, pages) for folder, pages in told.items() if len(pages) > 1]
    return Page(title, lead, sections, hero=[heroes]).write(site / FIRST)


def _in_order(study: Path) -> list[Told]:
    """Return a study's first page, and the others in the order in which they name their neighbours.

    Those that name fewer than two and are named by none stand last, in the order of the first page's links.
    """
    pages = {path.name: head_of(path) for path in sorted(study.glob("*.html"))}
    first, following = pages.pop(FIRST), dict[str, str]()
    for name, page in pages.items():
        links = [link for nav in _BESIDE.findall(page.text) for link in _PAGE.findall(nav)]
        if len(links) == 2:
            following |= {links[0]: name, name: links[1]}
    story = [name for name in following if name not in following.values()][:1]
    while story and story[-1] in following and len(story) <= len(pages):
        story.append(following[story[-1]])
    names = dict.fromkeys([*story, *_PAGE.findall(first.text), *pages])
    return [first, *(pages[name] for name in names if name in pages)]


def _hero(folder: str, pages: Sequence[Told]) -> Card:
    """Return the large card of a study, with the ways that its pages offer."""
    first = pages[0]
    ways = [Link("Read it", f"{folder}/{FIRST}")]
    for words, key, held in (("Run the network", "explore", "explorer-data"), ("All claims", "claims", "<table")):
        part = re.compile(rf'<section id="{key}">(.*?)</section>', re.DOTALL)
        having = [page.name for page in pages if any(held in one for one in part.findall(page.text))]
        ways += [Link(words, f"{folder}/{name}#{key}") for name in having[:1]]
    return Card(first.title, f"{folder}/{FIRST}", first.lead, first.picture(HERO, words=True), ways)


def _section(folder: str, pages: Sequence[Told]) -> Section:
    called = [unescape(one[1]) for page in pages if (one := _CALLED.search(page.text))]
    cards = [
        Card(page.title, f"{folder}/{page.name}", page.lead, page.picture(THUMBNAIL, words=False))
        for page in pages[1:]
    ]
    return Section(f"{(called or [pages[0].title])[0]}, page by page", [Cards(cards)], key=folder.replace("_", "-"))


def _beside(panels: Sequence[tuple[str, str]], *, words: bool) -> str:
    """Return pictures as one, each below its title; without words, for a thumbnail. Of steps the last is shown."""
    whole, width, height = ET.Element("svg"), -GAP, 0.0
    for title, svg in panels:
        picture = ET.fromstring(svg)
        steps = {one: int(at[1]) for one in picture.iter() if (at := _STEP.fullmatch(one.get("class", "")))}
        last = max(steps.values(), default=0)
        for parent in list(picture.iter()):
            for one in list(parent):
                if steps.get(one, last) < last or (one.tag == "text" and not words):
                    parent.remove(one)
        _, _, wide, tall = map(float, picture.get("viewBox", "0 0 1 1").split())
        width, above = width + GAP, ABOVE if title and words else 0
        if above:
            style = {"x": f"{width:g}", "y": "12", "font-size": "12", "font-weight": "600"}
            ET.SubElement(whole, "text", style).text = title
        picture.attrib |= {"x": f"{width:g}", "y": f"{above}", "width": f"{wide:g}", "height": f"{tall:g}"}
        whole.append(picture)
        width, height = width + wide, max(height, above + tall)
    whole.attrib |= {"viewBox": f"0 0 {width:g} {height:g}", "width": f"{width:g}", "height": f"{height:g}"}
    return ET.tostring(whole, encoding="unicode")
