"""Sortable tables in a real Chromium: by mouse and keyboard, in a sandbox, and without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages_read import page_of
from torch import nn

from probe.explorer import Explorer, ExplorerNetwork
from probe.report import Table, Verdict
from tests.browser.tools import checked, run

#: Name, number, interval, verdict, words of numbers, and a column with verdicts of its own beside other words.
ROWS: tuple[tuple[Any, ...], ...] = (
    ("a", 10, (0.5, 0.6), "undecided", "row 10", Verdict("refuted")),
    ("b", -2.5, (-1.0, 2.0), "refuted", "row 9", Verdict("passed")),
    ("c", None, None, "established", "Row 1", "not judged"),
    ("d", 1e-9, (0.25, 9.0), "not specific", "row 9", Verdict("of one's own")),
    ("e", float("inf"), (-12.0, 0.0), None, "", Verdict("failed")),
    ("f", 9.5, (0.25, 0.3), "established", "Émile", Verdict("not specific")),
)
COLUMNS = ("name", "number", "interval", "verdict", "words", "again")
GIVEN = "abcdef"
#: The names in the order of each column, upwards and downwards; what is missing stands last, and equals as given.
SORTED = {
    "name": ("abcdef", "fedcba"),
    "number": ("bdfaec", "eafdbc"),
    "interval": ("ebdfac", "adfbec"),
    "verdict": ("cfdabe", "badcfe"),
    "words": ("efcbda", "abdcfe"),
    "again": ("bfaedc", "cdeafb"),
}


def test_each_head_sorts_up_down_and_back(tmp_path: Path) -> None:
    """Numbers, intervals, verdicts and words have their order; the third press gives back the first.

    One column counts at a time, the focus stays on its head, and without scripts or on paper it has no button.
    """
    explorer = Explorer([ExplorerNetwork("a GRU", nn.GRU(1, 2))], "ab", {"a": 0.0, "b": 1.0})
    rows = [list(row) for row in ROWS]
    table = Table(COLUMNS, rows, "Rows in any order.", verdict="verdict", name="rows", sortable=True)
    page = page_of(table, explorer).write(tmp_path / "index.html")
    found = run("sorting.mjs", page)
    for how in ("clicked", "entered", "spaced", "sandboxed"):
        assert set(found[how]) == set(COLUMNS)
        for place, column in enumerate(COLUMNS):
            orders = ["".join(state["rows"]) for state in found[how][column]]
            assert orders == [GIVEN, *SORTED[column], GIVEN], column
            for state, said in zip(found[how][column], [None, "ascending", "descending", None], strict=True):
                assert state["heads"] == [said if other == place else None for other in range(len(COLUMNS))]
    assert [state["focus"] for state in found["entered"]["verdict"]][1:] == ["verdict"] * 3
    assert "".join(found["second"]["rows"]) == SORTED["interval"][0]
    assert found["second"]["heads"] == [None, None, "ascending", None, None, None]
    assert (found["unscripted"], found["refused"]) == (0, {})
    assert (found["printed"].split(), found["printedButtons"]) == (list(COLUMNS), 0)
    assert found["log"] == {"requests": [], "console": [], "csp": []}
    _ = checked(page)
