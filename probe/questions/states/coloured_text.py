"""Lines of text coloured by one unit, with the values of a concept under them: what the best unit of a page does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...evidence.findings import DataFigure
from ...evidence.words import place as place_of
from ...plots.sequences import scale_of
from ...plots.study_figures import drawing, drawn, shortened
from ...plots.style import COLUMN_WIDTH, SMALL, new_figure
from ...subjects.states import recorded_rows
from ...subjects.subject import Subject
from ..readings import Place, whole_states

#: So many sequences are shown, each up to so many letters; a longer name of a token is cut.
LINES, LETTERS, LONGEST = 10, 60, 8
#: Inches of a line with the values under it, the height of these beside that of the tokens, and points of a letter.
HEIGHT, UNDER, LETTER = 0.42, 0.8, 6.0
#: On a colour whose red, green and blue sum to less, letters are white.
DARK = 1.3


def lines_of(subject: Subject, name: str) -> list[int]:
    """Return the sequences that are shown, as places among those that are recorded.

    They are different ones, those first in which the concept changes most often.
    """
    rows = recorded_rows(subject)
    values, lengths = subject.concepts[name].values[rows], subject.lengths[rows]
    changes = ((np.diff(values, axis=1) != 0) & np.isfinite(values[:, 1:])).sum(1)
    different = dict[bytes, int]()
    for line in np.argsort(-changes, kind="stable").tolist():
        _ = different.setdefault(subject.x[rows[line], : lengths[line]].numpy().tobytes(), line)
    return list(different.values())[:LINES]


def figure(subject: Subject, name: str, question: str, unit: int, at: Place) -> DataFigure:
    """Return lines of text, each token in the colour of a unit after it was read.

    Args:
        subject: the network, with a symbol for each input.
        name: the concept that is written under the tokens, where it changes.
        question: names the figure.
        unit: the unit.
        at: its layer and signal.
    """
    table = pd.DataFrame(_tokens(subject, name, unit, at))
    unit_of = f"unit {unit} of {place_of(at[0], str(at[1]))}"
    lines = table["line"].nunique()
    with drawing():
        made, axes = new_figure(height=0.3 + HEIGHT * lines)
        _draw(axes[0, 0], table, str(at[1]))
        norm = scale_of(str(at[1]), table["state"].to_numpy(float))[1]
        return drawn(
            made,
            name=f"{question}-text",
            title=f"What the text does to {unit_of}",
            alt=f"{lines} lines of text. After their tokens {unit_of} lies between {table['state'].min():.2f} and "
            f"{table['state'].max():.2f}.",
            caption=f"Each token has the colour of {unit_of} after it: from {norm.vmin:.2g} to {norm.vmax:.2g}. "
            f"Under it stands “{name}” where that changes. They are the sequences in which it changes most often.",
            data=table,
        )


def _tokens(subject: Subject, name: str, unit: int, at: Place) -> Iterator[dict[str, Any]]:
    """Yield the tokens that are shown: line, step, token, the unit's state after it, and the concept's value."""
    rows, concept = recorded_rows(subject), subject.concepts[name]
    symbols = {tuple(value.tolist()): symbol for symbol, value in subject.symbols.items()}
    longest = min(LONGEST, max(map(len, symbols.values())))
    for line, number in enumerate(lines_of(subject, name)):
        row, states = rows[number], whole_states(subject, at, number)[:, unit]
        for step in range(min(int(subject.lengths[row]), LETTERS // longest)):
            token = shortened(symbols[tuple(subject.x[row, step].tolist())], longest)
            value = concept.values[row, step]
            said = concept.said(value) if np.isfinite(value) else ""
            yield {"line": line, "step": step, "token": token, "state": float(states[step]), "concept": said}


def _draw(ax: Axes, table: pd.DataFrame, signal: str) -> None:
    lines = int(table["line"].max()) + 1
    cells = np.full((2 * lines, int(table["step"].max()) + 1), np.nan)
    cells[2 * table["line"], table["step"]] = table["state"]
    cell = 72 * COLUMN_WIDTH / cells.shape[1]
    colours, norm = scale_of(signal, table["state"].to_numpy(float))
    edges = np.cumsum([0.0, *([1.0, UNDER] * lines)])
    _ = ax.pcolormesh(np.arange(cells.shape[1] + 1), edges, cells, cmap=colours, norm=norm, rasterized=True)
    for line, step, token, state in table[["line", "step", "token", "state"]].itertuples(index=False):
        dark = sum(colours(norm(state))[:3]) < DARK
        place = {"x": step + 0.5, "y": edges[2 * line] + 0.5, "ha": "center", "va": "center", "family": "monospace"}
        _ = ax.text(s=token, fontsize=SMALL, color="white" if dark else "black", **place)
    for line, rows in table.groupby("line"):
        changed = rows[rows["concept"] != rows["concept"].shift()]
        ends = [*changed["step"].tolist()[1:], cells.shape[1]]
        for step, said, end in zip(changed["step"], changed["concept"], ends, strict=True):
            room = max(1, int((end - step) * cell / LETTER))
            place = {"x": step + 0.1, "y": edges[2 * int(str(line)) + 1] + UNDER / 2, "va": "center"}
            _ = ax.text(s=said[:room], fontsize=SMALL, color="0.35", **place)
    ax.set_ylim(edges[-1], 0)
    ax.set_axis_off()
