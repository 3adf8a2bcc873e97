"""What a page says of one network's probes of a concept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.measurements import one, only
from ...evidence.words import between, listed, place, said, said_score
from ...methods.probing.fits import MOST_FEATURES
from ...methods.probing.scores import LEAST_MARGIN, MARGIN
from ...methods.probing.targets import LEAST_SEQUENCES
from ...plots.study_figures import shortened
from ...subjects.concepts import Known
from ...subjects.states import reads_ahead, sample_of
from ...subjects.subject import Subject
from ..question import Answered, Told
from ..states.linear_readout_drawn import MEMORIES, OTHERS, RANDOM, TOLD, others_of
from ..states.targets import Target
from . import linear_readout_figures as figures
from .judgements import READABLE, Beside, Judgement, Objection, judge, verdict
from .near_verdicts import hangs_on_one
from .unit_words import unit


def tell(answered: Answered, name: str) -> Told:
    """Return the sentences and pictures of one network and one concept; none says more than the controls allow.

    Args:
        answered: what `measure_drawn` measured.
        name: the concept.
    """
    subject, table = answered.subject, answered.table
    target = Target.of(subject, name)
    copies = len(set(only(table, role=RANDOM, metric="score")["network"]))
    whole = _Told.of(subject, name, table, copies)
    part = _Told.of(subject, name, table, copies, "told_") if "told_score" in set(table["metric"]) else None
    told, measure, called = (
        part or whole,
        figures.measure_of(target),
        _called(target, table, part is not None),
    )
    headline = f"{called} {verdict(told.judgement)}"
    untold = _untold(target.concept, table)
    measured = told.measured(measure) + (
        f" Of all values the {measure} is {said_score(whole.judgement.score)}." if part else ""
    )
    memories = one(table, metric="memories", **whole.where)
    judgement = whole.judgement
    notes = {
        "verdict": f"{headline}{untold}",
        "short": _short(called, target.concept.description, measure, told.judgement),
        "measured": measured,
        "answer": f"{headline}{untold} {measured}",
        "selectivity": selectivity(memories, judgement, categorical=target.concept.is_named),
        "unit": "One unit: no two states of a step differ in the concept, so none can follow it within steps."
        if target.follows_from_step
        else unit(table, categorical=target.concept.is_named),
        "setup": _setup(subject, target, len(only(table, metric="follows", **whole.where))),
    }
    return Told(notes, partial(figures.draw, answered, target))


@dataclass(frozen=True)
class _Told:
    """What is told of the scores of a concept, or of some of its values.

    Attributes:
        where: the best place, as columns of the table.
        which: the sentence's beginning that names it.
        interval: that of the score.
        judgement: of the score.
    """

    where: dict[str, str]
    which: str
    interval: tuple[float, float]
    judgement: Judgement

    @classmethod
    def of(cls, subject: Subject, name: str, table: pd.DataFrame, copies: int, metric: str = "") -> _Told:
        """Return it of a concept from a table, of the metrics whose names begin so."""
        others = tuple(others_of(subject, name))
        places = only(table, network=subject.network.name, metric=f"{metric}score")
        best = places.sort_values("value", ascending=False, kind="stable").iloc[0]
        where = {"layer": str(best["layer"]), "signal": str(best["signal"])}
        ahead = where["layer"] if where["layer"] in reads_ahead(subject) else ""
        at = place(where["layer"], where["signal"])
        which = f"The best of {len(places)} places is {at}" if len(places) > 1 else f"It was read from {at}"
        score, low = float(best["value"]), float(best["low"])
        controls = controls_beside(table, where, score, metric, others)
        random = controls.get(RANDOM)
        near = random is not None and hangs_on_one(table, score, random.value, random.low, metric)
        judgement = judge(controls, score, low, copies, ahead, near=near)
        return cls(where, which, (low, float(best["high"])), judgement)

    def measured(self, measure: str) -> str:
        """Return the sentence with the numbers."""
        controls = self.judgement.controls.values()
        beside = [f"{control.named(self.judgement.copies)} {said(control.value)}" for control in controls]
        return (
            f"{self.which}, held-out {measure} {said_score(self.judgement.score)} ({between(self.interval)}); "
            f"beside it, {listed(beside)}.{self.judgement.left}"
        )


def _values(concept: Known, table: pd.DataFrame, *, told: bool) -> list[str]:
    """Return the values of a concept that are told from the others, or those that are not."""
    rows = only(table, metric="category_score")
    there = rows[(rows["low"] > TOLD) == told]["at"]
    return [f"“{shortened(concept.said(value), 20)}”" for value in there]


def _called(target: Target, table: pd.DataFrame, part: bool) -> str:
    """Return what is read, as it begins a sentence: a concept, or the values of it that are told, or scored."""
    concept, scored = target.concept, len(np.unique(target.values))
    if part:
        return f"{listed(_values(concept, table, told=True))} of “{concept.name}”"
    some = concept.is_named and scored < len(concept.levels)
    return f"“{concept.name}”{f' ({scored} of its {len(concept.levels)} values)' * some}"


def _untold(concept: Known, table: pd.DataFrame) -> str:
    """Return the sentence on values that are not told from the others, where others are; empty where all are."""
    untold = _values(concept, table, told=False)
    if not untold or not _values(concept, table, told=True):
        return ""
    return f" Not told from the other values: {listed(untold)}."


def _worse(judgement: Judgement) -> str:
    """Return the objection; of other sequences' values that are read worse, by too little, that they are."""
    decides = judgement.deciding
    if judgement.objection is Objection.RELABELLED and decides is not None and decides.low > 0:
        return f"{decides.named(judgement.copies)} are read worse, but not by the margin that we ask for"
    return judgement.objection.value


def _short(called: str, description: str, measure: str, judgement: Judgement) -> str:
    """Return one sentence with the score, the best control, and the one that decides where that is another."""
    best, decides = max(judgement.controls.values(), key=lambda control: control.value), judgement.deciding
    beside = ""
    if decides is not None and decides.kind != best.kind:
        beside = f", and {decides.named(judgement.copies)} {said(decides.value)}"
    kept = _worse(judgement) + ", but this is near the margin" * judgement.is_near
    described = f" ({description})" if description else ""
    return (
        f"A probe reads {called}{described} with {measure} {said_score(judgement.score)}; the best control, "
        f"{best.named(judgement.copies)}, has {said(best.value)}{beside}: {kept}."
    )


def controls_beside(
    table: pd.DataFrame, where: dict[str, str], score: float, metric: str = "", others: tuple[str, ...] = ()
) -> dict[str, Beside]:
    """Return the score beside each control, by kind.

    Args:
        table: what `measure_drawn` measured.
        where: the columns of the best place, and of several networks the network's name.
        score: the score there.
        metric: what the names of the metrics begin with.
        others: the other concepts that a control knows.
    """
    rows = only(table, **where)
    alike = one(rows, metric=f"{metric}random_weights_below") <= one(rows, metric=f"{metric}random_weights_apart")
    above = only(rows, metric=f"{metric}above")
    return {
        str(kind): Beside(
            str(kind),
            score - float(value),
            float(low),
            kind == RANDOM and alike,
            int(steps) if np.isfinite(steps) else 1,
            others if kind == OTHERS else (),
        )
        for kind, value, low, steps in zip(above["kind"], above["value"], above["low"], above["at"], strict=True)
    }


def _setup(subject: Subject, target: Target, units: int) -> str:
    known = target.concept
    scored = set(target.values.tolist())
    fit = f"categorical ({len(scored)} values)" if known.is_named else "a number"
    described = f" ({known.description})" if known.description else ""
    sequences = several(len(np.unique(target.sequence)), "sequence")
    rest, counted = "", "distinct prefixes"
    if target.left is not None:
        rest, counted = " and before another rest", "such states"
    text = (
        f"We took “{known.name}”{described} as {fit} and fitted {target.fit.name} probes. We fitted and scored them "
        f"on {several(len(target.values), 'state')} of {sequences}, each after another prefix{rest} (in the "
        f"recorded sequences we found {sample_of(subject).distinct:,} {counted}). No sequence was used both to fit "
        f"and to score. The network beats a control if the 95 % interval of the difference, over sequences, lies "
        f"above {MARGIN}, or above half of what the control leaves unexplained where that is less (but at least "
        f"{LEAST_MARGIN}). It beats networks with random weights only if also the ratio of unexplained variance "
        "(best control / network) is larger than the ratio between the median and the best control of that kind."
    )
    if known.is_named:
        text += (
            " Balanced accuracy is the share of a value's states that the probe names right, averaged over the "
            "values. A rare value counts as much as the others, and naming one value for all scores 1 divided by the "
            "number of values. The claim about the recipe is about the difference to that."
        )
        if len(scored) > 2:
            text += (
                " Each value is also told from all others, by the mean of its share and theirs. It is told if the "
                f"interval of that lies above {TOLD:g}, and it is not confused with one of them: of each, the mean "
                f"share of states that are not taken for the other is above {TOLD:g}. Where some are not told, the "
                "verdict is about the others alone."
            )
    rare = [shortened(known.said(value), 20) for value in known.levels if value not in scored]
    if known.is_named and rare:
        text += (
            f" Left out: {several(len(rare), 'value')} that fewer than {LEAST_SEQUENCES} sequences have among these "
            f"states ({listed(rare[:8])}{' and others' * (len(rare) > 8)})."
        )
    if units > MOST_FEATURES:
        text += (
            f" The probe read the {MOST_FEATURES} largest principal components of the {units:,} units, because a "
            "probe on all would take too long. It cannot see what the other components hold."
        )
    return text


def selectivity(memories: float, judgement: Judgement, *, categorical: bool) -> str:
    """Return the sentence on how well other memories of the inputs are read; empty if there are none.

    Args:
        memories: their mean R²; NaN if none was measured.
        judgement: of the concept.
        categorical: whether the concept's score is a balanced accuracy.
    """
    if not np.isfinite(memories):
        return ""
    which = (
        "those up to the state's step, which this layer may not have read" if judgement.ahead else "all inputs so far"
    )
    text = (
        f"Selectivity: from the same states a probe reads {MEMORIES} other memories of the inputs ({which}, summed "
        f"with random signs) with mean R² {said_score(memories)}"
    )
    if categorical:
        return f"{text}. This is not on the scale of a balanced accuracy."
    if judgement.score <= READABLE:
        meaning = "the concept is hardly read, so the comparison means nothing"
    elif judgement.objection is Objection.CLOCK:
        meaning = "the step alone predicts the concept, so the comparison means nothing"
    elif not all(control.beaten for control in judgement.controls.values()):
        meaning = "a control above does as well, so the comparison means nothing"
    elif judgement.score - memories > READABLE:
        meaning = "the concept is read better than other memories"
    else:
        meaning = "other memories are read as well as the concept"
    return f"{text}, and the concept with R² {said_score(judgement.score)}: {meaning}."
