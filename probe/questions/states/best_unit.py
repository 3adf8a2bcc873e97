"""Which unit of one network follows the concept best, and better than in controls? As `probe.single_units` says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from ...evidence.measurements import tabulate
from ...evidence.words import listed
from ...plots.networks import draw_dots
from ...probes.reading import ONE_MAP, WITHIN
from ...probes.single_units import read_units
from ...subjects.subject import Subject, as_subjects
from .. import needs
from ..judged import Judged, elsewhere, figure, judged, meant, named, rows_of, where
from ..question import Answered, Question, Told
from ..readings import READ, compared, points_of

QUESTION = "best-unit"


def question(subject: Subject) -> Question:
    """Return the question which unit follows the concept best."""
    return Question(
        QUESTION,
        f"Which unit follows “{subject.concept.name}” best?",
        measure,
        (needs.readable, needs.differs_within_steps),
        READ,
        draw=partial(draw_dots, metrics={named("score", WITHIN): "best unit,\nwithin steps"}),
        tell=tell,
        copies=None,
    )


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure what `probe.single_units` reads of one network beside its controls; see `rows_of`."""
    subject, *others = as_subjects(subjects)
    reading = read_units(compared(subject, *others)[subject.concept.name])
    return tabulate(rows_of(reading, subject, others, QUESTION))


def tell(answered: Answered) -> Told:
    """Return which unit follows the concept, and how exactly one map reads it, with the picture."""
    subject, name = answered.subject, answered.subject.concept.name
    within, exact = judged(answered, WITHIN), judged(answered, ONE_MAP)
    best = within[0]
    score = points_of(subject, name, best.layer).score_name
    many = " " in best.units
    follows = f"{_units(best)} of {where(subject, best)} {'follow' if many else 'follows'} “{name}” best within steps"
    if not best.units:
        follows = f"No unit of {where(subject, best)} is shown to follow “{name}” within steps"
    first = f"{follows}: {score} {best.said}."
    answer = f"{first}{elsewhere(within)}"
    if exact:
        unit = f"{_units(exact[0]).lower() or 'a unit'} of {where(subject, exact[0])}"
        answer += f" One monotone map of {unit}, the same at all steps, gives the exact value in a share of "
        answer += f"{exact[0].said}.{elsewhere(exact)}"
    setup = (
        "Within steps, what the step explains is taken off unit and concept, because a unit that tells the time "
        "follows any concept that grows. The unit is selected and scored on different sequences. It is named where "
        f"it reads more than chance, and more than of the concept shuffled. {meant([*within, *exact])}"
    )
    shown = f"{score}; by one map, the share read exactly" if exact else score
    return Told({"answer": answer, "setup": setup}, partial(figure, answered, first, shown, (WITHIN, ONE_MAP)))


def _units(one: Judged) -> str:
    """Return what a sentence calls the units that were selected: several where parts selected others."""
    units = one.units.split()
    return f"Unit{'s' * (len(units) > 1)} {listed(units)}" if units else ""
