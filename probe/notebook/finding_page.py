"""Shows a finding in a notebook: its claims, figures, notes and provenance as one page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..errors import ProbeError, several
from ..report.blocks import Block, Details, Figure, Points, Text
from ..report.inline import CodeSpan, Strong
from ..report.inlining import inline_svg
from ..report.page import Page, Section
from ..report.tables import Cell, Table
from .fragments import shortened

if TYPE_CHECKING:
    import pandas as pd

    from ..evidence.claims import Claim
    from ..evidence.findings import DataFigure, Finding

#: What is shown of a finding of any size: figures, bytes of one, notes, letters of one, rows of a table.
FIGURES, SVG_BYTES, NOTES, LETTERS, ROWS = 12, 100_000, 40, 2000, 20
_COLUMNS = ("claim", "statement", "value", "interval at 95 %", "networks", "holds in", "verdict", "reason")


def page_of(finding: Finding) -> Page:
    """Return a finding as a page; what cannot be drawn is named in a sentence.

    Args:
        finding: the finding.
    """
    sections: list[Section] = []
    if finding.claims:
        table = Table(_COLUMNS, list(map(_row, finding.claims)), "What was judged.", verdict="verdict", digits=3)
        sections.append(Section("Claims", [table], "claims"))
    if finding.figures:
        sections.append(Section("Figures", _figures(finding.figures), "figures"))
    if finding.notes:
        notes = list(finding.notes.items())
        items = [[Strong(shortened(name)), ": ", shortened(text, LETTERS)] for name, text in notes[:NOTES]]
        items += [[f"{len(notes) - NOTES} more notes."]] if len(notes) > NOTES else []
        sections.append(Section("Notes", [Points(items)], "notes"))
    sections.append(Section("Measurements", [_measurements(finding.measurements)], "measurements"))
    provenance = {
        shortened(name): shortened(value, LETTERS) for name, value in list(finding.provenance.items())[:NOTES]
    }
    title = next((text for text in (finding.title, finding.question) if text.strip()), "Finding")
    return Page(shortened(title, 200), _lead(finding), sections, provenance=provenance)


def _lead(finding: Finding) -> str:
    """Return how many claims have which verdict, in a sentence."""
    counts = Counter(claim.verdict for claim in finding.claims)
    if not counts:
        return f"{len(finding.measurements):,} measurements, and no claim was judged on them."
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    return f"Of {several(len(finding.claims), 'claim')}: {told}."


def _row(claim: Claim) -> list[Cell]:
    return [
        shortened(claim.rule.key),
        shortened(claim.rule.statement, 300),
        claim.value,
        claim.interval,
        claim.n,
        claim.holds_in,
        claim.verdict,
        shortened(claim.reason, 300),
    ]


def _figures(figures: tuple[DataFigure, ...]) -> list[Block]:
    """Return the first figures, each with words that no other has."""
    blocks: list[Block] = []
    alts: set[str] = set()
    for figure in figures[:FIGURES]:
        alt = " ".join(shortened(figure.alt, LETTERS).split())
        # A page refuses words that tell nothing of the data, or that two pictures share; here both are shown.
        if not any(letter.isdigit() for letter in alt) or alt in (figure.title, figure.caption):
            alt = f"{alt} ({several(len(figure.data), 'row')} of data)".strip()
        alt = f"{alt} (figure {len(blocks) + 1})" if alt in alts else alt
        alts.add(alt)
        blocks.append(_figure(figure, alt))
    if len(figures) > FIGURES:
        blocks.append(Text(f"{len(figures) - FIGURES} more figures; finding.write(folder) writes all of them."))
    return blocks


def _figure(figure: DataFigure, alt: str) -> Block:
    """Return a figure with its data, or the sentence that says why it is not shown."""
    size = len(figure.svg)
    try:
        if size > SVG_BYTES:
            raise ProbeError(f"Its picture takes {size / 1000:,.0f} kB; finding.write(folder) writes it as a file.")
        _ = inline_svg(figure.svg, prefix="x-", title="", alt="")
        table = _first_rows(figure.data, "What is drawn")
        caption, title = shortened(figure.caption, LETTERS), shortened(figure.title, 200)
        return Figure(figure.svg, alt, caption, title=title, table=table)
    except ProbeError as error:
        words = [CodeSpan(shortened(figure.name)), " is not shown: ", shortened(error, LETTERS), " ", alt]
        return Text([words])


def _measurements(table: pd.DataFrame) -> Block:
    summary = f"{len(table):,} measurements"
    try:
        return Details(summary, [_first_rows(table, "What was measured")])
    except ProbeError as error:
        return Text(f"{summary}. {shortened(error, LETTERS)}")


def _first_rows(frame: pd.DataFrame, what: str) -> Table:
    """Return the first rows of a frame as a table."""
    cut = f": the first {ROWS} of {len(frame):,} rows." if len(frame) > ROWS else "."
    head = frame.head(ROWS)
    table = Table.from_frame(head, what + cut)
    rows = [[shortened(cell, 200) if isinstance(cell, str) else cell for cell in row] for row in table.rows]
    return Table([shortened(column) for column in table.columns], rows, table.caption)
