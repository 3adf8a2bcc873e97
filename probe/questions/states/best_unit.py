"""Which unit follows a concept best, and better than in controls? As `probe.single_units` says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from ...evidence.findings import DataFigure
from ...evidence.measurements import measurement, tabulate
from ...evidence.words import listed
from ...plots.networks import draw_dots
from ...probes.reading import ABOVE, ONE_MAP, WITHIN
from ...probes.single_units import read_units
from ...recurrent.signals import Signal
from ...subjects.subject import Subject, as_subjects
from ..headings import by_rule
from ..judged import Judged, above_every_control, elsewhere, figure, judged, meant, named, rows_of, where
from ..question import Answered, Question, Told
from ..readings import READ, compared, key_of, points_of, told_by_step, why_unread
from . import coloured_text, tuning


def question(subject: Subject, name: str) -> Question:
    """Return the question which unit follows a concept best."""
    key = key_of("best-unit", subject, name)
    above = above_every_control(
        key,
        f"One unit follows “{name}” clearly better than one of any control",
        definition="1 where the verdict of `probe.single_units` on a signal of a layer is “above every control”, "
        "within steps or by one map, else 0. Controls are those of the probe, and the concept shuffled.",
        source="Karpathy et al. 2015",
    )
    return Question(
        key,
        f"Which unit follows “{name}” best?",
        measure,
        (partial(why_unread, name=name), partial(told_by_step, name=name)),
        READ,
        (above,),
        draw=partial(draw_dots, metrics={named("score", WITHIN): "best unit,\nwithin steps"}),
        tell=partial(tell, name=name),
        settings={"concept": name, "question": key},
        copies=None,
        caption=f"The score of the best unit for “{name}” in each network, as a dot.",
        heading=by_rule(
            f"One unit follows “{name}” more closely than any control does",
            f"No unit follows “{name}” more closely than the controls do",
        ),
    )


def measure(subjects: Sequence[Subject], *, concept: str, question: str) -> pd.DataFrame:
    """Measure what `probe.single_units` reads of one network beside its controls, with the study's seed.

    Metrics: as of `rows_of`; of the network `above_every_control`, 1 where a place has that verdict.
    """
    subject, *others = as_subjects(subjects)
    reading = read_units(compared(subject, *others)[concept])
    above = bool((reading.summary["verdict"] == ABOVE).any())
    rows = [*rows_of(reading, subject, others, question)]
    return tabulate([*rows, measurement(question, "above_every_control", subject.network, float(above))])


def tell(answered: Answered, name: str) -> Told:
    """Return which unit follows the concept, and how exactly one map reads it, with the picture."""
    subject = answered.subject
    within, exact = (judged(answered.table, subject.network.name, how) for how in (WITHIN, ONE_MAP))
    best = within[0]
    points = points_of(subject, name, best.layer)
    score, is_named = points.score_name, points.named
    many = " " in best.units
    follows = f"{_units(best)} of {where(subject, best)} {'follow' if many else 'follows'} “{name}” best within steps"
    if not best.units:
        follows = f"No unit of {where(subject, best)} is shown to follow “{name}” within steps"
    first = f"{follows}: {score} {best.said}."
    answer = f"{first}{elsewhere(within)}"
    if exact:
        unit = f"{_units(exact[0]).lower() or 'a unit'} of {where(subject, exact[0])}"
        how = "reads it with balanced accuracy" if is_named else "gives the exact value in a share of"
        monotone = "map" if is_named else "monotone map"
        answer += f" One {monotone} of {unit}, the same at all steps, {how} {exact[0].said}.{elsewhere(exact)}"
    setup = (
        "Within steps, what the step explains is taken off unit and concept, because a unit that tells the time "
        "follows any concept that grows. The unit is selected and scored on different sequences. It is named where "
        f"it reads more than chance, and more than of the concept shuffled. {meant([*within, *exact])}"
    )
    shown = f"{score}; by one map, the share read exactly" if exact and not is_named else score

    def pictures() -> tuple[DataFigure, ...]:
        at, units = (best.layer, Signal(best.signal)), [int(unit) for unit in best.units.split()]
        all_units = tuning.figure(subject, name, answered.name, at, units)
        made = (all_units, *figure(answered, first, shown, f"The best unit for “{name}”", (WITHIN, ONE_MAP)))
        if not subject.symbols or not units:
            return made
        return (coloured_text.figure(subject, name, answered.name, units[0], at), *made)

    return Told({"answer": answer, "setup": setup, "scores": f"{score} {best.numbers}"}, pictures)


def _units(one: Judged) -> str:
    """Return what a sentence calls the units that were selected: several where parts selected others."""
    units = one.units.split()
    return f"Unit{'s' * (len(units) > 1)} {listed(units)}" if units else ""
