"""The page as a value: the same bytes, a strict policy, hostile text inert, and what a wrong page is told."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from refusing import refused
from studied import row

from probe.errors import ProbeError
from probe.evidence import Range, Rule, judge
from probe.evidence.measurements import tabulate
from probe.report import Code, CodeSpan, Details, Figure, Link, Page, Points, Section, Strong, Table, Text, Verdict

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="5" height="5"/></svg>'
HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "\u202egnp.exe \u2066 text",
    "x" * 10_000,
    "\N{CLOWN FACE}\N{ZERO WIDTH JOINER}\N{CLOWN FACE}",
    "nul \x00 bell \x07 escape \x1b c1 \x85",
    "lone \ud800 surrogate",
    "{{ 7 * 7 }} {% raw %} <!-- &lt;b&gt; ]]>",
]


class Reader(HTMLParser):
    """Collects the tags of a page and the text of its first table."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag with its attributes."""
        self.tags.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]


def read(html: str) -> Reader:
    """Parse a page."""
    reader = Reader()
    reader.feed(html)
    return reader


def figure(alt: str = "A square 5 wide.", title: str = "Square", caption: str = "A square.") -> Figure:
    """Return a figure of one square."""
    return Figure(SVG, alt, caption, title=title)


def page(**changes: object) -> Page:
    """Return a page with one block of each kind."""
    table = Table(["claim", "value", "verdict"], [["counts", 0.5, "established"]], "Claims", verdict="verdict")
    blocks = [
        Text(["One.", ["Two ", Strong("bold"), CodeSpan("h"), Link("see", "#count"), Verdict("refuted")]]),
        Points(["point"]),
        table,
        figure(),
        Code("make report", "command"),
        Details("More", [Text("inside")]),
        Section("Deeper", [Text("below")], "deeper"),
    ]
    values: dict[str, object] = {
        "title": "The counter",
        "lead": "It counts.",
        "sections": [Section("Count", blocks, "count")],
        "provenance": {"seed": "0"},
    }
    return Page(**{**values, **changes})  # pyright: ignore[reportArgumentType]


def hostile(text: str) -> Page:
    """Return a page that holds a text wherever a page holds text."""
    table = Table([text], [[text]], text, verdict=text, name="x")
    blocks = [
        Text([text, [text, Strong(text), CodeSpan(text), Link(text, "#a"), Verdict(text)]]),
        Points([text]),
        table,
        Figure(SVG, f"{text} 1", text, title=text, table=table),
        Code(text, text),
        Details(text, [Text(text)]),
    ]
    return Page(text, text, [Section(text, blocks, "a")], provenance={text: text})


def test_a_page_renders_twice_to_the_same_bytes() -> None:
    """Equal pages give equal bytes, and no clock is read."""
    assert page() == page()
    assert page().render() == page().render()
    assert not re.search(r"20\d\d-\d\d", page().render())


def test_a_page_is_small() -> None:
    """An empty page is nearly nothing; mne.Report weighs 974 kB while empty."""
    assert len(Page("t", "l", []).render().encode()) < 12_000


def test_the_policy_allows_the_one_style_and_nothing_else() -> None:
    """The hash in the policy is that of the style as it stands in the page."""
    html = page().render()
    policy = next(meta["content"] for meta in read(html).named("meta") if "http-equiv" in meta)
    style = html.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    )
    assert "style=" not in html.replace(style, "")
    assert read(html).named("script") == []


def test_nothing_is_fetched() -> None:
    """No attribute names anything outside the page."""
    reader = read(page().render())
    for tag, attributes in reader.tags:
        assert not {"src", "srcset", "action"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:")), tag


def test_landmarks_headings_and_language() -> None:
    """A reader who hears the page finds its parts in order."""
    reader = read(page().render())
    assert reader.named("html") == [{"lang": "en"}]
    assert [tag for tag, _ in reader.tags if tag in ("header", "nav", "main", "footer")] == [
        "header",
        "nav",
        "main",
        "footer",
    ]
    assert [tag for tag, _ in reader.tags if re.fullmatch(r"h\d", tag)] == ["h1", "h2", "h3", "h2"]
    assert reader.named("a")[0] == {"class": "skip", "href": "#main"}
    assert [attributes.get("href") for attributes in reader.named("a")[1:3]] == ["#count", "#made"]
    assert {attributes.get("scope") for attributes in reader.named("th")} == {"col", "row"}


def test_without_provenance_there_is_no_footer() -> None:
    """Nothing is claimed about how a page was made unless it is given."""
    html = page(provenance=None).render()
    assert "<footer" not in html
    assert "#made" not in html


def test_ids_are_unique_and_references_find_them() -> None:
    """Links and labels of a page point to exactly one element."""
    reader = read(page().render())
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in reader.tags:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids


def test_a_verdict_is_a_word_and_a_symbol() -> None:
    """Colour alone carries nothing."""
    html = page().render()
    assert re.search(r'class="verdict good"><span aria-hidden="true">✓</span>&nbsp;<bdi>established</bdi>', html)
    assert re.search(r'class="verdict bad"><span aria-hidden="true">✗</span>&nbsp;<bdi>refuted</bdi>', html)
    assert Verdict("whatever").symbol == "•"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_adds_no_tag_and_no_attribute(text: str) -> None:
    """A page full of a hostile text has the tags and attributes of a page full of a harmless one."""
    html = hostile(text).render()
    shape = [(tag, sorted(attributes)) for tag, attributes in read(html).tags]
    harmless = "harmless " * max(4, len(text) // 9)
    calm = [(tag, sorted(attributes)) for tag, attributes in read(hostile(harmless).render()).tags]
    # Long words get the class of long texts; this alone may differ.
    assert [(tag, [key for key in keys if key != "class"]) for tag, keys in shape] == [
        (tag, [key for key in keys if key != "class"]) for tag, keys in calm
    ]
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", html)
    assert html.encode()


def test_write_gives_the_path_and_replaces_an_old_file(tmp_path: Path) -> None:
    """Whole, and nothing else is left in the folder."""
    path = page().write(tmp_path / "new" / "index.html")
    assert path.read_text(encoding="utf-8") == page().render()
    assert "Other" in page(title="Other").write(path).read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]


def test_a_notebook_shows_the_page_in_a_frame_that_may_do_nothing() -> None:
    """No script of the page runs, as it has none, whatever its texts hold."""
    assert page()._repr_html_().startswith('<iframe sandbox="" title="The counter"')
    assert read(hostile(HOSTILE[0])._repr_html_()).tags[0][0] == "iframe"
    assert len(read(hostile(HOSTILE[0])._repr_html_()).tags) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: figure(alt=" "), "alt text of figure 'Square' is empty"),
        (lambda: figure(alt="square 5.", title="Square 5"), "repeats its title"),
        (lambda: figure(alt="A 5.", caption="a  5"), "repeats its caption"),
        (lambda: figure(alt="A square."), "has no number|repeats its caption"),
        (lambda: figure(alt="Some square."), "has no number: 'Some square.'. Add one"),
        (lambda: Section("T", [figure(), Details("d", [figure()])], "a"), None),
        (lambda: page(sections=[Section("T", [figure(), Details("d", [figure()])], "a")]), "Two figures have"),
        (lambda: page(sections=[Section("T", [Section("U", [], "a")], "a")]), "Two sections have the key 'a'"),
        (lambda: Section("T", [], "Main part"), "'Main part' cannot be a section's key"),
        (lambda: Section("T", [], "main"), "'main' cannot be a section's key"),
        (lambda: Section(" ", [], "a"), "Section 'a' has an empty title"),
        (lambda: page(title=""), "A page needs a title"),
        (lambda: page(lead=[Link("x", "#cuont")]), "no section 'cuont'.*Did you mean 'count'"),
        (lambda: page(sections=[Section("T", [Text([[Link("x", "#b")]])], "a")]), "no section 'b'"),
        (lambda: page(sections=[Section("T", [Points([Link("x", "#b")])], "a")]), "no section 'b'"),
        (lambda: page(sections=[Section("T", [Table(["c"], [[Link("x", "#b")]], "t")], "a")]), "no section 'b'"),
        (lambda: Link("x", "javascript:alert(1)"), "A link cannot point to 'javascript:alert"),
        (lambda: Details(" ", []), "needs a summary"),
    ],
)
def test_a_wrong_page_is_told_what_to_do(make: Callable[[], object], message: str | None) -> None:
    """Faults show when the value is made, not when somebody reads the page."""
    if message is None:
        _ = make()
        return
    with pytest.raises(ProbeError, match=message):
        _ = make()


def test_importing_the_report_loads_neither_torch_nor_matplotlib() -> None:
    """Reading results and building a page of them needs no network and no plotting."""
    code = (
        "import sys, probe.report; "
        "loaded = {'torch', 'matplotlib', 'seaborn', 'sklearn'} & set(sys.modules); sys.exit(str(loaded or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_a_link_is_followed_and_what_is_no_file_is_left(tmp_path: Path) -> None:
    """A rename would put a page in the place of a link, or of a device such as /dev/null where root writes."""
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target)
    assert page().write(link) == link
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == page().render()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with refused():
            _ = page().write(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()


def test_counts_of_a_page_have_the_right_plural() -> None:
    """One and several of every kind of block, and networks and pairs of a claim."""
    one = Page("t", "l", [Section("a", [Points(["x"]), Details("d", [Text("e")])], "a")])
    assert repr(one) == "Page 't': 1 section, 1 list, 1 fold, 1 text"
    twice = Page("t", "l", [Section("a", [Points(["x"]), Points(["y"])], "a"), Section("b", [Text("z")], "b")])
    assert repr(twice) == "Page 't': 2 sections, 2 lists, 1 text"
    rule = Rule("r", "s", "m", "d", "o", Range.above(0.0), Range.at_most(0.0), needs=2)
    (claim,) = judge(tabulate([row("q", "m", 1.0)]), [rule], family=1)
    assert claim.reason == "1 network; a verdict about the recipe needs 2"
