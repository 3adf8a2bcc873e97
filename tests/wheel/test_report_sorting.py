"""Sortable tables in a page's HTML: one small script, pinned by its hash, and nothing where none can be sorted."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape

import pandas as pd
import pytest
from torch import nn

from probe.explorer import Explorer, ExplorerNetwork
from probe.report import Block, Details, Figure, Page, Panels, Section, Table
from probe.report.inline import VERDICTS

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="5" height="5"/></svg>'
FRAME = pd.DataFrame({"claim": ["b", "a"], "value": [2.0, 10.0], "verdict": ["refuted", "established"]})
SORTABLE = Table.from_frame(FRAME, "Claims", verdict="verdict", sortable=True)
PLAIN = Table.from_frame(FRAME, "Claims", verdict="verdict")
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
