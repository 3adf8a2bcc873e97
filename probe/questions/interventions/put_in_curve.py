"""How far does the answer go when a value is put in? A dose-response of states and parts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import several
from ...evidence.findings import DataFigure
from ...evidence.measurements import measurement, only, tabulate
from ...evidence.words import said
from ...methods.causal.interchange import Interchange
from ...methods.causal.pairs import Put, columns, whole
from ...plots.study_figures import drawing, drawn
from ...plots.style import new_figure
from ...plots.tables import dose
from ...subjects.answers import gives_number
from ...subjects.ends import ends_of
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..question import Answered, Question, Told
from ..states.targets import by_following
from . import interchange

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "put-in-curve"
#: The parts of a state that are put in, as the legend calls them.
WHOLE, UNIT, UNITS = "the whole state", "the unit that follows most", "four units that follow most"
NEAR = 0.05


def question(subject: Subject) -> Question:
    """Return the question about a concept that is a number; a part of a state is judged by `interchange`."""
    _ = subject
    title = "How far does the answer go when a value is put in?"
    asked = (needs.machine, needs.number, several_values, interchange.why_not)
    return Question(QUESTION, title, measure, asked, ("trained",), tell=tell, version=3)


def several_values(subject: Subject) -> str | None:
    """A concept of more than two values: of two, what is put in is all or nothing."""
    name, count = subject.answered.name, len(subject.answered.levels)
    return None if count > 2 else f"“{name}” has {several(count, 'value')}, and a curve needs three"


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how far the expected answer goes, by how far the right answer goes, on the pairs of `interchange`.

    Metric `change`: the mean change of the expected answer, by the change of the right answer (`at`) and by what is
    put in from another sequence (`kind`): its whole state, the unit that follows the concept most (`units`), or four
    such units; `n` is the number of pairs. A part that carries the value alone lies on the diagonal.

    Args:
        subjects: the network; its controls are not measured.

    Raises:
        ProbeError: the network cannot be run from its states, or a function of the study fails.
    """
    subject = as_subjects(subjects)[0]
    ground = interchange.ground_of(subject)
    patches = Interchange(ground.own.pairs, ground.task)
    rows: list[dict[str, Any]] = []
    for kind, units, put in _puts(subject):
        way, change = patches.changes(put)
        for amount in np.unique(way).tolist():
            here = np.isclose(way, amount)
            place = {"kind": kind, "units": units, "at": amount, "n": int(here.sum())}
            rows.append(measurement(QUESTION, "change", subject.network, float(change[here].mean()), **place))
    return tabulate(rows)


def _puts(subject: Subject) -> list[tuple[str, str, Put]]:
    end = ends_of(subject)
    dynamics, order = end.machine.dynamics, by_following(subject, end)
    found: list[tuple[str, str, Put]] = [(WHOLE, "", whole)]
    if order is None:
        return found
    for kind, count in ((UNITS, 4), (UNIT, 1)):
        if count < dynamics.units:
            put = columns([column for unit in order[:count] for column in dynamics.unit(unit)])
            found.append((kind, " ".join(map(end.name, order[:count])), put))
    return found


def tell(answered: Answered) -> Told:
    """Return what the page of one network says and shows."""
    table, name = answered.table, answered.subject.answered.name
    slopes = {kind: _slope(only(table, kind=kind)) for kind in dict.fromkeys(table["kind"])}
    # Of classes the change is that of the mean by their probabilities.
    what = "answer" if gives_number(answered.subject) else "expected answer"
    text = (
        f"On average another sequence's state, put in whole, moves the {what} by {said(slopes[WHOLE])} of the change "
        "of the right answer"
    )
    if UNIT in slopes:
        unit = str(only(table, kind=UNIT)["units"].iloc[0])
        text += f"; unit {unit} alone, which follows “{name}” most, by {said(slopes[UNIT])}"
    notes = {
        "answer": f"{text}.",
        "setup": (
            "We used the pairs of sequences that are described above. The share of the change that the right "
            "answer makes is the slope of a line through 0, by least squares over these changes, each "
            "weighted by its number of pairs."
        ),
    }
    return Told(notes, lambda: (_figure(answered, slopes),))


def _slope(rows: pd.DataFrame) -> float:
    way, change, count = (rows[column].to_numpy(float) for column in ("at", "value", "n"))
    squared = float((count * way**2).sum())
    return float((count * way * change).sum()) / squared if squared else 0.0


def _figure(answered: Answered, slopes: dict[str, float]) -> DataFigure:
    table = answered.table
    pairs = int(only(table, kind=WHOLE)["n"].sum())
    with drawing():
        figure, axes = new_figure(height=3.4)
        _ = dose(table, given="at", answered="value", by="kind", base=0.0, ax=axes[0, 0])
        axes[0, 0].set_xlabel("change of the right answer")
        axes[0, 0].set_ylabel("mean change of the answer")
        parts = [f"{kind} {said(slope)}" for kind, slope in slopes.items()]
        return drawn(
            figure,
            name=answered.name,
            title="What goes in, and what comes out",
            alt=f"The change of the answer against that of the right answer, over {several(pairs, 'pair')}; slopes: "
            f"{'; '.join(parts)}.",
            caption="On the diagonal, which a line may hide, the answer goes all the way; on the dotted line it "
            "stays. We put the state of another sequence, or a part of it, into the run.",
            data=table[["kind", "units", "at", "value", "n"]].reset_index(drop=True),
        )
