"""The sentences of a study's page about probes; none says more than the controls allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...errors import several
from ...plots.study_figures import shortened
from ..definition.prepared import LEAST_SEQUENCES
from ..rows import NETWORK, NULL, RANDOM_WEIGHTS, between, listed, one, only, place, said
from ..sampling.fits import MOST_FEATURES
from ..sampling.probes import MEMORIES, Target

#: The names of the controls that are no networks.
CLOCK, SHUFFLED, CONSTANT = "the step alone", "shuffled", "naming one value for all"
#: The sentence about a layer that has seen later inputs.
AHEAD = (
    "{} reads the sequence from its end, or reads a layer that does. It has already seen the next inputs, so nothing "
    "here is a prediction."
)
#: A concept is called readable if the lower end of its score's interval is above 0 (or `CONSTANT`) by more than this.
READABLE = 0.05
#: A score beats a control if the lower end of the interval of their difference is above this.
MARGIN = 0.05


@dataclass(frozen=True)
class Beside:
    """The best place's score beside one control.

    Attributes:
        name: the name of the control.
        value: its score.
        low: the lower end of the interval of the network's score minus the control's.
        alike: whether the controls differ among each other as much as the best of them differs from the network.
    """

    name: str
    value: float
    low: float
    alike: bool = False

    @property
    def beaten(self) -> bool:
        """Whether the network beats the control."""
        return self.low > MARGIN and not self.alike


def notes(target: Target, table: pd.DataFrame, distinct: int, *, ahead: bool = False) -> dict[str, str]:
    """Return the sentences of a concept's finding.

    Args:
        target: the concept, at its states.
        table: what was measured.
        distinct: how many distinct prefixes the recorded sequences have.
        ahead: whether the best place is in a layer that has seen later inputs.
    """
    known = target.concept
    places = only(table, subject=NETWORK, metric="score")
    best = places.sort_values("value", ascending=False, kind="stable").iloc[0]
    where = {"layer": str(best["layer"]), "signal": str(best["signal"])}
    ends = one(table, metric="score_low", **where), one(table, metric="score_high", **where)
    controls = _controls(table, where)
    copies = len(set(only(table, subject=RANDOM_WEIGHTS, metric="score")["network"]))
    measure = "balanced accuracy" if known.is_named else "R²"
    value = float(best["value"])
    score = f"held-out {measure} {said(value)} ({between(ends)})"
    at = place(where["layer"], where["signal"])
    verdict = f"“{known.name}” {_verdict(controls, value, ends[0], copies)}"
    if ahead and " be read" in verdict:
        verdict += f" {AHEAD.format(where['layer'])}"
    which = f"The best of {len(places)} places is {at}" if len(places) > 1 else f"It was read from {at}"
    measured = f"{which}, {score}; {_beside(controls, copies)}."
    return {
        "verdict": verdict,
        "measured": measured,
        "answer": f"{verdict} {measured}",
        "selectivity": _selectivity(
            one(table, metric="memories", **where), value, controls, categorical=known.is_named, ahead=ahead
        ),
        "unit": _unit(table, known.is_named),
        "setup": _setup(target, distinct, int(only(table, metric="follows", **where)["value"].size)),
    }


def _setup(target: Target, distinct: int, units: int) -> str:
    known = target.concept
    scored = set(target.values.tolist())
    number, categories = "a number (ridge probe)", f"categorical ({len(scored)} values, logistic probe)"
    described = f" ({known.description})" if known.description else ""
    sequences = several(len(np.unique(target.sequence)), "sequence")
    rest = "" if target.left is None else " and before another rest"
    reduced = (
        f" The probe read the {MOST_FEATURES} largest principal components of the {units:,} units, because a probe "
        "on all would take too long. It cannot see what the other components hold."
    )
    rare = [shortened(known.said(value), 20) for value in known.levels if value not in scored]
    balanced = (
        " Balanced accuracy is the share of a value's states that the probe names right, averaged over the values. A "
        "rare value counts as much as the others, and naming one value for all scores 1 divided by the number of "
        "values. The claim about the recipe is about the difference to that."
    )
    few = (
        f" Left out: {several(len(rare), 'value')} with states in fewer than {LEAST_SEQUENCES} sequences "
        f"({listed(rare[:8])}{' and others' * (len(rare) > 8)})."
    )
    return (
        f"“{known.name}”{described} was taken as {categories if known.is_named else number}. The probe is linear. It "
        f"was fitted and scored on {several(len(target.values), 'state')} of {sequences}, each after another "
        f"prefix{rest} (the recorded sequences have {distinct:,} distinct prefixes). No sequence was used both to "
        "fit and to score. The network beats a control if the 95 % interval of the difference, over sequences, lies "
        "above 0.05. It beats networks with random weights only if also the ratio of unexplained variance (best "
        "control / network) is larger than the ratio between the worst and the best control of that kind."
        + balanced * known.is_named
        + few * bool(known.is_named and rare)
        + reduced * (units > MOST_FEATURES)
    )


def _controls(table: pd.DataFrame, where: dict[str, str]) -> dict[str, Beside]:
    rows = only(table, **where)
    alike = one(rows, metric="random_weights_below") <= one(rows, metric="random_weights_apart")
    return {
        name: Beside(
            name,
            one(rows, metric="control", units=name),
            one(rows, metric="above_low", units=name),
            name == RANDOM_WEIGHTS and alike,
        )
        for name in only(rows, metric="control")["units"]
    }


def _beside(controls: dict[str, Beside], copies: int) -> str:
    parts = []
    for name, beside in controls.items():
        if name == SHUFFLED:
            words = "the values of other sequences at the same step"
        elif name == RANDOM_WEIGHTS:
            words = f"the best of {_networks(copies)}"
        else:
            words = name
        parts.append(f"{words} {said(beside.value)}")
    return "beside it, " + listed(parts)


def _networks(copies: int) -> str:
    return f"{several(copies, 'network')} with random weights"


def _verdict(controls: dict[str, Beside], score: float, low: float, copies: int) -> str:
    """Return the conclusion that the controls allow: the strongest objection, or that there is none.

    A concept that cannot be read at all comes first, then one that the step explains. Shuffled values keep the step,
    so they add an objection only if the step alone scores less.

    Args:
        controls: the best score beside each control.
        score: the best score.
        low: the lower end of its interval.
        copies: how many networks with random weights there are.
    """
    verdict, random = next(_objections(controls, score, low, copies)), controls.get(RANDOM_WEIGHTS)
    if random is not None and random.value - score > MARGIN and "random" not in verdict:
        verdict += f" The best of {_networks(copies)} scores higher ({said(random.value)})."
    return verdict


def _objections(controls: dict[str, Beside], score: float, low: float, copies: int) -> Iterator[str]:
    """Yield every objection, the strongest first, and at the end the sentence without objections."""
    unbeaten = {name: control for name, control in controls.items() if not control.beaten}
    recent = [name for name in controls if name.startswith("the last")]
    above, nothing = (controls[CONSTANT].low, f"the score of {CONSTANT}") if CONSTANT in controls else (low, "0")
    # Rounded as the page shows it: a lower end of 0.00 is not called above 0.
    if round(above, 2) <= 0:
        yield f"was not found: the interval of a linear probe's score reaches {nothing}."
    if above <= READABLE:
        yield (
            f"can hardly be read: a linear probe's score is above {nothing}, but it is not shown to exceed it by "
            f"{READABLE}."
        )
    if CLOCK in unbeaten:
        how = _as_well(unbeaten[CLOCK], score)
        yield f"can be read, but {CLOCK} predicts it {how}: nothing beyond a clock is shown."
    if SHUFFLED in unbeaten:
        yield (
            "can be read, but the values of other sequences at the same step can be read "
            f"{_as_well(unbeaten[SHUFFLED], score)}: it is not shown that the states hold the value of their own "
            "sequence."
        )
    if unbeaten.keys() & recent:
        single = recent[0].endswith("input")
        yield (
            f"can be read, but {recent[0]} alone predict{'s' * single} it {_as_well(unbeaten[recent[0]], score)}: no "
            f"memory beyond {'it' if single else 'them'} is shown."
        )
    if RANDOM_WEIGHTS in unbeaten and controls[RANDOM_WEIGHTS].low > MARGIN:
        yield (
            "can be read, better than from networks with random weights. But these differ among each other as much, "
            "so it is not shown that training put it there."
        )
    if RANDOM_WEIGHTS in unbeaten:
        how = _as_well(unbeaten[RANDOM_WEIGHTS], score)
        yield (
            f"can be read, but {how} from networks with random weights: this is no evidence that training put it "
            "there."
        )
    more = " from any network with random weights, and better than" if copies else ""
    near = "the inputs around it" if any("next" in name for name in recent) else "the last inputs"
    yield f"can be read: better than{more} from the step, {near} or shuffled values."


def _as_well(control: Beside, score: float) -> str:
    """Return in words how an unbeaten control compares with the network, by the two numbers on the page."""
    gap = control.value - score
    return "better" if gap > MARGIN else "about as well" if gap >= -MARGIN else "not clearly worse"


def _selectivity(
    memories: float, value: float, controls: dict[str, Beside], *, categorical: bool, ahead: bool
) -> str:
    which = "those up to the state's step, which this layer may not have read" if ahead else "all inputs so far"
    text = (
        f"Selectivity: from the same states a probe reads {MEMORIES} other memories of the inputs ({which}, summed "
        f"with random signs) with mean R² {said(memories)}"
    )
    if categorical:
        return (
            text + ". This is not on the scale of a balanced accuracy; it only says how much of all inputs is kept."
        )
    gap = value - memories
    if value <= READABLE:
        meaning = "the concept is not kept, so the comparison means nothing"
    elif not controls[CLOCK].beaten:
        meaning = "the step alone predicts the concept, so the comparison means nothing"
    elif not all(control.beaten for control in controls.values()):
        meaning = "a control above does as well, so the comparison means nothing"
    elif gap > READABLE:
        meaning = "the concept is kept better than other memories"
    else:
        meaning = "the states keep other memories as well as the concept"
    return f"{text}, and the concept with {said(value)}: {meaning}."


def unit_follows(table: pd.DataFrame) -> bool:
    """Return whether the best unit follows the concept more closely than the best one follows shuffled values.

    Args:
        table: what was measured at all places, or at one.
    """
    rows = only(table, metric="best_unit")
    best, shuffled = (only(rows, subject=subject)["value"].max() for subject in (NETWORK, NULL))
    return bool(best - max(shuffled, 0.0) > READABLE)


def _unit(table: pd.DataFrame, categorical: bool) -> str:
    rows = only(table, metric="best_unit")
    best = only(rows, subject=NETWORK).sort_values("value", ascending=False, kind="stable").iloc[0]
    random, shuffled = only(rows, subject=RANDOM_WEIGHTS)["value"], only(rows, subject=NULL)["value"]
    measure = "correlation ratio" if categorical else "|r|"
    units = str(best["units"]).split()
    which = (
        f"unit {units[0]}"
        if len(units) == 1
        else f"units {listed(units)} (one selected on each half of the sequences)"
    )
    parts = [f"for shuffled values {said(float(shuffled.max()))}"]
    if len(random):
        parts.insert(0, f"in the best network with random weights {said(float(random.max()))}")
    at = place(str(best["layer"]), str(best["signal"]))
    ends = (
        f"within steps, on sequences that did not select it, {measure} is {said(float(best['value']))}; "
        f"{listed(parts)}"
    )
    if not unit_follows(table):
        return f"One unit: none is shown to follow it. For the best, {which} of {at}, {ends}."
    return (
        f"One unit: {which} of {at} follow{'s' * (len(units) == 1)} it most; {ends}. "
        "A unit that follows a concept need not be used by anything."
    )
