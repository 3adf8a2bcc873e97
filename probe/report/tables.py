"""`Table`: a table of a page, how its numbers are written, and the same rows as CSV."""

from __future__ import annotations

import base64
import bz2
import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import quote

from ..errors import ProbeError, unknown
from .inline import CodeSpan, Inline, Link, Strong, Verdict, plain

if TYPE_CHECKING:
    import pandas as pd

Cell = str | int | float | bool | None | tuple[float, float] | Strong | CodeSpan | Link | Verdict
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
MAX_ROWS = 60
PROSE = 28
#: A CSV is linked as it is up to so many bytes, compressed up to so many more, and beyond that not at all. Where
#: scripts run, the page unpacks it.
PACKED, MOST_PLAIN, MOST_COMPRESSED = ".bz2", 6_000, 64_000
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class Download(NamedTuple):
    """A file that a page holds: its `data:` address, and the name it is saved under."""

    href: str
    name: str


@dataclass(frozen=True)
class Table:
    """A table with a caption; wide ones scroll inside their own region.

    Columns of numbers are right-aligned, and the first column heads its row. Missing values (None, NaN) read
    as a dash; a pair of numbers reads as an interval.

    Args:
        columns: the columns' names, each once.
        rows: rows of cells, each as long as `columns`.
        caption: what the table holds.
        verdict: the column whose words are verdicts; shown as symbol and word, never by colour alone.
        name: the file name that the CSV is saved under, without `.csv`. Without it the table has no CSV link.
        digits: significant digits shown; the CSV always keeps 6.
        max_rows: rows shown; the rest is only counted (and stands in the CSV). Without this, a table of
            10,000 rows would make the page weigh more than a megabyte.
        sortable: whether each column's head is a button that sorts the rows shown: upwards, downwards, and back to
            the order given. Numbers go by what is shown of them, intervals by their lower end, verdicts from
            established over not specific and undecided to refuted, all else as text; what is missing stands last.
            Where the browser runs no scripts there are no buttons.

    Raises:
        ProbeError: a row has another length, a column is named twice, or `verdict` is no column.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str
    verdict: str | None = None
    name: str | None = None
    digits: int = 4
    max_rows: int = MAX_ROWS
    sortable: bool = False
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        if hasattr(self.rows, "columns"):
            raise ProbeError(
                "The rows of a table are rows of cells; a DataFrame's are Table.from_frame(frame, caption)."
            )
        columns = tuple(self.columns)
        if not columns or len(set(columns)) != len(columns):
            raise ProbeError(f"A table needs columns with different names; {list(columns)!r} was given. Rename them.")
        for index, row in enumerate(self.rows):
            if len(row) != len(columns):
                raise ProbeError(
                    f"Row {index} of table {self.caption[:80]!r} has {len(row)} cells; "
                    f"there are {len(columns)} columns. Give one cell per column, None where it is empty."
                )
        if self.verdict is not None and self.verdict not in columns:
            raise ProbeError(unknown("verdict column", self.verdict, columns))
        if self.name is not None and not _FILE_NAME.fullmatch(self.name):
            raise ProbeError(
                f"{self.name[:80]!r} cannot name a file; use up to 80 letters, digits, '.', '_' and '-'."
            )
        if self.max_rows < 1 or self.digits < 1:
            raise ProbeError(
                f"A table shows at least 1 row and 1 digit; max_rows={self.max_rows}, digits={self.digits}."
            )
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "rows", tuple(tuple(row) for row in self.rows))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, caption: str, **options: Any) -> Table:
        """Return the table of a DataFrame's columns; the index is left out (reset it to show it).

        Args:
            frame: the table.
            caption: what it holds.
            **options: of `Table`, such as `digits=3`.
        """
        columns = [str(column) for column in frame.columns]
        values = [[_cell(value) for value in frame.iloc[:, index].tolist()] for index in range(len(columns))]
        return cls(columns, list(zip(*values, strict=True)), caption, **options)

    @property
    def same(self) -> dict[int, Inline]:
        """What stands in columns that have one value in all of three rows or more, by place: a page says it once.

        None where no other column is left beside the first.
        """
        rows = self._show_all(self.rows) if len(self.rows) > 2 else []
        columns = enumerate(zip(*rows, strict=True))
        found = {place: one[0] for place, one in columns if place and len(set(one)) == 1}
        found = {place: value for place, value in found.items() if not isinstance(value, Verdict)}
        return found if len(found) < len(self.columns) - 1 else {}

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers (or intervals) only."""
        return tuple(_is_numeric([row[index] for row in self.rows]) for index in range(len(self.columns)))

    @property
    def classes(self) -> tuple[str, ...]:
        """The CSS class of each column: numbers are aligned, long texts keep a width that can be read."""
        long = [
            any(isinstance(row[index], str) and len(str(row[index])) > PROSE for row in self.rows)
            for index in range(len(self.columns))
        ]
        return tuple(
            "number" if number else "prose" if prose else "" for number, prose in zip(self.numeric, long, strict=True)
        )

    @property
    def shown(self) -> list[list[Inline]]:
        """The rows that the page shows, as text."""
        return self._show_all(self.rows[: self.max_rows])

    def _show_all(self, rows: Sequence[Sequence[Cell]]) -> list[list[Inline]]:
        at = self.columns.index(self.verdict) if self.verdict is not None else -1
        return [[self._show(cell, as_verdict=index == at) for index, cell in enumerate(row)] for row in rows]

    def _show(self, cell: Cell, *, as_verdict: bool) -> Inline:
        if as_verdict and isinstance(cell, str) and cell:
            return Verdict(cell)
        if isinstance(cell, (Strong, CodeSpan, Link, Verdict)):
            return cell
        return format_cell(cell, digits=self.digits)

    def to_csv(self) -> str:
        """Return all rows as CSV with 6 significant digits and `\\n` line ends."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_csv_cell(cell) for cell in row] for row in self.rows)
        return text.getvalue()

    @property
    def download(self) -> Download | None:
        """All rows as a file inside the page, or None if the table has no name or passes 64 kB when compressed."""
        if self.name is None:
            return None
        # A lone surrogate has no UTF-8: such text comes from broken file names and must not break the page.
        text = self.to_csv()
        link = "data:text/csv;charset=utf-8," + quote(text, safe=",;:/.-+_ ~!*()", errors="replace")
        link = link.replace(" ", "%20")
        if len(link) <= MOST_PLAIN:
            return Download(link, f"{self.name}.csv")
        # bzip2 has one implementation, so that every machine writes the same bytes; zlib has several.
        packed = base64.b64encode(bz2.compress(text.encode(errors="replace"))).decode()
        link = f"data:application/x-bzip2;base64,{packed}"
        return Download(link, f"{self.name}.csv{PACKED}") if len(link) <= MOST_COMPRESSED else None


def format_cell(cell: str | int | float | bool | tuple[float, float] | None, *, digits: int = 4) -> str:
    """Return a cell as it reads on the page: a true minus sign, a dash for what is missing."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, tuple):
        return f"[{format_cell(cell[0], digits=digits)}, {format_cell(cell[1], digits=digits)}]"
    if cell is None or math.isnan(cell):
        return DASH
    if math.isinf(cell):
        return "∞" if cell > 0 else f"{MINUS}∞"
    text = str(cell) if isinstance(cell, int) else f"{cell:.{digits}g}"
    return "0" if text == "-0" else text.replace("-", MINUS)


def _csv_cell(cell: Cell) -> str:
    if isinstance(cell, (str, Strong, CodeSpan, Link, Verdict)):
        return plain(cell)
    if isinstance(cell, tuple):
        return f"[{cell[0]:.6g}, {cell[1]:.6g}]"
    if cell is None or cell != cell:  # noqa: PLR0124 - only NaN differs from itself
        return ""
    if isinstance(cell, (bool, int)):
        return str(cell)
    return "0" if cell == 0 else f"{cell:.6g}"


def _is_numeric(cells: Sequence[Cell]) -> bool:
    present = [cell for cell in cells if cell is not None]
    return bool(present) and all(
        isinstance(cell, (int, float, tuple)) and not isinstance(cell, bool) for cell in present
    )


def _cell(value: object) -> Cell:
    if isinstance(value, (Strong, CodeSpan, Link, Verdict)):
        return value
    if isinstance(value, (tuple, list)):
        if len(value) == 2 and all(isinstance(part, (int, float)) for part in value):
            return (float(value[0]), float(value[1]))
        return str(value)
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT:
        return None
    item = getattr(value, "item", None)
    value = item() if callable(item) else value
    if isinstance(value, (str, bool, int, float)):
        return value
    return str(value)
