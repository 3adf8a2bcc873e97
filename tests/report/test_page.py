"""The page as a value: the same bytes, a strict policy, hostile text inert, and what a wrong page is told."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pages_read import HOSTILE, Reader, filled, shape, square
from refusing import refused

from probe.report import Details, Figure, Link, Page, Points, Section, Table, Text, Verdict


def test_a_page_has_the_same_bytes_twice_and_nothing_is_fetched() -> None:
    """The hash in the policy is that of the style as it stands in the page, and no attribute leads outside."""
    html = filled("x").render()
    assert filled("x") == filled("x")
    assert filled("x").render() == html
    assert not re.search(r"20\d\d-\d\d", html)  # no clock is read
    assert len(Page("t", "l", []).render().encode()) < 12_000
    reader = Reader(html)
    policy = next(meta["content"] for meta in reader.named("meta") if "http-equiv" in meta)
    style = html.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    )
    assert "style=" not in html.replace(style, "")
    assert reader.named("script") == []
    for tag, attributes in reader.tags:
        assert not {"src", "srcset", "action"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:")), tag


def test_a_reader_who_hears_the_page_finds_its_parts() -> None:
    """Landmarks and headings in order, and verdicts in words beside their symbol; no footer without provenance."""
    html = filled("refuted").render()
    tags = [tag for tag, _ in Reader(html).tags]
    assert [tag for tag in tags if tag in ("header", "nav", "main", "footer")] == ["header", "nav", "main", "footer"]
    assert [tag for tag in tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h3", "h2"]
    assert re.search(r'class="verdict bad"><span aria-hidden="true">✗</span>&nbsp;<bdi>refuted</bdi>', html)
    assert Verdict("whatever").symbol == "•"
    bare = filled("x", provenance=None).render()
    assert not [word for word in ("<footer", "#made") if word in bare]


def test_hostile_text_adds_no_tag_and_no_attribute() -> None:
    """A page full of a hostile text has the tags and attributes of a page full of a harmless one, in a frame too."""
    for text in HOSTILE:
        html = filled(text).render()
        assert shape(html) == shape(filled("harmless " * max(4, len(text) // 9)).render())
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", html)
        assert html.encode()
        ((tag, attributes),) = Reader(filled(text)._repr_html_()).tags
        assert (tag, attributes["sandbox"]) == ("iframe", "")


def test_write_replaces_a_file_follows_a_link_and_leaves_what_is_no_file(tmp_path: Path) -> None:
    """Whole, with nothing else left; a rename would put a page in the place of a link, or of /dev/null as root."""
    page, folder = filled("x"), tmp_path / "new"
    path = page.write(folder / "index.html")
    assert path.read_text(encoding="utf-8") == page.render()
    assert filled("y").render() == filled("y").write(path).read_text(encoding="utf-8")
    assert [file.name for file in folder.iterdir()] == ["index.html"]
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target)
    assert page.write(link) == link
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == page.render()
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "new"):
        with refused():
            _ = page.write(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()


def of(*blocks: Any) -> Page:
    """Return a page with one section named a."""
    return Page("t", "l", [Section("T", blocks, "a")])


WRONG: list[Callable[[], object]] = [
    lambda: square(alt=" "),
    lambda: square(alt="square 5.", title="Square 5"),
    lambda: square(alt="A 5.", caption="a  5"),
    lambda: square(alt="A square."),
    lambda: square(alt="Some square."),
    lambda: of(Section("U", [], "a")),
    lambda: of(square(), Details("d", [square()])),
    lambda: Section("T", [], "Main part"),
    lambda: Section("T", [], "main"),
    lambda: Section(" ", [], "a"),
    lambda: filled("x", title=""),
    lambda: filled("x", lead=[Link("x", "#a-depeer")]),
    lambda: of(Text([[Link("x", "#b")]])),
    lambda: of(Points([Link("x", "#b")])),
    lambda: of(Table(["c"], [[Link("x", "#b")]], "t")),
    lambda: Link("x", "javascript:alert(1)"),
    lambda: Details(" ", []),
    lambda: of(Figure("<p>", "A square 5 wide.", "c")).render(),
]


def test_a_wrong_page_is_told_what_to_do() -> None:
    """Faults show when the value is made, not when somebody reads the page; what it holds is counted in its repr."""
    for make in WRONG:
        with refused():
            _ = make()
    assert repr(of(Points(["x"]), Points(["y"]), Text("z"))) == "Page 't': 1 section, 2 lists, 1 text"
