"""A page and its blocks as values: the same bytes, a strict policy, hostile text inert, and what is wrong is told."""

from __future__ import annotations

import base64
import bz2
import hashlib
import os
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from pages_read import HOSTILE, SVG, Reader, filled, page_of, shape, square
from refusing import refused
from torch import nn

from probe.explorer import Explorer, ExplorerNetwork
from probe.report import (
    Block,
    Details,
    Figure,
    Link,
    Page,
    Panels,
    Pill,
    Pills,
    Points,
    Section,
    Table,
    Text,
    Verdict,
    tables,
)
from probe.report.blocks import MOST_STEPS
from probe.report.inline import VERDICTS
from probe.report.inlining import inline_svg
from probe.report.render import source_of


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
    own = f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    assert policy.partition("; script-src")[0] == own  # pyright: ignore[reportOptionalMemberAccess]
    assert "style=" not in html.replace(style, "")
    assert (scripts(html), scripts(page_of(Text("x")).render())) == ([MENU], [])
    for tag, attributes in reader.tags:
        assert not {"src", "srcset", "action"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith(("#", "data:")), tag


def test_verdicts_stand_in_words_beside_their_symbol() -> None:
    """Whatever they say; no footer without provenance. Who shows a link gets the lead and a picture."""
    html = filled("refuted").render()
    assert re.search(r'class="verdict bad"><span aria-hidden="true">✗</span>&nbsp;<bdi>refuted</bdi>', html)
    assert Verdict("whatever").symbol == "•"
    bare = filled("x", provenance=None, lead=["a ", Verdict("passed")], picture="x.png").render()
    assert not [word for word in ("<footer", "#made") if word in bare]
    told = {meta.get("property", meta.get("name")): meta["content"] for meta in Reader(bare).named("meta")[1:]}
    assert (told["description"], told["og:description"], told["og:image"]) == ("a passed", "a passed", "x.png")


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
    lambda: table(columns=[]),
    lambda: table(columns=["a", "a"]),
    lambda: table(rows=[[1]]),
    lambda: table(verdict="verdct"),
    lambda: table(name="../up"),
    lambda: table(max_rows=0),
    lambda: table(digits=0),
    lambda: Panels([square()], "One."),
    lambda: page_of(Panels([square(), square()], "Both.")),
    lambda: square(steps=-1),
    lambda: square(steps=3),
    lambda: square(steps=MOST_STEPS + 1),
    lambda: page_of(Pills([Pill("3", Verdict("refuted"), "#nowhere")], "Claims")),
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


MINUS = "\N{MINUS SIGN}"
CLAIMS = pd.DataFrame({"claim": ["b", "a"], "value": [2.0, 10.0], "verdict": ["refuted", "established"]})
SORTABLE = Table.from_frame(CLAIMS, "Claims", verdict="verdict", sortable=True)
PLAIN = Table.from_frame(CLAIMS, "Claims", verdict="verdict")
MENU = source_of("menu.js")
EXPLORER = Explorer([ExplorerNetwork("a GRU", nn.GRU(1, 2))], "ab", {"a": 0.0, "b": 1.0})


CELLS: list[tuple[Any, Any, str]] = [
    (0.123456789, "0.1235", "0.123457"),
    (1e-7, f"1e{MINUS}07", "1e-07"),
    (-0.0, "0", "0"),
    (float("-inf"), f"{MINUS}∞", "-inf"),
    (-3, f"{MINUS}3", "-3"),
    (True, "yes", "True"),
    ("-x", "-x", "-x"),
    ((0.1, 0.2), "[0.1, 0.2]", '"[0.1, 0.2]"'),
    *((missing, "\N{EN DASH}", '""') for missing in (None, np.nan, pd.NA, pd.NaT)),
    (Link("see", "#count"), Link("see", "#count"), "see"),
    (Verdict("passed"), Verdict("passed"), "passed"),
]


def test_a_cell_reads_as_people_write_and_the_file_has_it() -> None:
    """Whatever kind it is of; what is missing is a dash, and empty in the file."""
    for cell, shown, kept in CELLS:
        table = Table.from_frame(pd.DataFrame({"x": pd.Series([cell], dtype=object)}), "x")
        assert (table.shown, table.to_csv()) == ([[shown]], f"x\n{kept}\n")


def test_a_frame_gives_columns_and_digits_change_no_file() -> None:
    """Numbers are aligned, verdicts marked."""
    assert PLAIN.numeric == (False, True, False)
    assert PLAIN.shown[0] == ["b", "2", Verdict("refuted")]
    assert (SORTABLE.shown, SORTABLE.to_csv()) == (PLAIN.shown, PLAIN.to_csv())
    few, many = (Table(["x"], [[0.123456789]], "x", digits=digits) for digits in (2, 5))
    assert (few.shown, many.shown, few.to_csv()) == ([["0.12"]], [["0.12346"]], many.to_csv())


def test_what_all_rows_share_is_said_once() -> None:
    """Below the table, and not in a column; a short table, its first column, and one that shares all keep theirs."""
    rows = [["x", 1, "<b>"], ["x", 2, "<b>"], ["x", 3, "<b>"]]
    html = page_of(Table(["a", "n", "b"], rows, "t")).render()
    assert (html.count("<td"), "In every row: <bdi>b</bdi> <bdi>&lt;b&gt;</bdi>." in html) == (3, True)
    for kept in (Table(["a", "n", "b"], rows[:2], "t"), Table(["a", "b"], [["x", 1]] * 3, "t")):
        assert kept.same == {}


def test_the_download_holds_all_rows() -> None:
    """Compressed above 6 kB, and left out where more than 64 kB would be left; the page shows the first rows."""
    short = Table(["n", "word"], [[index, 'a,"b"'] for index in range(100)], "x", name="rows", max_rows=3)
    assert (len(short.shown), short.to_csv().count("\n")) == (3, 101)
    assert short.download is not None
    assert short.download.name == "rows.csv"
    assert unquote(short.download.href.removeprefix("data:text/csv;charset=utf-8,")) == short.to_csv()
    table = Table(["n"], [[index] for index in range(10_000)], "x", name="rows")
    assert table.download is not None
    head, _, body = table.download.href.partition(",")
    assert (head, table.download.name) == ("data:application/x-bzip2;base64", "rows.csv.bz2")
    assert bz2.decompress(base64.b64decode(body)).decode() == table.to_csv()
    for spare in (0, -1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "MOST_COMPRESSED", len(table.download.href) + spare)
            assert (table.download is None) == (spare < 0)
    noise = np.random.default_rng(0).random(20_000).tolist()
    assert Table(["n"], [[value] for value in noise], "x", name="rows").download is None


def scripts(html: str) -> list[str]:
    """Return the scripts that a page would run, after checking that its policy allows these and no other."""
    found = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in found]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    allowed = re.findall(r"script-src ([^;]*)", unescape(policy))
    assert allowed == ([" ".join(f"'sha256-{digest}'" for digest in digests)] if digests else [])
    return found


PAGES: list[tuple[list[Block], int, list[Any]]] = [
    ([SORTABLE], 1, []),
    ([Section("deeper", [Details("d", [PLAIN, SORTABLE])], "deeper")], 1, []),
    ([SORTABLE, EXPLORER], 1, [EXPLORER.script]),
    ([PLAIN, EXPLORER], 0, [EXPLORER.script]),
    ([square(table=SORTABLE)], 0, []),
]


def test_a_sortable_table_brings_one_small_script() -> None:
    """Wherever it stands, and how many there are; what cannot be sorted costs nothing and may run nothing."""
    (own,) = page_of(SORTABLE).scripts
    assert len(own.encode()) <= 1_500
    for blocks, sortable, others in PAGES:
        page = page_of(*blocks)
        html = page.render()
        menu = [MENU] if '<figure class="plot' in html else []
        assert scripts(html) == [*others, *([own] if sortable else []), *menu]
        assert html.count(' class="sortable"') == sortable
        assert (".sortable button" in html) == bool(sortable)
        assert "<button" not in html.partition("explorer-live")[0]
        assert page._repr_html_().startswith(f'<iframe sandbox="{"allow-scripts" if sortable or others else ""}"')
    (listed,) = re.findall(r"const VERDICTS = \[(.*?)\]", own)
    assert set(re.findall(r'"(.*?)"', listed)) == set(VERDICTS)


def test_panels_are_one_figure_with_a_title_above_each_picture() -> None:
    """They have one number, and each picture its own alt text."""
    html = page_of(Panels([square("1", "Left"), square("2", "Right")], "Both.", "Two"), square("3")).render()
    assert ("<b>Figure 2.</b>" in html, "<b>Figure 3.</b>" in html) == (True, False)
    assert re.findall(r"<desc[^>]*>(\d)</desc>", html) == ["1", "2", "3"]
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_a_step_is_chosen_without_a_script() -> None:
    """One radio button a step, the last one at first; each step has its rules."""
    html = page_of(square(steps=3, choose="bits read")).render()
    found = re.findall(r'type="radio" name="Step1" id="Step1-(\d)"( checked)?', html)
    assert found == [("1", ""), ("2", ""), ("3", " checked")]
    assert "<legend>bits read</legend>" in html
    assert scripts(html) == [MENU]
    for step in range(1, MOST_STEPS + 1):
        assert f"input:nth-of-type({step}):checked ~ .picture .at-{step}" in html
    groups = '<g id="at-3-line"><path d="M0 0"/></g><g id="at-12"><path d="M0 0"/></g>'
    groups += '<g id="run-0-line"><path d="M0 0"/></g><g id="at-x" class="b"/><rect'
    inlined = inline_svg(SVG.replace("<rect", groups), prefix="F1-", title="t", alt="1")
    assert re.findall(r'class="([^"]*)"', inlined) == ["at-3", "at-12", "run-0"]


def table(**options: Any) -> Table:
    """Return a table that is right but for what is given."""
    return Table(**{"columns": ["a", "b"], "rows": [[1, 2]], "caption": "x", **options})
