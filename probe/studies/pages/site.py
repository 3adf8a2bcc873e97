"""Several studies as one static site: a folder for each with its pages, and an index that shows and links them."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

from ...errors import ProbeError, several
from ...report import Block, Card, Cards, Link, Page, Points, Section, Strong
from ...report.render import hash_source
from ...storage.files import as_path, read_bytes, write_atomically

#: A study's first page; the others follow in the order of their names.
FIRST = "index.html"
TITLE = "What recurrent networks have learned"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_PICTURE = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
#: How a page begins that `Page.write` wrote, up to its policy; and that policy, which names each script by its hash.
_BEGINNING = re.compile(
    r'<!doctype html>\n<html lang="[\w-]+">\n<head>\n<meta charset="utf-8">\n'
    r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">\n'
)
_HASH = r"'sha256-[\w+/=]+'"
_POLICY = re.compile(
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
    f"style-src {_HASH}(?:; script-src(?P<scripts>(?: {_HASH})+))?"
)
#: A picture of more bytes is too fine to be seen as a thumbnail, and an index should stay light.
THUMBNAIL = 25_000


class _Reader(HTMLParser):
    """Reads a page's title, its first sentences, and its scripts: the text of each, empty where it lies elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found = {"title": "", "lead": ""}
        self.scripts: list[str] = []
        self._part = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self.found["title"]:
            self._part = "title"
        elif tag == "p" and dict(attrs).get("class") == "lead":
            self._part = "lead"
        elif tag == "script" and dict(attrs).get("type") != "application/json":
            self._part = "script"
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("title", "p", "script"):
            self._part = ""

    def handle_data(self, data: str) -> None:
        if self._part == "script":
            self.scripts[-1] += data
        elif self._part:
            self.found[self._part] += data


def head_of(path: Path) -> tuple[str, str]:
    """Return a page's title and first sentences.

    Raises:
        ProbeError: it cannot be read, is no page of `probe.report`, or lets other scripts run than that page's own.
    """
    reader, text = _Reader(), _read(path)
    reader.feed(text)
    title, lead = (" ".join(reader.found[part].split()) for part in ("title", "lead"))
    if not title or not lead:
        raise ProbeError(f"{str(path)!r} has no title or no first sentences; it is no page of probe.report.")
    _check_scripts(path, text, reader.scripts)
    return title, lead


def _check_scripts(path: Path, text: str, scripts: Iterable[str]) -> None:
    """Raise where a page's beginning or scripts are not as `Page.write` wrote them."""
    beginning = _BEGINNING.match(text)
    policy = None if beginning is None else _POLICY.fullmatch(html.unescape(beginning[1]))
    named = [] if policy is None else (policy["scripts"] or "").split()
    foreign = [script for script in scripts if hash_source(script) not in named]
    if policy is None or foreign:
        what = "does not begin with the content security policy of such a page"
        if policy is not None:
            what = f"has a script that its content security policy does not name ({foreign[0].strip()[:40]!r})"
        raise ProbeError(
            f"{str(path)!r} {what}. Somebody changed it after it was written, and a site would publish that. Write "
            "it again, with rnn-probe report (Study.run) or Page.write, and leave it as it is."
        )


def _read(path: Path) -> str:
    try:
        return read_bytes(path).decode(errors="replace")
    except OSError as error:
        raise ProbeError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error


def write_site(
    folders: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    title: str = TITLE,
    overwrite: bool = False,
) -> Path:
    """Write the pages of several studies into one folder with an index, and return the index's path.

    Each study gets a folder of its own name with all of its pages. One that lies in the site already stays as it is.
    No page asks for anything outside itself, so that the site can be opened from a disk or served by any server.

    Args:
        folders: each a study's: it has an index.html that `rnn-probe report` or `Page.write` wrote, maybe with other
            pages beside it. They stand in the index in this order.
        out: the site's folder; it is made where it is missing.
        title: of the index.
        overwrite: whether pages of the same name in the site are replaced.

    Raises:
        ProbeError: no folder was given; one has no index.html or a name that no link can have, or two have the same
            name; a page is none of `probe.report`; the site has another page there; or a file cannot be read or
            written.
    """
    site, studies = as_path(out), [as_path(folder) for folder in folders]
    if not studies:
        raise ProbeError("A site needs a study; give folders with an index.html, as `rnn-probe report` writes them.")
    _check(studies)
    copies = {}
    for study in studies:
        for page in sorted(study.glob("*.html")):
            head_of(page)  # nothing is written where one of them is no page
            target = site / study.resolve().name / page.name
            if target.resolve() != page.resolve():
                copies[target] = page
    for target, page in copies.items():
        if target.exists() and not overwrite and _read(target) != _read(page):
            raise ProbeError(
                f"{str(target)!r} is another page than {str(page)!r}; give another site, or overwrite=True."
            )
    for target, page in copies.items():
        write_atomically(target, page.read_bytes())
    return index([site / study.resolve().name for study in studies], title).write(site / FIRST)


def _check(studies: list[Path]) -> None:
    names: dict[str, Path] = {}
    for study in studies:
        name = study.resolve().name
        if not (study / FIRST).is_file():
            raise ProbeError(f"{str(study)!r} has no {FIRST}; give the folder of a study's pages.")
        if not _NAME.fullmatch(name):
            raise ProbeError(
                f"{str(study)!r} cannot be linked as {name!r}; rename it to lower-case letters, digits, '-' and '_'."
            )
        if name in names:
            raise ProbeError(f"{str(names[name])!r} and {str(study)!r} are both called {name!r}; rename one of them.")
        names[name] = study


def index(studies: Iterable[Path], title: str = TITLE) -> Page:
    """Return the page that shows and links studies.

    Args:
        studies: their folders, side by side.
        title: of the page.

    Raises:
        ProbeError: as of `head_of`.
    """
    every = list(studies)
    pages = sum(len(list(study.glob("*.html"))) for study in every)
    lead = [
        Strong(f"{several(pages, 'page')}."),
        " Each is one file: save it, send it, open it without a network. What stands on it was computed, and it says "
        "how to compute it again.",
    ]
    return Page(title, lead, [_section(study) for study in every])


def _section(study: Path) -> Section:
    first = study / FIRST
    title, lead = head_of(first)
    picture = _PICTURE.search(_read(first))
    shown = picture[0] if picture and len(picture[0]) <= THUMBNAIL else ""
    others = sorted(path for path in study.glob("*.html") if path.name != FIRST)
    points = [[Link(head_of(path)[0], f"{study.name}/{path.name}")] for path in others]
    runs = 'id="explorer-data"' in _read(first)
    name = f"Read it{', and run the network' * runs}"
    blocks: list[Block] = [Cards([Card(name, f"{study.name}/{FIRST}", lead, shown)])]
    if points:
        blocks.append(Points(points))
    return Section(title, blocks, key=study.name.replace("_", "-"))
