"""The sentences of a study's page about probes; none says more than the controls allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...plots.study_figures import shortened
from ...words import several
from ..definition.prepared import LEAST_SEQUENCES
from ..sampling.fits import MOST_FEATURES
from ..sampling.probes import MEMORIES, Target
from ..tables import NETWORK, NULL, TWIN, between, listed, one, only, place, said

#: What is no network: the step, the concept in another order, one value for all.
CLOCK, SHUFFLED, CONSTANT = "the step alone", "shuffled", "naming one value for all"
#: What is said of a layer that reads from the end, or reads one that does.
AHEAD = (
    "{} has read the sequence from its end, or reads a layer that has: it has seen what comes next, and nothing here "
    "is a prediction."
)
#: What the lower end of a score's interval must be above nothing (0, of categories `CONSTANT`) to be called readable.
READABLE = 0.05
#: How far a score must lie above a control's to be called more, at the lower end of the interval.
MARGIN = 0.05


@dataclass(frozen=True)
class Beside:
    """The best place's score beside one control.

    Attributes:
        name: of the control.
        value: its score.
        low: lower end of how far the network's score lies above it.
        alike: whether the networks that it comes from lie as far apart as the best of them from this one.
    """

    name: str
    value: float
    low: float
    alike: bool = False

    @property
    def beaten(self) -> bool:
        """Whether the network's score is clearly more."""
        return self.low > MARGIN and not self.alike


def notes(target: Target, table: pd.DataFrame, distinct: int, *, ahead: bool = False) -> dict[str, str]:
    """Return the sentences of a concept's finding.

    Args:
        target: the concept, at its states.
        table: what was measured.
        distinct: how many distinct prefixes the recorded sequences have.
        ahead: whether the best place is a layer that has read what comes next.
    """
    known = target.concept
    own = only(table, subject=NETWORK, metric="score")
    best = own.sort_values("value", ascending=False, kind="stable").iloc[0]
    where = {"layer": str(best["layer"]), "signal": str(best["signal"])}
    ends = one(table, metric="score_low", **where), one(table, metric="score_high", **where)
    controls = _controls(table, where)
    twins = len(set(only(table, subject=TWIN, metric="score")["network"]))
    measure = "balanced accuracy" if known.is_named else "R²"
    value = float(best["value"])
    found = f"held-out {measure} {said(value)} ({between(ends)})"
    at = place(where["layer"], where["signal"])
    verdict = f"“{known.name}” {_verdict(controls, value, ends[0], twins)}"
    if ahead and " be read" in verdict:
        verdict += f" {AHEAD.format(where['layer'])}"
    which = f"The best of {len(own)} places is {at}" if len(own) > 1 else f"It was read from {at}"
    measured = f"{which}, {found}; {_beside(controls, twins)}."
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
    number, categories = "a number, ridge probe", f"categorical, {len(scored)} values, logistic probe"
    described = f" ({known.description})" if known.description else ""
    sequences = several(len(np.unique(target.sequence)), "sequence")
    rest = "" if target.left is None else " and before another rest"
    reduced = (
        f" Of the {units:,} units' values the {MOST_FEATURES} largest principal components were read: a probe on "
        "all would take too long, and what the others hold was not seen."
    )
    rare = [shortened(known.said(value), 20) for value in known.levels if value not in scored]
    balanced = (
        " Balanced accuracy is the share of a value's states that is named right, the mean over the values: how rare "
        "one is does not matter, and whoever names one value for all gets 1 divided by the number of values. The "
        "claim about the recipe is on how far it lies above that."
    )
    few = (
        f" Left out: {several(len(rare), 'value')} with states in fewer than {LEAST_SEQUENCES} sequences "
        f"({listed(rare[:8])}{' and others' * (len(rare) > 8)})."
    )
    return (
        f"“{known.name}”{described} was taken as {categories if known.is_named else number}. The probe is "
        f"linear; it was fitted and scored on {several(len(target.values), 'state')} of {sequences} (of {distinct:,} "
        f"distinct prefixes in the recorded sequences), each state after another prefix{rest}, and no sequence on "
        "both sides. “More than a control” means here: the 95 % interval of the difference, over sequences, lies "
        "above 0.05. Re-initialised networks must besides leave more of it unexplained (1 less the score), by a "
        "larger factor than lies between the "
        "best and the worst of them: else this network is like one more of them."
        + balanced * known.is_named
        + few * bool(known.is_named and rare)
        + reduced * (units > MOST_FEATURES)
    )


def _controls(table: pd.DataFrame, where: dict[str, str]) -> dict[str, Beside]:
    rows = only(table, **where)
    alike = one(rows, metric="twins_below") <= one(rows, metric="twins_apart")
    return {
        name: Beside(
            name,
            one(rows, metric="control", units=name),
            one(rows, metric="above_low", units=name),
            name == TWIN and alike,
        )
        for name in only(rows, metric="control")["units"]
    }


def _beside(controls: dict[str, Beside], twins: int) -> str:
    parts = []
    for name, beside in controls.items():
        if name == SHUFFLED:
            words = "the values of other sequences at the same step"
        elif name == TWIN:
            words = f"the best of {several(twins, 're-initialised network')}"
        else:
            words = name
        parts.append(f"{words} {said(beside.value)}")
    return "beside it, " + listed(parts)


def _verdict(controls: dict[str, Beside], score: float, low: float, twins: int) -> str:
    """Return what the controls allow to be said: the strongest objection, or that there is none.

    What cannot be read at all comes first, then what the step tells. Shuffled values keep the step, so that they are
    read as well of a clock: only where the step alone tells less do they say more.

    Args:
        controls: the best score beside each.
        score: the best score.
        low: the lower end of its interval.
        twins: how many re-initialised networks there are.
    """
    found = next(_objections(controls, score, low, twins))
    if TWIN in controls and controls[TWIN].value - score > MARGIN and "re-initialised" not in found:
        found += f" The best of {several(twins, 're-initialised network')} gives more ({said(controls[TWIN].value)})."
    return found


def _objections(controls: dict[str, Beside], score: float, low: float, twins: int) -> Iterator[str]:
    """Yield every objection, the strongest first, and at last what is said where there is none."""
    lost = {name: one for name, one in controls.items() if not one.beaten}
    recent = [name for name in controls if name.startswith("the last")]
    above, nothing = (controls[CONSTANT].low, f"what {CONSTANT} gives") if CONSTANT in controls else (low, "0")
    # Compared as the page shows it: an end that reads as 0.00 is not called above 0.
    if round(above, 2) <= 0:
        yield f"was not found: the interval of a linear probe's score reaches {nothing}."
    if above <= READABLE:
        yield f"can hardly be read: a linear probe's score is above {nothing}, but not shown to be by {READABLE}."
    if CLOCK in lost:
        yield f"can be read, but {CLOCK} tells {_as_much(lost[CLOCK], score)}: nothing beyond a clock is shown."
    if SHUFFLED in lost:
        yield (
            "can be read, but the values of other sequences at the same step can be read "
            f"{_as_well(lost[SHUFFLED], score)}: that the states hold their own sequence's value is not shown."
        )
    if lost.keys() & recent:
        single = recent[0].endswith("input")
        yield (
            f"can be read, but {recent[0]} alone tell{'s' * single} {_as_much(lost[recent[0]], score)}: no memory "
            f"beyond {'it' if single else 'them'} is shown."
        )
    if TWIN in lost and controls[TWIN].low > MARGIN:
        yield (
            "can be read, better than from re-initialised networks, but these differ among each other as much: "
            "that training put it there is not shown."
        )
    if TWIN in lost:
        how = _as_well(lost[TWIN], score)
        yield f"can be read, and {how} from re-initialised networks: that is no evidence that training put it there."
    more = "than from any re-initialised network, and " if twins else ""
    near = "the inputs around it" if any("next" in name for name in recent) else "the last inputs"
    yield f"can be read, better {more}than the step, {near} and shuffled values tell it."


def _as_much(control: Beside, score: float) -> str:
    """Return how much a control tells that is not clearly beaten, as the two numbers on the page compare."""
    return _compared(control, score, "more", "about as much", "not clearly less")


def _as_well(control: Beside, score: float) -> str:
    return _compared(control, score, "better", "about as well", "not clearly worse")


def _compared(control: Beside, score: float, more: str, alike: str, less: str) -> str:
    gap = control.value - score
    return more if gap > MARGIN else alike if gap >= -MARGIN else less


def _selectivity(
    memories: float, value: float, controls: dict[str, Beside], *, categorical: bool, ahead: bool
) -> str:
    which = "those up to the state's step, of which this layer need not have read any" if ahead else "all read so far"
    text = (
        f"Selectivity: from the same states a probe reads {MEMORIES} other memories of the inputs ({which}, "
        f"summed with random signs, which nobody asked for) with mean R² {said(memories)}"
    )
    if categorical:
        return (
            text + "; that is not on the scale of a balanced accuracy, and only says how much of all inputs is kept."
        )
    gap = value - memories
    if value <= READABLE:
        meaning = "the concept is not kept, so that there is nothing to single out"
    elif not controls[CLOCK].beaten:
        meaning = "the step alone tells the concept, so that this singles nothing out"
    elif not all(one.beaten for one in controls.values()):
        meaning = "a control above tells the concept as well, so that this singles nothing out"
    elif gap > READABLE:
        meaning = "the concept is kept better than what it could be confused with"
    else:
        meaning = "the states keep much of everything, and the concept is not singled out"
    return f"{text}, and the concept with {said(value)}: {meaning}."


def unit_follows(table: pd.DataFrame) -> bool:
    """Return whether the best unit follows the concept more closely than the best one follows shuffled values.

    Args:
        table: what was measured, of all places or of one.
    """
    rows = only(table, metric="best_unit")
    own, mixed = (only(rows, subject=subject)["value"].max() for subject in (NETWORK, NULL))
    return bool(own - max(mixed, 0.0) > READABLE)


def _unit(table: pd.DataFrame, categorical: bool) -> str:
    rows = only(table, metric="best_unit")
    own = only(rows, subject=NETWORK).sort_values("value", ascending=False, kind="stable").iloc[0]
    twins, mixed = only(rows, subject=TWIN)["value"], only(rows, subject=NULL)["value"]
    measure = "correlation ratio" if categorical else "|r|"
    units = str(own["units"]).split()
    which = (
        f"unit {units[0]}" if len(units) == 1 else f"units {listed(units)} (each half of the sequences chose its own)"
    )
    parts = [f"of shuffled values {said(float(mixed.max()))}"]
    if len(twins):
        parts.insert(0, f"in the best re-initialised network {said(float(twins.max()))}")
    at = place(str(own["layer"]), str(own["signal"]))
    ends = (
        f"within steps, on sequences that did not choose it, {measure} is {said(float(own['value']))}; "
        f"{listed(parts)}"
    )
    if not unit_follows(table):
        return f"One unit: none is shown to follow it. Of {which} of {at}, the best found, {ends}."
    return (
        f"One unit: {which} of {at} follow{'s' * (len(units) == 1)} it most; {ends}. "
        "That a unit follows a concept does not say that anything uses it."
    )
