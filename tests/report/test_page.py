"""The page as a value: the same bytes, a strict policy, hostile text inert, and what a wrong page is told."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages_read import HOSTILE, Reader, filled, shape, square
from refusing import refused

from probe.report import Details, Figure, Link, Page, Points, Section, Table, Text, Verdict


def test_a_page_renders_twice_to_the_same_bytes() -> None:
    """Equal pages give equal bytes, no clock is read, and an empty one is nearly nothing."""
    assert filled("x") == filled("x")
    assert filled("x").render() == filled("x").render()
    assert not re.search(r"20\d\d-\d\d", filled("x").render())
    assert len(Page("t", "l", []).render().encode()) < 12_000


def test_the_policy_allows_the_one_style_and_nothing_is_fetched() -> None:
    """The hash in the policy is that of the style as it stands in the page, and no attribute leads outside."""
    html = filled("x").render()
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
    """Landmarks and headings in order, references to one element each, and verdicts in words beside their symbol."""
    html = filled("refuted").render()
    reader = Reader(html)
    assert reader.named("html") == [{"lang": "en"}]
    order = ["header", "nav", "main", "footer"]
    assert [tag for tag, _ in reader.tags if tag in order] == order
    assert [tag for tag, _ in reader.tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h3", "h2"]
    assert reader.named("a")[0] == {"class": "skip", "href": "#main"}
    assert {attributes.get("scope") for attributes in reader.named("th")} == {"col", "row"}
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in reader.tags:
        target = attributes.get("href") or ""
        asked = [*(attributes.get("aria-labelledby") or "").split(), *([target[1:]] if target[:1] == "#" else [])]
        assert set(asked) <= set(ids)
    assert re.search(r'class="verdict bad"><span aria-hidden="true">✗</span>&nbsp;<bdi>refuted</bdi>', html)
    assert Verdict("whatever").symbol == "•"
    bare = filled("x", provenance=None).render()
    assert "<footer" not in bare
    assert "#made" not in bare


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_adds_no_tag_and_no_attribute(text: str) -> None:
    """A page full of a hostile text has the tags and attributes of a page full of a harmless one, in a frame too."""
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


def test_the_same_picture_may_stand_in_two_places_of_no_page() -> None:
    """The fault is the page's, and what a page holds is counted when it is printed."""
    twice = Section("T", [square(), Details("d", [square()])], "a")
    with refused():
        Page("t", "l", [twice])
    assert repr(of(Points(["x"]), Points(["y"]), Text("z"))) == "Page 't': 1 section, 2 lists, 1 text"


WRONG: list[Callable[[], object]] = [
    lambda: square(alt=" "),
    lambda: square(alt="square 5.", title="Square 5"),
    lambda: square(alt="A 5.", caption="a  5"),
    lambda: square(alt="A square."),
    lambda: square(alt="Some square."),
    lambda: of(Section("U", [], "a")),
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


@pytest.mark.parametrize("make", WRONG, ids=range(len(WRONG)))
def test_a_wrong_page_is_told_what_to_do(make: Callable[[], object]) -> None:
    """Faults show when the value is made, not when somebody reads the page."""
    with refused():
        _ = make()
