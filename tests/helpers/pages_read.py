"""Pages as their readers get them, pages of a few blocks, and texts that would do harm in one."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from probe import report
from probe.explorer import Explorer
from probe.report import Block, Figure, Link, Page, Points, Section, Table, Text, Verdict

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="5" height="5"/></svg>'
#: What stands for symbols of an explorer, as a network of three features reads them.
BITS = {"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 0.5], "c": [1.0, 1.0, 1.0]}
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "\u202egnp.exe \u2066 text",
    "x" * 10_000,
    "\N{CLOWN FACE}\N{ZERO WIDTH JOINER}\N{CLOWN FACE}",
    "nul \x00 bell \x07 escape \x1b c1 \x85 lone \ud800",
    "{{ 7 * 7 }} {% raw %} <!-- &lt;b&gt; ]]>",
)


class Reader(HTMLParser):
    """The tags of a text with their attributes, and the words between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag with its attributes."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep words."""
        self.words += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]


def shape(text: str) -> list[tuple[str, list[str]]]:
    """Return the tags of a text with the names of their attributes; a class depends on how long a text is."""
    return [(tag, sorted(set(attributes) - {"class"})) for tag, attributes in Reader(text).tags]


def square(alt: str = "A square 5 wide.", title: str = "Square", **changed: Any) -> Figure:
    """Return a figure of one square."""
    given: dict[str, Any] = {"svg": SVG, "alt": alt, "caption": "A square.", "title": title}
    return Figure(**(given | changed))


def page_of(*blocks: Block, **options: Any) -> Page:
    """Return a page of some blocks."""
    return Page("t", "l", [Section("s", list(blocks), "s")], **options)


def full_section(text: str, key: str = "a", *, sortable: bool = False) -> Section:
    """Return a section that holds a text wherever a section holds text."""
    table = Table([text, "n"], [[text, 1.5], [text, -2]], text, verdict=text, name="x", sortable=sortable)
    blocks = [
        Text([text, [text, report.Strong(text), report.CodeSpan(text), Link(text, f"#{key}"), Verdict(text)]]),
        Points([text]),
        table,
        square(f"{text} 1", text, caption=text, table=table),
        report.Code(text, text),
        report.Details(text, [Text(text), table]),
        Section(text, [Text(text)], f"{key}-deeper"),
    ]
    return Section(text, blocks, key)


def filled(text: str, **changes: Any) -> Page:
    """Return a page that holds a text wherever a page holds text."""
    given: dict[str, Any] = {"title": text, "lead": text, "sections": [full_section(text)]}
    given |= {"provenance": {text: text}}
    return Page(**(given | changes))


def carried(explorer: Explorer) -> dict[str, Any]:
    """Return what the script of an explorer reads, as its page carries it."""
    text = page_of(explorer).render().split('id="explorer-data">')[1].split("</script>")[0]
    assert "<" not in text
    return json.loads(text)
