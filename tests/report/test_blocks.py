"""Blocks of a page: tables, their sorting, and those that show.

- Tables: how numbers read, what is aligned, what the CSV holds, and what a wrong table is told.
- Sortable tables in a page's HTML: one small script, pinned by its hash, and nothing where none can be sorted.
- Blocks that show: panels, pictures step by step, pills and cards, and what stands before a page's first words.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import re
from html import unescape
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from refusing import refused
from torch import nn

from probe.explorer import Explorer, ExplorerNetwork
from probe.report import (
    Block,
    Card,
    Cards,
    Details,
    Figure,
    Link,
    Page,
    Panels,
    Pill,
    Pills,
    Section,
    Table,
    Text,
    Verdict,
    tables,
)
from probe.report.blocks import MOST_STEPS
from probe.report.inline import VERDICTS
from probe.report.inlining import inline_svg
from probe.report.tables import format_cell

FRAME = pd.DataFrame(
    {
        "claim": ["counts", "leaks"],
        "value": [0.123456789, -2.0],
        "interval": [(0.1, 0.2), None],
        "n": np.array([3, 40]),
        "seen": [True, False],
        "verdict": ["established", "refuted"],
    }
)


def test_a_frame_gives_its_columns() -> None:
    """A frame gives its columns and plain cells."""
    table = Table.from_frame(FRAME, "All claims", verdict="verdict", name="claims")
    assert table.columns == tuple(FRAME.columns)
    assert table.rows[0] == ("counts", 0.123456789, (0.1, 0.2), 3, True, "established")
    assert table.numeric == (False, True, True, True, False, False)
    assert table.shown[0] == ["counts", "0.1235", "[0.1, 0.2]", "3", "yes", Verdict("established")]
    assert table.shown[1][1:4] == ["\N{MINUS SIGN}2", "\N{EN DASH}", "40"]
    assert table == Table.from_frame(FRAME, "All claims", verdict="verdict", name="claims")


def test_missing_values_of_every_kind() -> None:
    """Missing values of every kind read as a dash."""
    frame = pd.DataFrame({"a": [None, np.nan, pd.NA, pd.NaT]}, dtype=object)
    table = Table.from_frame(frame, "Missing")
    assert table.shown == [["\N{EN DASH}"]] * 4
    assert table.to_csv() == 'a\n""\n""\n""\n""\n'


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (1e-7, "1e\N{MINUS SIGN}07"),
        (-0.0, "0"),
        (float("inf"), "∞"),
        (float("-inf"), "\N{MINUS SIGN}∞"),
        (-3, "\N{MINUS SIGN}3"),
        (True, "yes"),
        ("-x", "-x"),
    ],
)
def test_cells_read_as_people_write(cell: float | str, text: str) -> None:
    """Cells read as people write them."""
    assert format_cell(cell) == text


def test_digits_changes_what_is_shown() -> None:
    """Digits changes what is shown and not the CSV."""
    few = Table(["x"], [[0.123456789]], "x", digits=2)
    many = Table(["x"], [[0.123456789]], "x", digits=5)
    assert few.shown == [["0.12"]]
    assert many.shown == [["0.12346"]]
    assert few.to_csv() == many.to_csv() == "x\n0.123457\n"


def test_long_texts_keep_a_width() -> None:
    """Long texts keep a width that can be read."""
    table = Table(["a", "b", "c"], [["short", "a sentence that is rather long", 1]], "x")
    assert table.classes == ("", "prose", "number")


def test_the_download_holds_all_rows() -> None:
    """The file in the page holds all rows though the page shows the first."""
    table = Table(["n", "word"], [[index, 'a,"b"'] for index in range(100)], "x", name="rows", max_rows=3)
    assert len(table.shown) == 3
    assert table.download is not None
    head, _, body = table.download.href.partition(",")
    assert (head, table.download.name) == ("data:text/csv;charset=utf-8", "rows.csv")
    assert unquote(body) == table.to_csv()
    assert table.to_csv().count("\n") == 101


def test_a_long_download_is_compressed() -> None:
    """A CSV of more than 6 kB is held compressed and whole; one of more than 32 kB compressed is left out."""
    table = Table(["n"], [[index] for index in range(10_000)], "x", name="rows")
    assert table.download is not None
    head, _, body = table.download.href.partition(",")
    assert (head, table.download.name) == ("data:application/x-bzip2;base64", "rows.csv.bz2")
    assert bz2.decompress(base64.b64decode(body)).decode() == table.to_csv()
    assert Table(["n"], [[index] for index in range(10_000)], "x").download is None
    for spare in (0, -1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "MOST_COMPRESSED", len(table.download.href) + spare)
            assert (table.download is None) == (spare < 0)
    noise = np.random.default_rng(0).random(20_000).tolist()
    assert Table(["n"], [[value] for value in noise], "x", name="rows").download is None


def test_inline_pieces_in_cells() -> None:
    """Inline pieces in cells are kept and read plainly in the CSV."""
    table = Table(["a", "b"], [[Link("see", "#count"), Verdict("passed")]], "x")
    assert table.shown == [[Link("see", "#count"), Verdict("passed")]]
    assert table.to_csv() == "a,b\nsee,passed\n"


@pytest.mark.parametrize(
    "options",
    [
        {"columns": []},
        {"columns": ["a", "a"]},
        {"rows": [[1]]},
        {"verdict": "verdct"},
        {"name": "../up"},
        {"max_rows": 0},
        {"digits": 0},
    ],
)
def test_a_wrong_table_is_told(options: dict[str, object]) -> None:
    """A wrong table is told what is wrong."""
    with refused():
        _ = Table(**{"columns": ["a", "b"], "rows": [[1, 2]], "caption": "x", **options})  # pyright: ignore[reportArgumentType]


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="5" height="5"/></svg>'
CLAIMS = pd.DataFrame({"claim": ["b", "a"], "value": [2.0, 10.0], "verdict": ["refuted", "established"]})
SORTABLE = Table.from_frame(CLAIMS, "Claims", verdict="verdict", sortable=True)
PLAIN = Table.from_frame(CLAIMS, "Claims", verdict="verdict")
#: The script that sorts weighs at most so many bytes.
MOST_BYTES = 1_500


def page(*blocks: Block, **options: str) -> Page:
    """Return a page of some blocks."""
    return Page("t", "l", [Section("s", list(blocks), "s")], **options)  # pyright: ignore[reportArgumentType]


def scripts(html: str) -> list[str]:
    """Return the scripts that a page would run, after checking that its policy allows these and no other."""
    found = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in found]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    allowed = re.findall(r"script-src ([^;]*)", unescape(policy))
    assert allowed == ([" ".join(f"'sha256-{digest}'" for digest in digests)] if digests else [])
    return found


def figure(table: Table | None, alt: str = "A square 5 wide.") -> Figure:
    """Return a figure with a table behind it."""
    return Figure(SVG, alt, "A caption.", table=table)


@pytest.mark.parametrize(
    "block",
    [
        SORTABLE,
        Details("d", [SORTABLE]),
        Section("deeper", [Details("d", [PLAIN, SORTABLE])], "deeper"),
        figure(SORTABLE),
        Panels([figure(None), figure(None, "A square 6 wide.")], "Two.", table=SORTABLE),
    ],
    ids=["table", "fold", "section", "figure", "panels"],
)
def test_a_sortable_table_brings_the_script(block: Block) -> None:
    """Wherever the table stands, the page has one small script and its style; the HTML itself has no button."""
    html = page(block).render()
    (script,) = scripts(html)
    assert 0 < len(script.encode()) <= MOST_BYTES
    assert html.count(' class="sortable"') == 1
    assert ".sortable button" in html
    assert "<button" not in html
    assert html == page(block).render()


def test_a_page_of_plain_tables_has_neither_script_nor_style() -> None:
    """What cannot be sorted costs nothing and may run nothing."""
    html = page(PLAIN, figure(PLAIN)).render()
    assert scripts(html) == []
    assert "sortable" not in html
    assert not page(PLAIN).sorts


def test_two_sortable_tables_share_the_script() -> None:
    """The script stands in the page once, and sorts all tables."""
    html = page(SORTABLE, SORTABLE).render()
    assert len(scripts(html)) == 1
    assert html.count(' class="sortable"') == 2


def test_it_stands_beside_an_explorer() -> None:
    """The policy has a hash for each of the two, and the table's script is the same beside it."""
    explorer = Explorer([ExplorerNetwork("a GRU", nn.GRU(1, 2))], "ab", {"a": 0.0, "b": 1.0})
    (alone,) = scripts(page(SORTABLE).render())
    assert scripts(page(SORTABLE, explorer).render()) == [explorer.script, alone]
    assert scripts(page(PLAIN, explorer).render()) == [explorer.script]


def test_a_notebook_lets_the_script_run() -> None:
    """The frame may run scripts where a table can be sorted, and nothing else."""
    assert page(SORTABLE)._repr_html_().startswith('<iframe sandbox="allow-scripts"')
    assert page(PLAIN)._repr_html_().startswith('<iframe sandbox=""')


def test_the_script_knows_every_verdict() -> None:
    """It has each verdict once, in the order of a reader's question: does it hold?"""
    (script,) = page(SORTABLE).scripts
    (listed,) = re.findall(r"const VERDICTS = \[(.*?)\]", script)
    words = re.findall(r'"(.*?)"', listed)
    assert words == ["established", "passed", "not specific", "undecided", "refuted", "failed"]
    assert set(words) == set(VERDICTS)
    # An unknown word stands behind them all: its place is -1.
    assert f"+ {len(words) + 1}) % {len(words) + 1}" in script


def test_sorting_changes_neither_rows_nor_file() -> None:
    """A table that can be sorted shows, in the order given, what the same table shows that cannot."""
    assert SORTABLE.shown == PLAIN.shown
    assert SORTABLE.to_csv() == PLAIN.to_csv()
    assert (SORTABLE.sortable, PLAIN.sortable) == (True, False)


def square(number: int = 1, **changed: object) -> Figure:
    """A figure with an alt text of its own."""
    content: dict[str, object] = {"svg": SVG, "alt": f"{number} square", "caption": "A square.", "title": "Square"}
    return Figure(**(content | changed))  # pyright: ignore[reportArgumentType]


def html_of(*blocks: object, **changed: object) -> str:
    """A page of one section, as HTML."""
    section = Section("Found", list(blocks), key="found")  # pyright: ignore[reportArgumentType]
    return Page("Title", "Lead.", [section], **changed).render()  # pyright: ignore[reportArgumentType]


def test_panels_are_one_figure_with_a_title_above_each_picture() -> None:
    """They have one number and one caption, and each picture its own alt text."""
    html = html_of(Panels([square(1, title="Left"), square(2, title="Right")], "Both.", "Two"), square(3))
    assert re.findall(r'<p class="panel">(\w+)</p>', html) == ["Left", "Right"]
    assert html.count("<figcaption>") == 2
    assert "<b>Figure 2.</b>" in html
    assert "<b>Figure 3.</b>" not in html
    assert [alt for alt in ("1 square", "2 square", "3 square") if alt in html] == [
        "1 square",
        "2 square",
        "3 square",
    ]
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_one_panel_is_a_figure_and_two_need_two_alt_texts() -> None:
    """A single picture has a caption of its own; pictures that say the same are refused as in figures."""
    with refused():
        Panels([square()], "One.")
    with refused():
        html_of(Panels([square(), square()], "Both."))


def test_what_belongs_to_a_step_gets_its_class_and_nothing_else_does() -> None:
    """The class is the number alone, whatever stands behind it; other ids and classes are dropped."""
    svg = SVG.replace(
        "<rect",
        '<g id="at-3-line"><path d="M0 0"/></g><g id="at-12"><path d="M0 0"/></g><g id="at-x" class="b"/><rect',
    )
    html = inline_svg(svg, prefix="F1-", title="t", alt="1")
    assert re.findall(r'class="([^"]*)"', html) == ["at-3", "at-12"]
    assert "at-3-line" not in html


@pytest.mark.parametrize("number", [-1, MOST_STEPS + 1])
def test_more_steps_than_the_style_sheet_has_are_refused(number: int) -> None:
    """A step without a rule would never be shown."""
    with refused():
        square(steps=number)


def test_every_step_has_its_rule() -> None:
    """To be chosen, and, after the first one, to appear later when it is played."""
    html = html_of(square())
    for step in range(1, MOST_STEPS + 1):
        assert f"input:nth-of-type({step}):checked ~ .picture .at-{step}" in html
        assert step == 1 or re.search(rf"\.at-{step} {{ animation-delay: {0.5 * (step - 1):g}s; }}", html)


def test_a_step_is_chosen_or_played_without_a_script() -> None:
    """One radio button a step, the last one at first; or a box that plays them. Neither runs anything."""
    html = html_of(square(steps=3, choose="bits read"))
    assert re.findall(r'type="radio" name="Step1" id="Step1-(\d)"( checked)?', html) == [
        ("1", ""),
        ("2", ""),
        ("3", " checked"),
    ]
    assert "<legend>bits read</legend>" in html
    assert 'type="checkbox"' in html_of(square(steps=3))
    assert "<script" not in html
    assert "script-src" not in html


def test_pills_and_cards_link_and_their_links_are_checked() -> None:
    """A number, its verdict and a link; a card's picture only decorates. A link that leads nowhere is refused."""
    pills = Pills([Pill("3", Verdict("refuted"), "#found")], "Claims")
    cards = Cards([Card("More", "more.html", "What is there.", SVG), Card("Less", "less.html", "That.")])
    html = html_of(pills, cards)
    assert re.search(r'<a href="#found">3</a>.*refuted', html)
    assert '<a href="more.html">' in html
    assert "<p>What is there.</p>" in html
    assert html.count('class="thumbnail" aria-hidden="true"') == 1
    assert 'role="img"' not in html
    with refused():
        html_of(Pills([Pill("3", Verdict("refuted"), "#nowhere")], "Claims"))
    with refused():
        html_of(Cards([Card("Bad", "javascript:alert(1)", "No.")]))


def test_a_page_may_show_before_it_tells_and_lead_on() -> None:
    """The hero stands between title and lead, its figure is the first; neighbours stand at the end."""
    html = html_of(
        Details("Folded", [Text("Inside.")]),
        square(2),
        hero=[square(1, title="First")],
        neighbours=[Link("Before", "a.html"), Link("Next", "b.html")],
        folds_printed=False,
    )
    order = [html.index(part) for part in ("<h1", "1 square", 'class="lead"', "2 square", 'class="neighbours"')]
    assert order == sorted(order)
    assert html.count('class="lead"') == 1
    assert 'id="Figure1"' in html[: html.index('class="lead"')]
    assert '<body class="brief">' in html
    assert "<body>" in html_of(square())
