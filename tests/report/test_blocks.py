"""Blocks of a page: tables and their sorting, panels, pictures step by step, pills and cards."""

from __future__ import annotations

import base64
import bz2
import hashlib
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from pages_read import SVG, page_of, square
from refusing import refused
from torch import nn

from probe.explorer import Explorer, ExplorerNetwork
from probe.report import Block, Card, Cards, Details, Link, Panels, Pill, Pills, Section, Table, Text, Verdict, tables
from probe.report.blocks import MOST_STEPS
from probe.report.inline import VERDICTS
from probe.report.inlining import inline_svg

MINUS = "\N{MINUS SIGN}"
CLAIMS = pd.DataFrame({"claim": ["b", "a"], "value": [2.0, 10.0], "verdict": ["refuted", "established"]})
SORTABLE = Table.from_frame(CLAIMS, "Claims", verdict="verdict", sortable=True)
PLAIN = Table.from_frame(CLAIMS, "Claims", verdict="verdict")
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
    """Numbers are aligned, verdicts marked, and long texts keep a width that can be read."""
    assert PLAIN.numeric == (False, True, False)
    assert PLAIN.shown[0] == ["b", "2", Verdict("refuted")]
    assert (SORTABLE.shown, SORTABLE.to_csv()) == (PLAIN.shown, PLAIN.to_csv())
    few, many = (Table(["x"], [[0.123456789]], "x", digits=digits) for digits in (2, 5))
    assert (few.shown, many.shown, few.to_csv()) == ([["0.12"]], [["0.12346"]], many.to_csv())
    assert Table(["a", "b", "c"], [["short", "a sentence that is rather long", 1]], "x").classes[1] == "prose"


def test_the_download_holds_all_rows() -> None:
    """Compressed above 6 kB, and left out where more than 32 kB would be left; the page shows the first rows."""
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


PAGES: list[tuple[list[Block], int, list[str]]] = [
    ([SORTABLE], 1, []),
    ([Section("deeper", [Details("d", [PLAIN, SORTABLE])], "deeper")], 1, []),
    ([square(table=SORTABLE), square("A square 6 wide.", table=SORTABLE)], 2, []),
    ([Panels([square(), square("A square 6 wide.")], "Two.", table=SORTABLE)], 1, []),
    ([SORTABLE, EXPLORER], 1, [EXPLORER.script]),
    ([PLAIN, EXPLORER], 0, [EXPLORER.script]),
    ([PLAIN, square(table=PLAIN)], 0, []),
]


def test_a_sortable_table_brings_one_small_script() -> None:
    """Wherever it stands, and how many there are; what cannot be sorted costs nothing and may run nothing."""
    (own,) = page_of(SORTABLE).scripts
    assert len(own.encode()) <= 1_500
    for blocks, sortable, others in PAGES:
        page = page_of(*blocks)
        html = page.render()
        assert scripts(html) == [*others, *([own] if sortable else [])]
        assert html.count(' class="sortable"') == sortable
        assert (".sortable button" in html) == bool(sortable)
        assert "<button" not in html.partition("explorer-live")[0]
        assert page._repr_html_().startswith(f'<iframe sandbox="{"allow-scripts" if sortable or others else ""}"')
    # It has each verdict once, in the order of a reader's question: does it hold?
    (listed,) = re.findall(r"const VERDICTS = \[(.*?)\]", own)
    words = re.findall(r'"(.*?)"', listed)
    assert words == ["established", "passed", "not specific", "undecided", "refuted", "failed"]
    assert set(words) == set(VERDICTS)


def test_panels_are_one_figure_with_a_title_above_each_picture() -> None:
    """They have one number and one caption, and each picture its own alt text."""
    html = page_of(Panels([square("1", "Left"), square("2", "Right")], "Both.", "Two"), square("3")).render()
    assert re.findall(r'<p class="panel">(\w+)</p>', html) == ["Left", "Right"]
    assert html.count("<figcaption>") == 2
    assert ("<b>Figure 2.</b>" in html, "<b>Figure 3.</b>" in html) == (True, False)
    assert re.findall(r"<desc[^>]*>(\d)</desc>", html) == ["1", "2", "3"]
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_a_step_is_chosen_or_played_without_a_script() -> None:
    """One radio button a step, the last one at first, or a box that plays them; each step has its rules."""
    html = page_of(square(steps=3, choose="bits read")).render()
    found = re.findall(r'type="radio" name="Step1" id="Step1-(\d)"( checked)?', html)
    assert found == [("1", ""), ("2", ""), ("3", " checked")]
    assert "<legend>bits read</legend>" in html
    assert 'type="checkbox"' in page_of(square(steps=3)).render()
    assert "script" not in html
    for step in range(1, MOST_STEPS + 1):
        assert f"input:nth-of-type({step}):checked ~ .picture .at-{step}" in html
        assert step == 1 or re.search(rf"\.at-{step} {{ animation-delay: {0.5 * (step - 1):g}s; }}", html)
    path = '<path d="M0 0"/></g>'
    groups = f'<g id="at-3-line">{path}<g id="at-12">{path}<g id="at-x" class="b"/><rect'
    inlined = inline_svg(SVG.replace("<rect", groups), prefix="F1-", title="t", alt="1")
    assert re.findall(r'class="([^"]*)"', inlined) == ["at-3", "at-12"]
    assert "at-3-line" not in inlined


def test_pills_and_cards_link_and_a_page_may_show_before_it_tells() -> None:
    """A card's picture only decorates; the hero stands between title and lead, and neighbours at the end."""
    page = page_of(
        Pills([Pill("3", Verdict("refuted"), "#s")], "Claims"),
        Cards([Card("More", "more.html", "What is there.", SVG), Card("Less", "less.html", "That.")]),
        Details("Folded", [Text("Inside.")]),
        square("2"),
        hero=[square("1", "First")],
        neighbours=[Link("Before", "a.html"), Link("Next", "b.html")],
        folds_printed=False,
    )
    html = page.render()
    assert re.search(r'<a href="#s">3</a>.*refuted', html)
    assert '<a href="more.html">' in html
    assert html.count('class="thumbnail" aria-hidden="true"') == 1
    places = [html.index(part) for part in ("<h1", ">1</desc>", 'class="lead"', ">2</desc>", 'class="neighbours"')]
    assert places == sorted(places)
    assert '<body class="brief">' in html


def table(**options: Any) -> Table:
    """Return a table that is right but for what is given."""
    return Table(**{"columns": ["a", "b"], "rows": [[1, 2]], "caption": "x", **options})


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
    lambda: square(steps=MOST_STEPS + 1),
    lambda: page_of(Pills([Pill("3", Verdict("refuted"), "#nowhere")], "Claims")),
    lambda: page_of(Cards([Card("Bad", "javascript:alert(1)", "No.")])),
]


def test_a_wrong_block_is_told() -> None:
    """Before anybody reads it: a table, one panel alone, two that say the same, steps without a rule, wrong links."""
    for make in WRONG:
        with refused():
            _ = make()
