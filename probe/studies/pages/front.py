"""The first screen of a study's page: for each concept where it is, in three rows, and the verdict as a title."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.findings import DataFigure, Finding
from ...evidence.measurements import only
from ...evidence.words import alternatives, listed
from ...plots.networks import draw_answered
from ...plots.study_figures import drawing, drawn, shortened
from ...probes.reading import OWN
from ...questions.judged import Judged, judged, named
from ...questions.readings import key_of
from ...questions.rules import TELLS
from ...recurrent.inspection import described
from ...report import Table
from ...subjects.subject import Subject
from .verdicts import OF_NAMES, OF_NUMBERS, ROWS, Row, flat, is_made, of_unit, title_of, told, unit_row

#: What the table of several concepts shows.
SCORES = (
    "Where each concept is, each score beside that of the best control: balanced accuracy of categories, R² of "
    "numbers, or the share read exactly."
)
#: So many networks have a column each.
BY_ITSELF = 3
#: Of several networks, what the dots are called.
TRAINED = "trained"


@dataclass(frozen=True, eq=False)
class Front:
    """What the page, the terminal and a notebook say first.

    Attributes:
        kind: what a network is called, such as its cell.
        rows: concept -> its rows.
        tables: concept -> all scores of its rows.
        studied: what was studied, in a sentence.
    """

    kind: str
    rows: Mapping[str, Sequence[Row]]
    tables: Mapping[str, pd.DataFrame]
    studied: str

    @property
    def main(self) -> str:
        """The concept that the picture shows."""
        return next(iter(self.rows))

    @cached_property
    def title(self) -> str:
        """The verdict in words: which concept a unit tells, and what all units tell of the others."""
        if len(self.rows) == 1:
            return title_of(self.main, self.rows[self.main], self.kind)
        units = {name: unit for name, rows in self.rows.items() if (unit := unit_row(rows)) is not None}
        found = [of_unit(name, unit, self.kind) for name, unit in units.items() if unit.made]
        if untold := [f"“{name}”" for name, unit in units.items() if not unit.told]:
            found.append(f"No unit tells {alternatives(untold)}.")
        found += [of_unit(name, unit, self.kind) for name, unit in units.items() if unit.told and not unit.made]
        return " ".join(found) or title_of(self.main, self.rows[self.main], self.kind)

    @property
    def table(self) -> Table | None:
        """What a picture of one concept leaves out: each network of a few by itself, or several concepts."""
        networks = list(self.rows[self.main][0].places)
        if 1 < len(networks) <= BY_ITSELF:
            every = [(name, row) for name, rows in self.rows.items() for row in rows]
            lines = [[name, flat(row.asked), *map(told, row.places.values())] for name, row in every]
            return Table(["concept", "read from", *networks], lines, SCORES)
        return self._of_concepts() if len(self.rows) > 1 else None

    def _of_concepts(self) -> Table:
        asked = dict.fromkeys(row.asked for rows in self.rows.values() for row in rows)
        lines = []
        for name, rows in self.rows.items():
            said = {row.asked: f"{row.word}: {row.short}" for row in rows}
            lines.append([name, *(said.get(one, "not asked") for one in asked)])
        return Table(["concept", *map(flat, asked)], lines, SCORES)

    def __str__(self) -> str:
        lines = [self.title]
        for name, rows in self.rows.items():
            lines += [name] * (len(self.rows) > 1)
            lines += [f"  {flat(row.asked):<34} {row.word:<32} {row.numbers}" for row in rows]
        return "\n".join(lines)

    @cached_property
    def picture(self) -> DataFigure:
        """The picture of the main concept: a row for each thing that was asked."""
        rows, table = self.rows[self.main], self.tables[self.main]
        own = OWN if len(rows[0].places) == 1 else TRAINED
        kinds = {str(network): kind for network, kind in table[["network", "kind"]].itertuples(index=False)}
        kinds = {network: own if kind == OWN else kind for network, kind in kinds.items()}
        answers = {row.asked: (row.word, row.numbers.replace("; ", ";\n")) for row in rows}
        with drawing():
            panel: Any = draw_answered(table, kinds, answers, bound=TELLS)
            return drawn(
                panel.get_figure(),
                name="front",
                title=f"Where is “{shortened(self.main, 40)}”?",
                alt=" ".join(f"{flat(row.asked)}: {row.word}; {row.numbers}." for row in rows),
                caption=self.studied,
                data=table[["signal", "network", "kind", "score", "low", "high"]],
            )


def front(findings: Sequence[Finding], subjects: Sequence[Subject]) -> Front | None:
    """Return what is said first, by rule, of what was found; None where no concept was read."""
    subject, measured = subjects[0], {one.question: one.measurements for one in findings}
    trained = list(dict.fromkeys(one.network.name for one in subjects if one.network.role == "trained"))
    networks = trained or [subject.network.name]
    cells = {described(layer).cell for layer in subject.layers}
    rows: dict[str, list[Row]] = {}
    tables: dict[str, pd.DataFrame] = {}
    for name in sorted(subject.concepts, key=lambda name: name != subject.concept.name):
        parts = []
        for asked, (question, how) in ROWS.items():
            table = measured.get(key_of(question, subject, name))
            if table is None or not (places := _places(table, networks, how)):
                continue
            score = OF_NAMES if subject.concepts[name].is_named else OF_NUMBERS[how]
            rows.setdefault(name, []).append(Row(asked, places, score, layered=len(subject.layers) > 1))
            parts.append(_scores(table, places, how).assign(signal=asked, layer="", how=""))
        if parts:
            tables[name] = pd.concat(parts, ignore_index=True)
    kind = cells.pop() if len(cells) == 1 else "network"
    return Front(kind, rows, tables, _studied(subject)) if rows else None


def _studied(subject: Subject) -> str:
    """Return what was studied, in a sentence."""
    layers = listed([f"{described(layer).cell} of {several(layer.units, 'unit')}" for layer in subject.layers])
    beside = "Random weights are networks of the same sizes that were not trained."
    return f"{layers}; {several(len(subject.x), 'sequence')}. {beside} We asked for a score of {TELLS:g}."


def _places(table: pd.DataFrame, networks: Sequence[str], how: str) -> dict[str, Judged]:
    """Return of each network the place that answers best: where a control is beaten, or else the highest score."""
    found = {network: judged(table, network, how) for network in networks}
    return {name: max(own, key=lambda place: (is_made(place), place.score)) for name, own in found.items() if own}


def _scores(table: pd.DataFrame, places: Mapping[str, Judged], how: str) -> pd.DataFrame:
    """Return the scores of networks and controls at the places, with what each is drawn as."""
    rows = only(table, metric=named("score", how)).rename(columns={"value": "score"})
    parts = []
    for network, place in places.items():
        here = rows[(rows["layer"] == place.layer) & (rows["signal"] == place.signal)]
        own = here[here["network"] == network]
        beside = here[(here["network"] != network) & (here["pair"] == own["pair"].iloc[0])]
        if len(places) > 1:
            own = own.assign(low=np.nan, high=np.nan)
        untold = (beside["role"] == "null") & (beside["network"] != place.control)
        parts.append(pd.concat([own.assign(kind=OWN), beside[~untold].assign(kind=_kind)]))
    return pd.concat(parts)[["network", "kind", "score", "low", "high"]].assign(step=np.nan)


def _kind(rows: pd.DataFrame) -> pd.Series:
    """Return what controls are drawn as: by their role, and what is no network by its name."""
    return rows["network"].where(rows["role"] == "null", rows["role"]).astype(str)
