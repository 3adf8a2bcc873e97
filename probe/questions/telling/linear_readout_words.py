"""What a page says of one network's probes of a concept."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from ...errors import several
from ...evidence.measurements import one, only
from ...evidence.words import between, listed, place, said
from ...methods.probing.fits import MOST_FEATURES
from ...methods.probing.scores import LEAST_MARGIN, MARGIN
from ...methods.probing.targets import LEAST_SEQUENCES
from ...plots.study_figures import shortened
from ...recurrent.signals import Signal
from ...subjects.computed.sample import reads_ahead
from ...subjects.computed.sampled import sample_of
from ...subjects.concepts import Known
from ...subjects.subject import Subject
from ..question import Answered, Told
from ..states.linear_readout_drawn import CLOCK, MEMORIES, RANDOM
from ..states.targets import Target
from . import linear_readout_figures as figures
from .judgements import READABLE, Beside, Judgement, judge, verdict
from .near_verdicts import hangs_on_one


def tell(answered: Answered, name: str) -> Told:
    """Return the sentences and pictures of one network and one concept; none says more than the controls allow.

    Args:
        answered: what `measure_drawn` measured.
        name: the concept.
    """
    subject, table = answered.subject, answered.table
    target = Target.of(subject, name)
    places = only(table, network=subject.network.name, metric="score")
    best = places.sort_values("value", ascending=False, kind="stable").iloc[0]
    where = {"layer": str(best["layer"]), "signal": str(best["signal"])}
    copies = len(set(only(table, role=RANDOM, metric="score")["network"]))
    ahead = where["layer"] if where["layer"] in reads_ahead(subject) else ""
    score, low = float(best["value"]), float(best["low"])
    controls = controls_beside(table, where, score)
    random = controls.get(RANDOM)
    near = random is not None and hangs_on_one(table, score, random.value, random.low)
    judgement = judge(controls, score, low, copies, ahead, near=near)
    headline = f"“{name}” {verdict(judgement)}"
    at = place(where["layer"], where["signal"])
    which = f"The best of {len(places)} places is {at}" if len(places) > 1 else f"It was read from {at}"
    beside = [f"{control.named(copies)} {said(control.value)}" for control in judgement.controls.values()]
    interval = between((low, float(best["high"])))
    measured = (
        f"{which}, held-out {figures.measure_of(target)} {said(score)} ({interval}); beside it, {listed(beside)}."
        f"{judgement.left}"
    )
    memories = one(table, metric="memories", **where)
    notes = {
        "verdict": headline,
        "short": _short(target.concept, figures.measure_of(target), judgement),
        "measured": measured,
        "answer": f"{headline} {measured}",
        "selectivity": selectivity(memories, judgement, categorical=target.concept.is_named),
        "unit": unit(table, categorical=target.concept.is_named),
        "setup": _setup(subject, target, len(only(table, metric="follows", **where))),
    }
    return Told(notes, partial(figures.draw, answered, target, (where["layer"], Signal(where["signal"]))))


def _short(concept: Known, measure: str, judgement: Judgement) -> str:
    """Return one sentence with the score and the best control."""
    best = max(judgement.controls.values(), key=lambda control: control.value)
    kept = judgement.objection.value + ", but this is near the margin" * judgement.is_near
    described = f" ({concept.description})" if concept.description else ""
    return (
        f"A probe reads “{concept.name}”{described} with {measure} {said(judgement.score)}; the best control, "
        f"{best.named(judgement.copies)}, has {said(best.value)}: {kept}."
    )


def controls_beside(table: pd.DataFrame, where: dict[str, str], score: float) -> dict[str, Beside]:
    """Return the score beside each control, by kind.

    Args:
        table: what `measure_drawn` measured.
        where: the columns of the best place, and of several networks the network's name.
        score: the score there.
    """
    rows = only(table, **where)
    alike = one(rows, metric="random_weights_below") <= one(rows, metric="random_weights_apart")
    above = only(rows, metric="above")
    return {
        str(kind): Beside(
            str(kind),
            score - float(value),
            float(low),
            kind == RANDOM and alike,
            int(steps) if np.isfinite(steps) else 1,
        )
        for kind, value, low, steps in zip(above["kind"], above["value"], above["low"], above["at"], strict=True)
    }


def _setup(subject: Subject, target: Target, units: int) -> str:
    known = target.concept
    scored = set(target.values.tolist())
    fit = f"categorical ({len(scored)} values)" if known.is_named else "a number"
    described = f" ({known.description})" if known.description else ""
    sequences = several(len(np.unique(target.sequence)), "sequence")
    rest = "" if target.left is None else " and before another rest"
    text = (
        f"We took “{known.name}”{described} as {fit} and fitted {target.fit.name} probes. We fitted and scored them "
        f"on {several(len(target.values), 'state')} of {sequences}, each after another prefix{rest} (the recorded "
        f"sequences have {sample_of(subject).distinct:,} distinct prefixes). No sequence was used both to fit and to "
        f"score. The network beats a control if the 95 % interval of the difference, over sequences, lies above "
        f"{MARGIN}, or above half of what the control leaves unexplained where that is less (but at least "
        f"{LEAST_MARGIN}). It beats networks with random weights only if also the ratio of unexplained variance "
        "(best control / network) is larger than the ratio between the median and the best control of that kind."
    )
    if known.is_named:
        text += (
            " Balanced accuracy is the share of a value's states that the probe names right, averaged over the "
            "values. A rare value counts as much as the others, and naming one value for all scores 1 divided by the "
            "number of values. The claim about the recipe is about the difference to that."
        )
    rare = [shortened(known.said(value), 20) for value in known.levels if value not in scored]
    if known.is_named and rare:
        text += (
            f" Left out: {several(len(rare), 'value')} with states in fewer than {LEAST_SEQUENCES} sequences "
            f"({listed(rare[:8])}{' and others' * (len(rare) > 8)})."
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
        f"with random signs) with mean R² {said(memories)}"
    )
    if categorical:
        return (
            text + ". This is not on the scale of a balanced accuracy; it only says how much of all inputs is kept."
        )
    if judgement.score <= READABLE:
        meaning = "the concept is not kept, so the comparison means nothing"
    elif not judgement.controls[CLOCK].beaten:
        meaning = "the step alone predicts the concept, so the comparison means nothing"
    elif not all(control.beaten for control in judgement.controls.values()):
        meaning = "a control above does as well, so the comparison means nothing"
    elif judgement.score - memories > READABLE:
        meaning = "the concept is kept better than other memories"
    else:
        meaning = "the states keep other memories as well as the concept"
    return f"{text}, and the concept with {said(judgement.score)}: {meaning}."


def unit(table: pd.DataFrame, *, categorical: bool) -> str:
    """Return the sentence on the unit that follows the concept most.

    Args:
        table: what was measured.
        categorical: whether a unit is compared by its correlation ratio.
    """
    rows = only(table, metric="best_unit")
    random, shuffled = only(rows, role=RANDOM)["value"], only(rows, role="null")["value"]
    own = rows[~rows["role"].isin([RANDOM, "null"])]
    best = own.sort_values("value", ascending=False, kind="stable").iloc[0]
    measure = "correlation ratio" if categorical else "|r|"
    units = str(best["units"]).split()
    which = (
        f"unit {units[0]}"
        if len(units) == 1
        else f"units {listed(units)} (one selected on each half of the sequences)"
    )
    parts = [f"in the best network with random weights {said(float(random.max()))}"] if len(random) else []
    parts.append(f"for shuffled values {said(float(shuffled.max()))}")
    at = place(str(best["layer"]), str(best["signal"]))
    ends = (
        f"within steps, on sequences that did not select it, {measure} is {said(float(best['value']))}; "
        f"{listed(parts)}"
    )
    if not figures.unit_follows(table):
        return f"One unit: none is shown to follow it. For the best, {which} of {at}, {ends}."
    return (
        f"One unit: {which} of {at} follow{'s' * (len(units) == 1)} it most; {ends}. "
        "A unit that follows a concept need not be used by anything."
    )
