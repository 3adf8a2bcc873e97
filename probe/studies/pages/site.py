"""An index that shows and links studies whose folders lie in one folder: together a static site."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path

from ...errors import ProbeError, several
from ...report import Block, Card, Cards, Link, Page, Points, Section, Strong
from ...storage.files import as_path, read_bytes

#: A study's first page; the others follow in the order of their names.
FIRST = "index.html"
TITLE = "What recurrent networks have learned"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_HEAD = (re.compile(r"<title>(.*?)</title>", re.DOTALL), re.compile(r'<p class="lead"[^>]*>(.*?)</p>', re.DOTALL))
_TAG = re.compile(r"<[^>]*>")
_PICTURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
#: A picture of more bytes is too fine to be seen as a thumbnail, and an index should stay light.
THUMBNAIL = 25_000


def head_of(path: Path) -> tuple[str, str]:
    """Return a page's title and first sentences."""
    text = read_bytes(path).decode(errors="replace")
    found = [part.search(text) for part in _HEAD]
    title, lead = (" ".join(unescape(_TAG.sub("", one[1])).split()) if one else "" for one in found)
    if not title or not lead:
        raise ProbeError(f"{str(path)!r} has no title or no first sentences; it is no page of probe.report.")
    return title, lead


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
    pages = sum(len(list(study.glob("*.html"))) for study in studies)
    lead = [
        Strong(f"{several(pages, 'page')}."),
        " Each is one file: save it, send it, open it without a network. What stands on it was computed, and it says "
        "how to compute it again.",
    ]
    return Page(title, lead, [_section(study) for study in studies]).write(site / FIRST)


def _section(study: Path) -> Section:
    first, folder = study / FIRST, study.resolve().name
    title, lead = head_of(first)
    text = read_bytes(first).decode(errors="replace")
    picture = _PICTURE.search(text)
    shown = picture[0] if picture and len(picture[0]) <= THUMBNAIL else ""
    others = sorted(path for path in study.glob("*.html") if path.name != FIRST)
    points = [[Link(head_of(path)[0], f"{folder}/{path.name}")] for path in others]
    name = f"Read it{', and run the network' * ('explorer-data' in text)}"
    blocks: list[Block] = [Cards([Card(name, f"{folder}/{FIRST}", lead, shown)])]
    return Section(title, [*blocks, *([Points(points)] if points else [])], key=folder.replace("_", "-"))
