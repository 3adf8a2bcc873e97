"""Tables: how numbers read, what is aligned, what the CSV holds, and what a wrong table is told."""

from __future__ import annotations

import base64
import bz2
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from probe.errors import ProbeError
from probe.report import Link, Table, Verdict, tables
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
    ("options", "message"),
    [
        ({"columns": []}, "needs columns with different names"),
        ({"columns": ["a", "a"]}, "needs columns with different names"),
        ({"rows": [[1]]}, r"Row 0 of table 'x' has 1 cells; there are 2 columns"),
        ({"verdict": "verdct"}, r"There is no verdict column 'verdct'"),
        ({"name": "../up"}, "cannot name a file"),
        ({"max_rows": 0}, "at least 1 row"),
        ({"digits": 0}, "at least 1 row and 1 digit"),
    ],
)
def test_a_wrong_table_is_told(options: dict[str, object], message: str) -> None:
    """A wrong table is told what is wrong."""
    with pytest.raises(ProbeError, match=message):
        _ = Table(**{"columns": ["a", "b"], "rows": [[1, 2]], "caption": "x", **options})  # pyright: ignore[reportArgumentType]
