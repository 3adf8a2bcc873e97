"""Can a concept be read off one network, and better than off its controls? As `probe.linear_probe` says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from ...evidence.measurements import measurement, tabulate
from ...evidence.words import listed
from ...methods.probing.linear import MOST_FEATURES
from ...plots.networks import draw_dots
from ...plots.study_figures import shortened
from ...probes.linear_probe import read_linearly
from ...probes.reading import ABOVE, written
from ...recurrent.signals import Signal
from ...subjects.subject import Subject, as_subjects
from ..headings import by_rule
from ..judged import Judged, above_every_control, elsewhere, figure, judged, meant, rows_of, where
from ..question import Answered, Question, Told
from ..readings import READ, compared, key_of, own_reading, points_of, states_at, why_unread

#: Values of a concept are told one by one where the shares of their states that are named right differ by more; of
#: more values than this the best and the worst.
APART, NAMED = 0.1, 8


def question(subject: Subject, name: str) -> Question:
    """Return the question whether a concept can be read off a network."""
    key, score = key_of("reading", subject, name), "balanced accuracy" if subject.concepts[name].is_named else "R²"
    above = above_every_control(
        key,
        f"“{name}” is read clearly better than from every control",
        definition="1 where the verdict of `probe.linear_probe` on a signal of a layer is “above every control”, "
        "else 0. Controls are the own initialisation where given, random weights, the step, and the inputs alone.",
        source="this study",
    )
    return Question(
        key,
        f"Can “{name}” be read?",
        measure,
        (partial(why_unread, name=name),),
        READ,
        (above,),
        draw=partial(draw_dots, metrics={"best_score": f"best held-out\n{score}"}),
        tell=partial(tell, name=name),
        settings={"concept": name, "question": key},
        version=9,
        copies=None,
        caption=f"The best score of “{name}” in each network, as a dot.",
        heading=by_rule(
            f"All units together tell “{name}” better than the controls do",
            f"All units together tell “{name}” no better than the controls do",
        ),
    )


def measure(subjects: Sequence[Subject], *, concept: str, question: str) -> pd.DataFrame:
    """Measure what `probe.linear_probe` reads of one network beside its controls, with the study's seed.

    Metrics: as of `rows_of`; of the network `best_score`, the largest of its scores, and `above_every_control`, 1
    where a place has that verdict; of each control that is a network `best_score` too.
    """
    subject, *others = as_subjects(subjects)
    reading = read_linearly(compared(subject, *others)[concept])
    rows = [*rows_of(reading, subject, others, question)]
    above = bool((reading.summary["verdict"] == ABOVE).any())
    rows.append(measurement(question, "above_every_control", subject.network, float(above)))
    for one in (subject, *others):
        scores = [row["value"] for row in rows if (row["metric"], row["network"]) == ("score", one.network.name)]
        rows += [measurement(question, "best_score", one.network, max(scores))] if scores else []
    return tabulate(rows)


def tell(answered: Answered, name: str) -> Told:
    """Return the sentences and the picture of one network and one concept."""
    subject = answered.subject
    places = judged(answered.table, subject.network.name)
    best, points = places[0], points_of(subject, name, places[0].layer)
    first = f"A probe reads “{name}” with {points.score_name} {best.said}."
    answer = (
        f"{first} It was read from {where(subject, best)}.{elsewhere(places)}{_by_category(subject, name, places[0])}"
    )
    units = states_at(subject, (best.layer, Signal(best.signal)), points).shape[1]
    setup = f"{own_reading(subject, name).title}. {meant(places)}"
    if units > MOST_FEATURES:
        setup += f" The probe read the {MOST_FEATURES} largest principal components of the {units:,} units."
    notes = {"answer": answer, "setup": setup, "scores": f"{points.score_name} {best.numbers}"}
    return Told(notes, partial(figure, answered, first, points.score_name, f"All units for “{name}”"))


def _by_category(subject: Subject, name: str, best: Judged) -> str:
    """Return the share of each value's states that is named right, where these differ; of many the two ends."""
    if not points_of(subject, name, best.layer).named:
        return ""
    shares = own_reading(subject, name).by_category(best.signal, layer=best.layer).sort_values(ascending=False)
    if shares.iloc[0] - shares.iloc[-1] <= APART:
        return ""
    shown = shares if len(shares) <= NAMED else shares.iloc[[0, -1]]
    return (
        f" By value: {listed([f'“{shortened(str(kind), 20)}” {written(share)}' for kind, share in shown.items()])}."
    )
